"""What a declaration refuses, the schema made from it refuses, and the other way round: only the first is asked in a run."""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contrast_tasks.declare.documents import to_json
from contrast_tasks.declare.problems import Problem, problems
from contrast_tasks.declare.shapes import table_of
from contrast_tasks.images.lock import LockDocument
from contrast_tasks.manifest.reference_values import problems_of_values
from contrast_tasks.schema import validate
from contrast_tasks.settings.model import SHAPE
from tests.images.test_lock import locked

SNP = {
    "trusted_measurement": "ab" * 48,
    "minimum_tcb": {"bootloader": 3, "tee": 0, "snp": 8, "microcode": 115},
    "platform_info": {"smt_enabled": True, "tio_enabled": False},
    "allowed_chip_ids": ["ab" * 64],
    "allow_vlek": True,
}
SETTINGS = {
    "platform": "local",
    "sources": ["deployment"],
    "build_dir": "build",
    "manifest": "manifest.json",
    "lock": "contrast.lock",
    "defaults": {"runtime_class": True, "memory": "700Mi", "initializer": True},
    "images": {"layouts": ["layout"]},
    "components": {"initializer": "a/b:v1"},
    "coordinator": {"include": False},
    "owners": {"workload": ["a.pem"], "seedshare": ["b.pem"], "disable_updates": False},
    "reference_values": {
        "file": "values.json",
        "products": ["Milan"],
        "snp": {"Milan": SNP},
        "tdx": {
            "mr_td": "ab" * 48,
            "rtmrs": ["ab" * 48] * 4,
            "minimum_qe_svn": 0,
            "allowed_piids": ["cd" * 16],
            "memory_integrity": True,
        },
    },
    "endorsements": {
        "mirrors": {"https://a.example": "http://[::1]:8080/a"},
        "proxy": "http://proxy.example:3128",
    },
    "workloads": {
        "Deployment/web": {
            "ingress": "",
            "egress": "a#127.0.0.2:1#b:2",
            "admin_port": 9000,
            "env": {"A": "1"},
            "sans": ["web", "10.0.0.1"],
            "memory": "1Gi",
            "runtime_class": True,
            "secret_id": "web",
        }
    },
}
LOCK = to_json(LockDocument(images=(locked(), locked("a:1", manifest_digest="sha256:" + "5" * 64))))
VALUES = {
    "snp": [
        {
            "ProductName": "Milan",
            "TrustedMeasurement": "ab" * 48,
            "MinimumTCB": {"BootloaderVersion": 3, "TEEVersion": None},
            "PlatformInfo": {"SMTEnabled": True},
            "MinimumMitigationVector": 1,
            "AllowedChipIDs": ["ab" * 64],
            "APEIP": "00112233",
            "AllowVLEK": True,
            "CPUs": 1,
        },
        {"ProductName": "Genoa", "MinimumTCB": None, "PlatformInfo": None, "AllowedChipIDs": None},
    ],
    "tdx": [
        {
            "MrTd": "ab" * 48,
            "Rtmrs": ["ab" * 48, "", "cd" * 48, "00" * 48],
            "MinimumTeeTcbSvn": "0d" * 16,
            "MrSeam": "",
            "TdAttributes": "0000001000000000",
            "AllowedPIIDs": ["cd" * 16],
            "AllowQuoteV5": False,
        }
    ],
}
JUDGES: dict[str, tuple[Any, Callable[[Any], Iterator[Problem]]]] = {
    "settings": (SETTINGS, lambda document: problems(document, SHAPE)),
    "lock": (LOCK, lambda document: problems(document, table_of(LockDocument), complete=True)),
    "reference-values": (VALUES, problems_of_values),
}
HEX = [
    text
    for size in (4, 8, 16, 32, 48, 64)
    for text in ("ab" * size, "AB" * size, "00" * size, "ff" * size, "ag" * size)
]
INSERTED: list[Any] = [
    *(None, True, False, 0, 1, -1, 255, 256, 65535, 65536, 2**63 - 1, 2**63, 2**64, 1.0, 3.7),
    *("", " ", "0", "x", "a/b", "/a", "../a", "a/../b", ".", "700Mi", "1.5Gi", "7 Mi", "*", "a b"),
    *("Milan", "milan", "Turin", "LOCAL", "metal-qemu-tdx", "http://a:1", "https://u@a", "sha256:"),
    *([], [None], [""], ["x"], ["x", "x"], ["*"], [1], ["Milan"], {}, {"": ""}, {"x": "y"}, [{}]),
    *(["ab" * 48] * 3, ["ab" * 48] * 4, [""] * 4, ["ab" * 16], ["AB" * 64], *HEX),
]
NAMES = ["x", "", "snp", "memory", "Deployment/a", "default/Pod/b.c", "Role", "cpus", "CPUs", "~1/"]
# A pattern cannot tell every address, name or workload from what only looks like one.
BEYOND_A_SCHEMA = re.compile(
    r"is a NUL|expected an (?:address|array of IP addresses)|names no user"
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, step)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, step))


def inside(document: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


def changes(base: Any) -> Iterator[Any]:
    """Yield the document with each value removed, replaced by each other value, and with more members."""
    for *above, last in places(base):
        result = copy.deepcopy(base)
        place = inside(result, tuple(above))
        kept = place[last]
        for value in INSERTED:
            place[last] = copy.deepcopy(value)
            yield result
        place[last] = kept
        if isinstance(place, dict):
            for name in NAMES:
                if name not in place:
                    place[name] = "x"
                    yield result
                    del place[name]
        del place[last]
        yield result


@pytest.mark.parametrize("name", JUDGES)
def test_the_bases_are_valid(name: str) -> None:
    base, judge = JUDGES[name]

    assert list(judge(base)) == []
    assert validate(base, name) == []


@pytest.mark.sweep
@pytest.mark.parametrize("name", JUDGES)
def test_declaration_and_schema_agree_on_any_change_in_one_place(name: str) -> None:
    base, judge = JUDGES[name]
    seen = set()

    for document in changes(base):
        found = list(judge(document))
        differences = validate(document, name)
        seen.add(bool(found))
        if differences:
            assert found, differences
        elif found:
            assert all(BEYOND_A_SCHEMA.search(problem.message) for problem in found), found

    assert seen == {True, False}
