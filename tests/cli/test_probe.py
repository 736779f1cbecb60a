"""`probe` as a terminal shows it: a machine behind attested TLS, what it proves, and what becomes of that."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.atls.server import AtlsServer, serve
from contrast_tasks.attestation import observe
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.tdx.document import render_document
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.trust_roots import TrustRoots, bundled_roots
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.evidence_documents import OID_SNP, OID_TDX
from contrast_tasks.manifest.codec import parse_manifest
from contrast_tasks.settings.load import load_settings
from tests.fakes.atls import echo
from tests.fakes.attestation import CHIP_ID, HOST_DATA, MEASUREMENT, NOW, REPORT_DATA, FakeAmd
from tests.fakes.commands import Terminal
from tests.fakes.intel import Body, Intel, changed
from tests.fakes.workloads import COMPONENTS

ROOT = Path(__file__).resolve().parents[2]
AMD = FakeAmd()
LEVELS = "minimum_tcb = { bootloader = 4, tee = 1, snp = 24, microcode = 219 }"
SNIPPET = f"""\
# Observed by 'contrast-tasks probe' and confirmed.
# observed.toml is read with contrast.toml, which has precedence; lines of any other file can be copied there.

[reference_values.snp.Milan]
{LEVELS}
"""


@dataclass(frozen=True, kw_only=True)
class SnpMachine:
    """Issues reports of the synthetic vendor's chip; `stale` are documents that bind nothing of this connection."""

    changes: dict[str, Any] = field(default_factory=dict)
    stale: bool = False
    oid: str = OID_SNP

    def issue(self, report_data: bytes) -> bytes:
        bound = bytes(64) if self.stale else report_data
        return AMD.document(AMD.report(report_data=bound, **self.changes))


@dataclass(frozen=True, kw_only=True)
class TdxMachine:
    """Issues quotes of the synthetic vendor's platform."""

    intel: Intel
    oid: str = OID_TDX

    def issue(self, report_data: bytes) -> bytes:
        return render_document(
            parse_quote(self.intel.quote(changed(Body(), report_data=report_data)))
        )


