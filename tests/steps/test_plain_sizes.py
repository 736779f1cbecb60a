"""What clients and Coordinators of the reference product would not take is said by lint and generate (M070).

The bounds are those of docs/internals/coordinator.md 2.4; here they are lowered to what one workload has.
"""

import pytest

from contrast_tasks.manifest.sizes import MAX_OBJECT_BYTES, MAX_REQUEST_BYTES, excesses
from tests.fakes.commands import Terminal
from tests.fakes.workloads import FakeProject


@pytest.mark.parametrize(
    ("manifest", "policies", "told"),
    [
        (1024 * 1024 - 1, {"aa": 1024 * 1024 - 1}, []),
        (1024 * 1024, {}, ["the manifest has 1048576 bytes, expected at most 1048575"]),
        (1, {"aa": 1024 * 1024}, ["policy aa has 1048576 bytes, expected at most 1048575"]),
        (
            1024 * 1024 - 1,
            {str(number): 1024 * 1024 - 1 for number in range(16)},
            # 17 documents of 1 MiB less one byte, each with eight bytes of framing.
            ["the manifest and its 16 policies have 17825911 bytes, expected at most 16777216"],
        ),
    ],
)
def test_objects_and_the_request_have_bounds(
    manifest: int, policies: dict[str, int], told: list[str]
) -> None:
    assert list(excesses(manifest, policies)) == told
    assert (MAX_OBJECT_BYTES, MAX_REQUEST_BYTES) == (2**20 - 1, 2**24)


@pytest.mark.parametrize("command", ["lint", "generate"])
@pytest.mark.parametrize(
    ("is_reference", "code", "severity"), [("false", 0, "warning"), ("true", 12, "error")]
)
def test_it_is_an_error_only_if_the_coordinator_is_the_reference_products(
    terminal: Terminal,
    project: FakeProject,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    is_reference: str,
    code: int,
    severity: str,
) -> None:
    monkeypatch.setattr("contrast_tasks.manifest.sizes.MAX_REQUEST_BYTES", 1000)

    shown = terminal.run(command, "--set", f"components.reference = {is_reference}")

    assert shown.code == code, shown.err
    told = [line for line in (shown.out + shown.err).splitlines() if "M070" in line]
    assert len(told) == 1
    assert f"manifest.json: {severity}[M070 plain-size]: the manifest and its " in told[0]
    assert "expected at most 1000 by clients and Coordinators of the reference product" in told[0]


def test_what_fits_is_not_mentioned(terminal: Terminal, project: FakeProject) -> None:
    shown = terminal.run("generate")

    assert shown.code == 0, shown.err
    assert "M070" not in shown.out + shown.err
