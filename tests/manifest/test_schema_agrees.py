"""The schemas and the rules accept and refuse the same documents, but for what a schema cannot say."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrast_tasks.findings import Finding, Severity
from contrast_tasks.manifest.validate import is_missing, validate_manifest
from contrast_tasks.schema import validate
from tests.manifest.samples import GUEST_POLICY, PLATFORM_INFO, SIMULATED, SNP, TDX, document

pytestmark = pytest.mark.sweep

# What names can stand in a certificate, how many entries have a role, which ids exclude each other, and what is inside a key.
BEYOND_A_SCHEMA = {"M015", "M020", "M021", "M022", "M050", "M052"}
FULL_SNP = SNP | {
    "Platform": "Metal-QEMU-SNP",
    "MinimumMitigationVector": 0,
    "AllowedChipIDs": ["ab" * 64],
    "APEIP": "00112233",
    "AllowVLEK": True,
    "CPUs": 1,
}
FULL_TDX = TDX | {
    "Platform": "Metal-QEMU-TDX",
    "MinTCBEvaluationDataNumber": 0,
    "AllowedPIIDs": ["cd" * 16],
    "SMTDisabled": False,
    "StaticPlatform": True,
    "AllowQuoteV5": False,
}
BASES = {
    "snp": document(snp=[FULL_SNP, SNP]),
    "tdx": document(tdx=[FULL_TDX]),
    "both": document(snp=[SNP], tdx=[TDX]),
    "simulated": document(simulated=[SIMULATED]),
}
HEX = [
    text
    for size in (4, 8, 16, 31, 32, 48, 64)
    for text in ("ab" * size, "AB" * size, "00" * size, "ff" * size, "ag" * size)
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 31, 255, 256, 65535, 65536, 2**63 - 1, 2**63, 2**64 - 1, 2**64),
    *(0.0, 1.0, 3.7, "", "0", "Milan", "Genoa", "Turin", "milan", "coordinator", "Coordinator"),
    *([], [None], [""], ["a"], ["*", "*"], {}, {"": ""}, {"SMT": True}, [{}]),
    *([text] for text in HEX[:20]),
    *(["ab" * 48] * 3, ["ab" * 48] * 4, ["ab" * 48] * 5, ["d4" * 32, "d4" * 32]),
    *(PLATFORM_INFO, GUEST_POLICY, [SNP], [TDX], [SIMULATED]),
    *HEX,
]
NAMES = ["x", "", "snp", "tdx", "simulated", "Rtmrs", "rtmrs", "SANS", "Role", "FMCVersion", "~1/"]


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    for step, inner in steps:
        yield (*path, step)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, step))


PLACES = [(name, path) for name, base in BASES.items() for path in places(base)]


def mutated(name: str, path: tuple[str | int, ...], action: str, value: Any, more: str) -> Any:
    result = copy.deepcopy(BASES[name])
    place: Any = result
    for step in path[:-1]:
        place = place[step]
    if action == "remove":
        del place[path[-1]]
    elif action == "add" and isinstance(place, dict):
        place.setdefault(more, copy.deepcopy(value))
    elif action == "add":
        place.append(copy.deepcopy(value))
    else:
        place[path[-1]] = copy.deepcopy(value)
    return result


def assert_agreement(found: Any) -> None:
    errors = [finding for finding in validate_manifest(found) if finding.severity is Severity.ERROR]
    broken = [finding for finding in errors if not is_missing(finding)]

    assert_verdict(validate(found, "manifest"), errors)
    assert_verdict(validate(found, "manifest.input"), broken)


def assert_verdict(differences: list[tuple[str, str]], errors: list[Finding]) -> None:
    """A schema refuses what the rules refuse and nothing else; what is beyond it, it may let pass."""
    if not errors:
        assert differences == []
    if any(finding.code not in BEYOND_A_SCHEMA for finding in errors):
        assert differences != [], errors


@given(
    place=st.sampled_from(PLACES),
    action=st.sampled_from(["remove", "replace", "add"]),
    value=st.sampled_from(VALUES),
    more=st.sampled_from(NAMES),
)
@settings(max_examples=600)
def test_schema_and_rules_agree_on_any_change_in_one_place(
    place: tuple[str, tuple[str | int, ...]], action: str, value: Any, more: str
) -> None:
    assert_agreement(mutated(*place, action, value, more))


@pytest.mark.parametrize("name", BASES)
def test_every_member_may_be_removed_with_one_verdict(name: str) -> None:
    for base, path in PLACES:
        if base == name:
            assert_agreement(mutated(base, path, "remove", None, ""))


@pytest.mark.parametrize("value", [None, "", 0, True, [], {}], ids=repr)
def test_every_member_may_be_replaced_with_one_verdict(value: Any) -> None:
    for base, path in PLACES:
        assert_agreement(mutated(base, path, "replace", value, ""))