class FixedTime(datetime):
    """A datetime whose present is the synthetic vendors'."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # never a FixedTime
        return NOW.astimezone(tz)


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


@pytest.fixture(autouse=True)
def at_that_time(monkeypatch: pytest.MonkeyPatch, intel: Intel) -> None:
    roots = TrustRoots(amd={"Milan": AMD.anchor}, intel_spki=intel.root_spki)
    monkeypatch.setattr("contrast_tasks.cli.probe.datetime", FixedTime)
    monkeypatch.setattr(observe, "bundled_roots", lambda: roots)


def serving(issuer: Any) -> AtlsServer:
    return serve(
        echo, listen=("127.0.0.1", 0), issuer=issuer, require_client=None, clock=lambda: NOW
    )


@pytest.fixture
def machine() -> Iterator[AtlsServer]:
    with serving(SnpMachine()) as server:
        yield server


def words(server: AtlsServer, *more: str) -> list[str]:
    return ["probe", "-c", f"127.0.0.1:{server.port}", "--offline", *more]


def test_a_machine_is_shown_and_its_levels_are_written_as_settings(
    terminal: Terminal, machine: AtlsServer
) -> None:
    before = (terminal.root / "contrast.toml").read_bytes()

    shown = terminal.run(*words(machine, "--yes"))

    assert shown.code == 0
    assert shown.out.startswith(
        f"coordinator 127.0.0.1:{machine.port} runs on SEV-SNP of the line Milan\n"
        "  reported_tcb: bootloader 4, tee 1, snp 24, microcode 219\n"
    )
    assert f"  measurement: {MEASUREMENT.hex()}\n" in shown.out
    assert f"  chip_id: {CHIP_ID.hex()}\n" in shown.out
    assert shown.out.endswith(f"\n{SNIPPET}")
    assert shown.err == ("wrote observed.toml; generate again\n")
    assert (terminal.root / "observed.toml").read_text() == SNIPPET
    assert (terminal.root / "contrast.toml").read_bytes() == before


METAL = 'platform = "metal-qemu-snp"\nsources = ["deployment"]\n'


def test_the_lines_are_settings_that_are_understood(
    terminal: Terminal, machine: AtlsServer, tmp_path: Path
) -> None:
    (terminal.root / "contrast.toml").write_text(METAL)
    terminal.run(*words(machine, "--yes", "--with-guest", "--pin-machine"))

    head = 'platform = "metal-qemu-snp"\nsources = ["deployment"]\n'
    text = (terminal.root / "observed.toml").read_text()
    (tmp_path / "contrast.toml").write_text(head + text)
    overrides = load_settings(tmp_path, environ={}).reference_overrides.snp["Milan"]
    assert overrides["minimum_tcb"] == {"bootloader": 4, "tee": 1, "snp": 24, "microcode": 219}
    assert overrides["trusted_measurement"] == MEASUREMENT.hex()
    assert overrides["allowed_chip_ids"] == (CHIP_ID.hex(),)


def test_a_td_has_its_own_table(terminal: Terminal, intel: Intel, tmp_path: Path) -> None:
    old = 'platform = "metal-qemu-tdx"\nsources = ["deployment"]\nruntime.release = "v1.11.0"\n'
    (terminal.root / "contrast.toml").write_text(old)
    with serving(TdxMachine(intel=intel)) as server:
        shown = terminal.run(*words(server, "--yes", "--out", "td.toml", "--with-guest"))

    head = 'platform = "metal-qemu-tdx"\nsources = ["deployment"]\n'
    (tmp_path / "contrast.toml").write_text(head + (terminal.root / "td.toml").read_text())
    overrides = load_settings(tmp_path, environ={}).reference_overrides.tdx
    assert shown.code == 0
    assert shown.out.startswith(f"coordinator 127.0.0.1:{server.port} runs on TDX\n")
    assert "warning: the patch level is unknown" in shown.err
    assert overrides["mr_seam"] == "5e" * 48
    assert overrides["minimum_tee_tcb_svn"] == Body().tee_tcb_svn.hex()
    assert overrides["rtmrs"] == tuple(rtmr.hex() for rtmr in Body().rtmrs)


def test_what_the_release_does_not_read_is_left_out_and_named(
    terminal: Terminal, intel: Intel
) -> None:
    # Source: docs/internals/releases.md 2.1, the members of v1.16.
    new = 'platform = "metal-qemu-tdx"\nsources = ["deployment"]\nruntime.release = "v1.16.0"\n'
    (terminal.root / "contrast.toml").write_text(new)
    with serving(TdxMachine(intel=intel)) as server:
        shown = terminal.run(*words(server, "--yes", "--out", "td.toml", "--with-guest"))

    written = (terminal.root / "td.toml").read_text()
    assert shown.code == 0
    for name in ("minimum_tee_tcb_svn", "td_attributes"):
        assert f"{name} is left out, release v1.16.0 does not read it\n" in shown.err
        assert name not in written
    assert "xfam = " in written


def test_without_a_terminal_nothing_is_written_unless_told_to(
    terminal: Terminal, machine: AtlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))

    shown = terminal.run(*words(machine))

    assert shown.code == 2
    assert SNIPPET in shown.out
    assert "these values were not confirmed, nothing was written" in shown.err
    assert "hint: run it on a terminal, or confirm with --yes" in shown.err
    assert not (terminal.root / "observed.toml").exists()


class TerminalInput(io.StringIO):
    """What somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "written"), [("yes\n", True), ("y\n", False), ("\n", False), ("", False)]
)
def test_on_a_terminal_it_asks_and_only_yes_is_yes(
    terminal: Terminal,
    machine: AtlsServer,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    written: bool,
) -> None:
    monkeypatch.setattr(sys, "stdin", TerminalInput(typed))

    shown = terminal.run(*words(machine))

    assert shown.code == 0
    assert shown.err.startswith("write these values? type yes: ")
    assert (terminal.root / "observed.toml").exists() is written
    assert ("nothing was written" in shown.err) is not written


