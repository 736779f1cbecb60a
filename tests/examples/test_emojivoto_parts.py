"""The stand-in's parts that need no process."""

import importlib
import importlib.util
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.examples.conftest import APP

PROTO = APP / "proto" / "emojivoto" / "v1" / "emojivoto.proto"
STUBS = APP / "emojivoto" / "v1"


def part(name: str) -> Any:
    return importlib.import_module(f"emojivoto.{name}")


def test_there_is_one_vote_rpc_for_each_emoji() -> None:
    catalogue = part("catalogue")
    wanted = {catalogue.vote_method(shortcode) for shortcode in catalogue.EMOJI}

    found = re.findall(r"rpc (Vote\w+)\(VoteRequest\)", PROTO.read_text())

    assert sorted(found) == sorted(wanted)
    assert len(found) == len(catalogue.EMOJI)


def test_a_vote_rpc_is_named_after_its_shortcode() -> None:
    assert part("catalogue").vote_method(":heart_eyes:") == "VoteHeartEyes"


def test_the_voting_service_answers_every_rpc_of_its_own() -> None:
    service = part("voting_svc").VotingService
    catalogue = part("catalogue")

    methods = {vars(service)[catalogue.vote_method(code)] for code in catalogue.EMOJI}

    assert len(methods) == len(catalogue.EMOJI)


@pytest.mark.parametrize(
    ("rate", "fails"),
    [
        (0.0, [False] * 6),
        (1.0, [True] * 6),
        (0.5, [False, True, False, True, False, True]),
        (0.25, [False, False, False, True, False, False]),
    ],
)
def test_failures_are_spread_evenly(rate: float, fails: list[bool]) -> None:
    failures = part("voting_svc").EvenFailures(rate)

    assert [failures.next_fails() for _ in range(6)] == fails


@pytest.mark.parametrize("address", ["", "emoji", "emoji:", ":8080", "emoji:grpc"])
def test_a_service_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="emoji wants <host>:<port>, found"):
        part("upstream").Upstream("emoji", address)


def test_the_page_loads_nothing_from_elsewhere() -> None:
    page = APP / "emojivoto" / "page"
    texts = [
        path.read_text() for path in page.rglob("*.*") if path.suffix in {".html", ".js", ".css"}
    ]

    assert len(texts) == 3
    assert not [
        text for text in texts if "//" in re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
    ]
    assert not [text for text in texts if re.search(r"@import|url\(", text)]


def test_the_page_refers_only_to_files_that_are_served() -> None:
    index = (APP / "emojivoto" / "page" / "index.html").read_text()
    served = part("web").load_files("dist/index_bundle.js")

    referred = set(re.findall(r'(?:href|src)="([^"]+)"', index))

    assert referred <= set(served) | {"/api/leaderboard"}
    assert {"/", "/leaderboard", "/js", "/img/favicon.ico"} <= set(served)


@pytest.mark.parametrize("bundle", ["../web.py", "/etc/hostname", "dist/none.js", "dist"])
def test_a_bundle_outside_of_the_page_is_refused(
    bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        part("web").load_files(bundle)

    assert f"INDEX_BUNDLE wants a file below {APP}" in capsys.readouterr().err


def _generator() -> str:
    text = (STUBS / "emojivoto_pb2_grpc.py").read_text()
    found = re.search(r"GRPC_GENERATED_VERSION = '([^']+)'", text)
    return found[1] if found else ""


@pytest.mark.skipif(
    importlib.util.find_spec("grpc_tools") is None or version("grpcio-tools") != _generator(),
    reason="grpcio-tools of the version the stubs were made with is not installed",
)
def test_the_stubs_are_those_of_the_proto_file(tmp_path: Path) -> None:
    arguments = [
        "-I",
        str(APP / "proto"),
        f"--python_out={tmp_path}",
        f"--grpc_python_out={tmp_path}",
    ]

    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments, str(PROTO)], check=True)

    for name in ("emojivoto_pb2.py", "emojivoto_pb2_grpc.py"):
        assert (tmp_path / "emojivoto/v1" / name).read_text() == (STUBS / name).read_text()