def test_looking_writes_nothing_and_asks_nobody(terminal: Terminal, machine: AtlsServer) -> None:
    shown = terminal.run(*words(machine, "--show-only"))

    assert (shown.code, shown.err) == (0, "")
    assert shown.out.endswith(SNIPPET)
    assert not (terminal.root / "observed.toml").exists()


def test_the_same_as_one_json_document(terminal: Terminal, machine: AtlsServer) -> None:
    shown = terminal.run(*words(machine, "--yes", "--output", "json"))

    result = json.loads(shown.out)["result"]
    assert (shown.code, shown.err) == (0, "")
    assert (result["tee"], result["product"], result["simulated"]) == ("SEV-SNP", "Milan", False)
    assert result["observed"]["host_data"] == HOST_DATA.hex()
    assert result["overrides"]["snp"]["Milan"]["minimum_tcb"]["snp"] == 24
    assert result["written"] == str(terminal.root / "observed.toml")


def test_a_second_look_at_the_same_machine_changes_nothing(
    terminal: Terminal, machine: AtlsServer
) -> None:
    terminal.run(*words(machine, "--yes"))

    shown = terminal.run(*words(machine, "--yes"))

    assert (shown.code, shown.err) == (
        0,
        "up to date: observed.toml; generate again\n",
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("contrast.toml", "settings are never written by probe"),
        ("deployment/shop.yml", "is there already, and no probe has written it"),
        ("deployment", "cannot be read: is a directory"),
    ],
)
def test_files_of_the_user_are_never_written(
    terminal: Terminal, machine: AtlsServer, name: str, message: str
) -> None:
    path = terminal.root / name
    before = path.read_bytes() if path.is_file() else None

    shown = terminal.run(*words(machine, "--yes", "--out", name))

    assert (shown.code, shown.out) == (2, "")
    assert f"{path}: error: {message}" in shown.err
    assert before is None or path.read_bytes() == before


PROJECT = f"""\
platform = "metal-qemu-snp"
sources = ["deployment"]
runtime.class = "contrast-cc-metal-qemu-snp-7173acb5"
runtime.release = "v1.16.0"
components = {{ reference = true, {COMPONENTS} }}
defaults.memory = "700Mi"
reference_values.products = ["Milan"]
"""


def snp_entry(terminal: Terminal) -> dict[str, Any]:
    manifest = json.loads((terminal.root / "manifest.json").read_text())
    (entry,) = manifest["ReferenceValues"]["snp"]
    return dict(entry)


LEVELS_OF_MACHINE = {
    "BootloaderVersion": 4,
    "TEEVersion": 1,
    "SNPVersion": 24,
    "MicrocodeVersion": 219,
}


def test_what_is_confirmed_is_what_generate_takes_and_the_machine_is_accepted_by(
    terminal: Terminal, machine: AtlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (terminal.root / "contrast.toml").write_text(PROJECT)
    before = terminal.run("generate")
    monkeypatch.setattr(sys, "stdin", TerminalInput("yes\n"))

    probed = terminal.run(*words(machine, "--with-guest", "--pin-machine"))
    after = terminal.run("generate")
    again = terminal.run("generate")

    assert (before.code, probed.code, after.code, again.code) == (13, 0, 0, 0)
    assert "probe -c HOST:PORT" in before.err
    assert again.err.startswith("up to date")
    entry = snp_entry(terminal)
    assert entry["MinimumTCB"] == LEVELS_OF_MACHINE
    assert entry["TrustedMeasurement"] == MEASUREMENT.hex()
    assert entry["AllowedChipIDs"] == [CHIP_ID.hex()]
    manifest = parse_manifest((terminal.root / "manifest.json").read_bytes())
    roots = TrustRoots(amd={"Milan": AMD.anchor})
    (validator,) = validators_for(manifest, roots=roots)
    assert validator.verify(AMD.document(), REPORT_DATA, NOW).host_data == HOST_DATA


def test_what_nobody_confirmed_stays_missing(
    terminal: Terminal, machine: AtlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (terminal.root / "contrast.toml").write_text(PROJECT)
    monkeypatch.setattr(sys, "stdin", TerminalInput("no\n"))

    refused = terminal.run(*words(machine, "--with-guest"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    nobody = terminal.run(*words(machine, "--with-guest"))
    generated = terminal.run("generate")

    assert (refused.code, nobody.code, generated.code) == (0, 2, 13)
    assert set(snp_entry(terminal)["MinimumTCB"].values()) == {None}


def test_another_kind_of_machine_and_another_machine_are_added(
    terminal: Terminal, machine: AtlsServer, intel: Intel
) -> None:
    (terminal.root / "contrast.toml").write_text(METAL)
    earlier = (
        "# Observed by 'contrast-tasks probe' and confirmed.\n"
        "[reference_values.snp.Genoa]\n"
        "minimum_tcb = { bootloader = 9, tee = 0, snp = 23, microcode = 72 }\n"
        "[reference_values.snp.Milan]\n"
        "minimum_tcb = { bootloader = 3, tee = 0, snp = 8, microcode = 115 }\n"
        f'allowed_chip_ids = ["{"ab" * 64}"]\n'
    )
    (terminal.root / "observed.toml").write_text(earlier)
    (terminal.root / "contrast.toml").write_text(PROJECT)

    terminal.run(*words(machine, "--yes", "--pin-machine"))
    with serving(TdxMachine(intel=intel)) as server:
        terminal.run(*words(server, "--yes"))

    overrides = load_settings(terminal.root, environ={}).reference_overrides
    assert overrides.snp["Genoa"]["minimum_tcb"]["snp"] == 23
    assert overrides.snp["Milan"]["minimum_tcb"]["snp"] == 24
    assert overrides.snp["Milan"]["allowed_chip_ids"] == ("ab" * 64, CHIP_ID.hex())
    assert overrides.tdx["mr_seam"] == "5e" * 48


@pytest.mark.first(3)
@pytest.mark.parametrize(
    "content",
    [
        *("x", "[reference_values", "a = 1", "\xff"),
        pytest.param("a = " + "[" * 5000, id="deep"),
        *(
            "reference_values = 5",
            "reference_values = { snp = 5 }",
            "[reference_values]\nother = 1",
        ),
        "[reference_values.snp]\nMilan = 5",
        "[reference_values.snp.Milan]\nallowed_chip_ids = 5",
        '[reference_values.snp.Genoa]\nallowed_chip_ids = ["a\\"b"]',
        '[reference_values.snp."a\\nb"]\nallowed_chip_ids = []',
        "[reference_values.tdx]\nminimum_qe_svn = 1.5",
    ],
)
def test_an_earlier_file_that_cannot_be_understood_is_left_as_it_is(
    terminal: Terminal, machine: AtlsServer, content: str
) -> None:
    text = f"# Observed by 'contrast-tasks probe'\n{content}\n"
    (terminal.root / "other.toml").write_text(text)

    shown = terminal.run(*words(machine, "--yes", "--out", "other.toml"))

    assert shown.code == 2
    assert "other.toml: error: cannot be understood any more" in shown.err
    assert (terminal.root / "other.toml").read_text() == text


def test_in_a_file_of_another_name_they_are_lines_for_the_settings(
    terminal: Terminal, machine: AtlsServer
) -> None:
    shown = terminal.run(*words(machine, "--yes", "--out", "other.toml"))

    assert shown.err == "wrote other.toml; put its lines into contrast.toml and generate again\n"


def test_evidence_that_binds_another_connection_is_refused(terminal: Terminal) -> None:
    with serving(SnpMachine(stale=True)) as server:
        shown = terminal.run(*words(server, "--yes"))

    assert (shown.code, shown.out) == (41, "")
    assert "the evidence was not made for this connection" in shown.err
    assert "hint: a replay, or a relay in between" in shown.err


def test_evidence_that_is_not_genuine_is_refused(
    terminal: Terminal, machine: AtlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "bundled_roots", bundled_roots)

    shown = terminal.run(*words(machine, "--yes"))

    assert (shown.code, shown.out) == (41, "")
    assert not (terminal.root / "observed.toml").exists()


def test_a_server_without_evidence_is_refused(terminal: Terminal) -> None:
    with serving(None) as server:
        shown = terminal.run(*words(server, "--yes"))

    assert (shown.code, shown.out) == (41, "")
    assert "carries no evidence" in shown.err


def test_warnings_go_to_people_and_into_the_document(terminal: Terminal) -> None:
    with serving(SnpMachine(changes={"policy": 0x30000 | 1 << 19})) as server:
        text = terminal.run(*words(server, "--show-only"))
        document = terminal.run(*words(server, "--show-only", "--output", "json"))

    assert text.err.startswith("warning: the guest may be debugged by its host")
    (warning,) = json.loads(document.out)["result"]["warnings"]
    assert "debugged" in warning


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "the following arguments are required: -c/--coordinator"),
        (["-c", "somewhere"], "coordinator is 'somewhere', wanted HOST:PORT"),
        (["-c", "127.0.0.1:"], "coordinator is '127.0.0.1:', wanted HOST:PORT"),
        (["-c", "127.0.0.1:65536"], "wanted HOST:PORT"),
        (["-c", "127.0.0.1:1", "--mirror", "a"], "mirror is 'a', wanted PREFIX=REPLACEMENT"),
    ],
)
def test_a_wrong_command_line_says_what_was_wanted(
    terminal: Terminal, given: list[str], message: str
) -> None:
    shown = terminal.run("probe", *given)

    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err


def test_nobody_at_the_address_is_its_own_exit_code(terminal: Terminal) -> None:
    with serving(SnpMachine()) as server:
        port = server.port

    shown = terminal.run("probe", "-c", f"127.0.0.1:{port}", "--yes")

    assert (shown.code, shown.out) == (40, "")
    assert f"cannot connect to 127.0.0.1:{port}" in shown.err


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[int]:
    place = tmp_path / "processor"
    SimulatedProcessor.load_or_create(place)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    evidence = {"CONTRAST_EVIDENCE": f"simulated:{place}", "CONTRAST_HOST_DATA": HOST_DATA.hex()}
    addresses = [
        word for name in ("--user-api", "--mesh-api", "--http") for word in (name, "127.0.0.1:0")
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "coordinator", *addresses, "--state", str(tmp_path / "state")],
        cwd=ROOT,
        env={**kept, **evidence},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        started = next(
            line for line in map(json.loads, process.stderr) if line["msg"] == "Coordinator started"
        )
        yield started["user_api"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.e2e
def test_a_real_coordinator_on_a_simulated_machine_is_shown_as_such(
    terminal: Terminal, coordinator: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contrast_tasks.cli.probe.datetime", datetime)

    shown = terminal.run("probe", "-c", f"127.0.0.1:{coordinator}", "--yes", "--offline")

    assert shown.code == 0
    assert shown.out.startswith(
        f"coordinator 127.0.0.1:{coordinator} runs on SEV-SNP of the line Simulated\n"
    )
    assert f"  host_data: {HOST_DATA.hex()}\n" in shown.out
    assert shown.err == (
        "warning: the machine is simulated: its evidence proves nothing about hardware\n"
        "there is nothing to write: settings have no values for this machine\n"
    )
    assert not (terminal.root / "observed.toml").exists()


def test_an_observed_value_that_changes_or_goes_is_noticed(
    terminal: Terminal, machine: AtlsServer
) -> None:
    (terminal.root / "contrast.toml").write_text(PROJECT)
    terminal.run(*words(machine, "--yes", "--with-guest"))
    observed = terminal.root / "observed.toml"
    text = observed.read_text()
    terminal.run("generate")
    assert terminal.run("generate").err.startswith("up to date")

    observed.write_text(text.replace("snp = 24", "snp = 25"))
    changed = terminal.run("generate")
    levels = snp_entry(terminal)["MinimumTCB"]
    observed.unlink()
    gone = terminal.run("generate")

    assert (changed.code, levels["SNPVersion"]) == (0, 25)
    assert (gone.code, snp_entry(terminal)["TrustedMeasurement"]) == (13, "")
