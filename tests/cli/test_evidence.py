"""`evidence` as a terminal shows it: what a file says, what a manifest thinks of it, whether vectors hold."""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.reference_values import simulated_reference
from contrast_tasks.releases.table import V1_16
from contrast_tasks.trusted_guests import (
    GuestPolicy,
    ReferenceValues,
    SnpReference,
    SnpTcb,
    TdxReference,
)
from tests.fakes.attestation import HOST_DATA, REPORT_DATA, FakeAmd
from tests.fakes.commands import Terminal
from tests.fakes.coordinator import new_owner
from tests.fakes.testdata import ATTESTATION

real_data = pytest.mark.skipif(
    not ATTESTATION.is_dir(), reason="test data of real hardware is not at hand"
)
QUOTE = ATTESTATION / "tdx" / "v4-uptodate.quote.bin"
COLLATERAL = ATTESTATION / "tdx" / "v4-uptodate.collateral.json"
UP_TO_DATE_AT = "2025-06-20T10:16:03Z"


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    place = tmp_path_factory.mktemp("local") / "processor"
    return SimulatedProcessor.load_or_create(place, now=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def document(processor: SimulatedProcessor, tmp_path: Path) -> Path:
    path = tmp_path / "evidence.pb"
    path.write_bytes(processor.issuer(HOST_DATA).issue(REPORT_DATA))
    return path


def write_manifest(folder: Path, host_data_hex: str = HOST_DATA.hex(), **values: Any) -> Path:
    manifest = Manifest(
        policies={
            "c0" * 32: PolicyEntry(sans=("coordinator", "*"), role="coordinator"),
            host_data_hex: PolicyEntry(sans=("web", "*")),
        },
        reference_values=ReferenceValues(**values),
        workload_owner_key_digests=(new_owner().digest_hex,),
    )
    path = folder / "judging.json"
    path.write_bytes(render_manifest(manifest, V1_16.manifest))
    return path


@pytest.fixture
def trusting(processor: SimulatedProcessor, tmp_path: Path) -> Path:
    reference = simulated_reference(processor.root_sha256_hex)
    return write_manifest(tmp_path, simulated=(reference,))


def test_show_prints_every_field_with_its_bits(terminal: Terminal, tmp_path: Path) -> None:
    report = tmp_path / "report.bin"
    report.write_bytes(FakeAmd().report().raw)

    shown = terminal.run("evidence", "show", str(report))

    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("kind: SEV-SNP report\nversion: 5\nproduct: Milan\nguest_svn: 2\n")
    assert "policy:\n  word: 0x30000\n" in shown.out
    assert "  SMT: yes\n" in shown.out
    assert "  DEBUG: no\n" in shown.out
    assert f"host_data: {HOST_DATA.hex()}\n" in shown.out


def test_show_says_the_same_as_one_json_document(terminal: Terminal, tmp_path: Path) -> None:
    report = tmp_path / "report.bin"
    report.write_bytes(FakeAmd().report().raw)

    shown = terminal.run("evidence", "show", str(report), "--output", "json")

    answer = json.loads(shown.out)
    assert (shown.code, shown.err, answer["command"]) == (0, "", "evidence")
    assert answer["result"]["kind"] == "SEV-SNP report"
    assert answer["result"]["policy"]["DEBUG"] is False


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        pytest.param(b"", 41, "0 bytes in no known form of evidence", id="empty"),
        pytest.param(b"#!/bin/sh\n", 41, "10 bytes in no known form of evidence", id="script"),
        pytest.param(bytes(0x4A0), 41, "not a SEV-SNP report", id="zeros"),
        pytest.param(None, 2, "cannot be read: no such file or directory", id="absent"),
    ],
)
def test_show_names_a_file_that_is_no_evidence(
    terminal: Terminal, tmp_path: Path, content: bytes | None, code: int, message: str
) -> None:
    path = tmp_path / "thing"
    if content is not None:
        path.write_bytes(content)

    shown = terminal.run("evidence", "show", str(path))

    assert (shown.code, shown.out) == (code, "")
    assert shown.err.startswith(f"{path}: error: ")
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_verify_accepts_what_the_manifest_describes(
    terminal: Terminal, document: Path, trusting: Path
) -> None:
    shown = terminal.run(
        "evidence",
        "verify",
        str(document),
        "--manifest",
        str(trusting),
        "--report-data",
        REPORT_DATA.hex(),
        "--offline",
    )

    assert shown.code == 0
    assert shown.err == "evidence of a simulated processor: for development only\n"
    assert shown.out.startswith("accepted_by: simulated-0\nevidence: SEV-SNP document\n")
    assert "report_data_checked: yes\n" in shown.out
    assert f"policy_hash: {HOST_DATA.hex()}\nsans: web, *\nrole: none\n" in shown.out


def test_verify_says_that_report_data_was_not_checked(
    terminal: Terminal, document: Path, trusting: Path
) -> None:
    shown = terminal.run("evidence", "verify", str(document), "-m", str(trusting), "--offline")

    assert shown.code == 0
    assert shown.err.startswith(
        "report data was not checked: the evidence may be from any connection"
    )


def test_verify_is_an_action_and_not_the_command_of_that_name(
    terminal: Terminal, document: Path, trusting: Path
) -> None:
    shown = terminal.run(
        "evidence", "--offline", "verify", str(document), "-m", str(trusting), "config", "show"
    )

    assert shown.code == 0
    assert "accepted_by: simulated-0" in shown.out
    assert 'platform = "' in shown.out


def test_a_replay_is_refused_with_found_and_wanted(
    terminal: Terminal, document: Path, trusting: Path
) -> None:
    shown = terminal.run(
        "evidence",
        "verify",
        str(document),
        "-m",
        str(trusting),
        "--report-data",
        "00" * 64,
        "--offline",
    )

    assert (shown.code, shown.out) == (41, "")
    assert shown.err == (
        f"{document}: error: no reference value of the manifest accepts the SEV-SNP document\n"
        f"  simulated-0: report-data is {REPORT_DATA.hex()}, but {'00' * 64} is wanted\n"
        "  hint: the evidence was made for another key or another connection: "
        "a replay, or a relay in between\n"
    )


def test_refusals_are_told_to_machines_one_by_one(
    terminal: Terminal, document: Path, tmp_path: Path
) -> None:
    reference = SnpReference(
        product_name="Milan",
        trusted_measurement_hex="ab" * 48,
        minimum_tcb=SnpTcb(bootloader=3, tee=0, snp=8, microcode=115),
        guest_policy=GuestPolicy(),
    )
    manifest = write_manifest(tmp_path, snp=(reference,))

    shown = terminal.run(
        "evidence", "verify", str(document), "-m", str(manifest), "--offline", "--output", "json"
    )

    answer = json.loads(shown.out)
    assert (shown.code, shown.err, answer["exit_code"]) == (41, "", 41)
    (rejection,) = answer["result"]["rejections"]
    assert (rejection["reference"], rejection["check"]) == ("snp-0-MILAN", "product")
    assert answer["errors"][0]["kind"] == "NoReferenceAccepts"


def test_a_policy_of_another_build_has_its_own_exit_code(
    terminal: Terminal, document: Path, processor: SimulatedProcessor, tmp_path: Path
) -> None:
    reference = simulated_reference(processor.root_sha256_hex)
    manifest = write_manifest(tmp_path, "ee" * 32, simulated=(reference,))

    shown = terminal.run("evidence", "verify", str(document), "-m", str(manifest), "--offline")

    assert shown.code == 42
    assert f"its policy hash {HOST_DATA.hex()} is none of the 2 of the manifest" in shown.err
    assert "hint: the guest was started from another build" in shown.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show"], "the following arguments are required: FILE"),
        (["judge", "x"], "argument action: invalid choice: 'judge'"),
        (["verify", "x"], "evidence verify needs a manifest"),
        (["show", "x", "--roots", "y"], "evidence show does not know --roots, evidence check does"),
        (["check", "x", "-m", "y"], "evidence check does not know --manifest, evidence verify"),
        (["verify", "x", "-m", "judging.json", "--report-data", "zz"], "report data is not hex"),
        (["verify", "x", "-m", "judging.json", "--report-data", "00"], "has 1 bytes, wanted 64"),
        (["verify", "x", "-m", "judging.json", "--at", "noon"], "--at is 'noon', wanted a time"),
        (
            ["verify", "x", "-m", "judging.json", "--mirror", "a=b"],
            "mirror is 'a=b', wanted PREFIX",
        ),
        (["verify", "x", "-m", "no.json"], "no.json: error: cannot be read"),
    ],
)
def test_a_wrong_command_line_says_what_was_wanted(
    terminal: Terminal, trusting: Path, words: list[str], message: str
) -> None:
    shutil.copy(trusting, terminal.root / "judging.json")

    shown = terminal.run("evidence", *words)

    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err


def test_a_manifest_with_gaps_is_refused_with_each_of_them(
    terminal: Terminal, document: Path, tmp_path: Path
) -> None:
    gap = SnpReference(
        product_name="Milan",
        trusted_measurement_hex="ab" * 48,
        minimum_tcb=SnpTcb(bootloader=3, tee=0, snp=8),
        guest_policy=GuestPolicy(),
    )

    shown = terminal.run(
        "evidence", "verify", str(document), "-m", str(write_manifest(tmp_path, snp=(gap,)))
    )

    assert shown.code == 13
    assert "MinimumTCB.MicrocodeVersion: is missing" in shown.err
    assert "snphost show tcb" in shown.err


def tdx_manifest(folder: Path, **changes: Any) -> Path:
    body = parse_quote(QUOTE.read_bytes()).body
    values: dict[str, Any] = {
        "mr_td_hex": body.mr_td.hex(),
        "mr_seam_hex": body.mr_seam.hex(),
        "rtmrs_hex": tuple(rtmr.hex() for rtmr in body.rtmrs),
        "xfam_hex": body.xfam.hex(),
        "td_attributes_hex": body.td_attributes.hex(),
        "minimum_tee_tcb_svn_hex": body.tee_tcb_svn.hex(),
        "minimum_qe_svn": 0,
        "minimum_pce_svn": 0,
        "memory_integrity": False,
    }
    reference = TdxReference(**(values | changes))
    return write_manifest(folder, body.mr_config_id[:32].hex(), tdx=(reference,))


@real_data
def test_a_real_quote_is_accepted_with_its_collateral_at_its_time(
    terminal: Terminal, tmp_path: Path
) -> None:
    words = ["-m", str(tdx_manifest(tmp_path)), "--collateral", str(COLLATERAL), "--offline"]

    accepted = terminal.run("evidence", "verify", str(QUOTE), *words, "--at", UP_TO_DATE_AT)
    expired = terminal.run("evidence", "verify", str(QUOTE), *words, "--at", "2025-07-20")

    assert accepted.code == 0, accepted.err
    assert accepted.out.startswith("accepted_by: tdx-0\nevidence: TDX quote\n")
    assert "tcb_status: UpToDate\n" in accepted.out
    assert expired.code == 41
    assert "expired" in expired.err
    assert (
        "hint: check this machine's clock; if it is right, fetch the collateral again"
        in expired.err
    )


@real_data
def test_a_real_quote_without_collateral_fails_closed_and_says_how_to_get_it(
    terminal: Terminal, tmp_path: Path
) -> None:
    shown = terminal.run(
        "evidence",
        "verify",
        str(QUOTE),
        "-m",
        str(tdx_manifest(tmp_path)),
        "--offline",
        "--at",
        UP_TO_DATE_AT,
    )

    assert (shown.code, shown.out) == (41, "")
    assert "  tdx-0: collateral not available for FMSPC" in shown.err
    assert "is not in the cache, and fetching is off" in shown.err
    assert "run 'contrast-tasks endorsements fetch'" in shown.err


@real_data
def test_a_real_td_of_another_runtime_is_named_by_its_first_difference(
    terminal: Terminal, tmp_path: Path
) -> None:
    shown = terminal.run(
        "evidence",
        "verify",
        str(QUOTE),
        "-m",
        str(tdx_manifest(tmp_path, mr_seam_hex="5e" * 48)),
        "--collateral",
        str(COLLATERAL),
        "--at",
        UP_TO_DATE_AT,
    )

    assert shown.code == 41
    seam = parse_quote(QUOTE.read_bytes()).body.mr_seam.hex()
    assert f"  tdx-0: MRSEAM is {seam}, but {'5e' * 48} is wanted\n" in shown.err
    assert "hint: the host runs another TDX module" in shown.err


def counted(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+) passed, (\d+) failed", text.splitlines()[-1])
    assert match is not None
    return int(match[1]), int(match[2])


@real_data
@pytest.mark.parametrize(
    "words", [[], ["--roots", str(ATTESTATION / "roots")]], ids=["own", "given"]
)
def test_every_check_of_the_real_vectors_comes_out_as_listed(
    terminal: Terminal, words: list[str]
) -> None:
    index = json.loads((ATTESTATION / "vectors.json").read_text())
    listed = sum(len(vector.get("checks", ())) for vector in index["vectors"])

    shown = terminal.run("evidence", "check", str(ATTESTATION), *words)

    assert (shown.code, shown.err) == (0, "")
    assert counted(shown.out) == (listed, 0)
    assert shown.out.splitlines()[-1] == "39 passed, 0 failed"
    assert len(shown.out.splitlines()) == listed + 1
    assert shown.out.startswith(
        "ok snp/milan-v2-a genuine at 2022-10-24T00:55:28Z: expected accept, found accept\n"
    )


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "vectors"
    shutil.copytree(ATTESTATION, target)
    yield target
    shutil.rmtree(target)


@real_data
@pytest.mark.parametrize(
    ("file", "at"),
    [
        ("snp/milan-v2-a.report.bin", 0x90),
        ("snp/milan-v2-a.vcek.der", -1),
        ("tdx/v4-uptodate.quote.bin", 0x40),
    ],
)
def test_a_tampered_vector_is_shown_as_failed(
    terminal: Terminal, copy: Path, file: str, at: int
) -> None:
    content = bytearray((copy / file).read_bytes())
    content[at] ^= 1
    (copy / file).write_bytes(content)

    shown = terminal.run("evidence", "check", str(copy))

    passed, failed = counted(shown.out)
    vector = file.partition(".")[0]
    assert shown.code == 42
    assert (passed + failed, failed > 0) == (39, True)
    assert f"FAILED {vector} genuine at " in shown.out
    assert shown.err == (
        f"contrast-tasks: error: {failed} of 39 checks came out otherwise than listed\n"
    )


@real_data
def test_a_quote_whose_collateral_is_not_there_is_rejected_for_its_tcb_only(
    terminal: Terminal, copy: Path
) -> None:
    (copy / "tdx" / "v4-debug.collateral.json").unlink()

    shown = terminal.run("evidence", "check", str(copy), "--roots", str(copy / "roots"))

    assert shown.code == 0
    assert (
        "ok tdx/v4-debug tcb at 2026-03-17T22:21:30Z: expected reject OutOfDate, found reject collateral-unavailable\n"
        "  tdx/v4-debug.collateral.json: no such file, so there is no collateral\n"
    ) in shown.out
    assert "ok tdx/v4-debug genuine at 2026-03-17T22:21:30Z: expected accept, found accept\n" in (
        shown.out
    )


@real_data
def test_roots_of_somebody_else_accept_nothing_genuine(terminal: Terminal, copy: Path) -> None:
    for name in ("amd_milan_ask_ark.pem", "amd_milan_asvk_ark.pem"):
        (copy / "roots" / name).unlink()

    shown = terminal.run("evidence", "check", str(copy), "--roots", str(copy / "roots"))

    assert shown.code == 42
    assert "FAILED snp/milan-v2-a genuine" in shown.out
    assert "the processor is of the line Milan, wanted one of" in shown.out


@pytest.mark.parametrize(
    ("index", "message"),
    [
        pytest.param("{", "not valid JSON", id="half"),
        pytest.param("[" * 100_000, "nested too deeply", id="deep"),
        pytest.param("[]", "the index has no list 'vectors'", id="list"),
        pytest.param('{"vectors": {}}', "the index has no list 'vectors'", id="object"),
        pytest.param('{"vectors": [1]}', "the index has no list 'files'", id="number"),
        pytest.param('{"vectors": [{"id": "a"}]}', "entry 'a' has no list 'files'", id="no files"),
        pytest.param(
            '{"vectors": [{"id": "a", "files": [], "checks": 1}]}',
            "entry 'a' has no list 'checks'",
            id="checks",
        ),
    ],
)
def test_an_index_of_another_form_is_named(
    terminal: Terminal, tmp_path: Path, index: str, message: str
) -> None:
    folder = tmp_path / "vectors"
    folder.mkdir()
    (folder / "vectors.json").write_text(index)

    shown = terminal.run("evidence", "check", str(folder))

    assert shown.code == 2
    place, _, text = shown.err.partition(": error: ")
    assert place.removesuffix(":1") == str(folder / "vectors.json")
    assert message in text


GENUINE: dict[str, Any] = {"check": "genuine", "at": "2025-01-01", "result": "accept"}


@pytest.mark.parametrize(
    ("vector", "check", "message"),
    [
        pytest.param({}, {"at": None}, "the instant does not parse: 'None'", id="no instant"),
        pytest.param({}, {"at": "noon"}, "the instant does not parse: 'noon'", id="instant"),
        pytest.param({}, {"check": "tcb"}, "unknown check 'tcb', wanted one of genuine, chain, default-policy", id="question"),
        pytest.param({}, {"check": 7}, "unknown check '7', wanted one of genuine, chain", id="number for a question"),
        pytest.param({}, {"result": "maybe"}, "the result is 'maybe', wanted accept or reject", id="result"),
        pytest.param({}, {"options": [1]}, "the options of a check are [1], wanted an object", id="options"),
        pytest.param({}, {"options": {"allow_vlek": "no"}}, "the option allow_vlek is 'no', wanted true or false", id="option"),
        pytest.param({"tee": "sgx"}, {}, "tee is 'sgx', wanted one of snp, tdx", id="tee"),
        pytest.param({"files": ["a\0.json"]}, {}, "names an impossible file name: 'a\\x00.json'", id="zero byte"),
        pytest.param({"files": [f"{'a' * 999}.json"]}, {}, "names an impossible file name: 'aaa", id="long name"),
        pytest.param({"files": ["../no.json"]}, {}, "names the file '../no.json' outside its folder", id="collateral outside"),
        pytest.param({"files": ["../secret"]}, {}, "names the file '../secret' outside its folder", id="outside"),
        pytest.param({"files": ["a.bin"]}, {}, "a.bin: cannot be read: no such file or directory", id="missing file"),
    ],
)  # fmt: skip
def test_a_check_that_cannot_be_run_counts_as_failed_and_the_others_go_on(
    terminal: Terminal,
    tmp_path: Path,
    vector: dict[str, Any],
    check: dict[str, Any],
    message: str,
) -> None:
    report = FakeAmd().report().raw
    (tmp_path / "b.report.bin").write_bytes(report)
    base = {"id": "a", "tee": "snp", "files": ["b.report.bin"]}
    good = {**GENUINE, "result": "reject"}
    index = [
        {**base, **vector, "checks": [{**GENUINE, **check}]},
        {**base, "id": "b", "checks": [good]},
    ]
    (tmp_path / "vectors.json").write_text(json.dumps({"vectors": index}))

    shown = terminal.run("evidence", "check", str(tmp_path))

    failed, detail, passed, totals = shown.out.splitlines()
    assert shown.code == 42
    assert failed.startswith("FAILED a ")
    assert failed.endswith("found error")
    assert message in detail
    assert passed == "ok b genuine at 2025-01-01: expected reject, found reject chain-incomplete"
    assert totals == "1 passed, 1 failed"


def test_an_option_nobody_knows_is_told_and_has_no_effect(
    terminal: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "b.report.bin").write_bytes(FakeAmd().report().raw)
    check = {**GENUINE, "result": "reject", "options": {"allow_all": True, "allow_vlek": True}}
    vector = {"id": "b", "tee": "snp", "files": ["b.report.bin"], "checks": [check]}
    index = tmp_path / "vectors.json"
    index.write_text(json.dumps({"vectors": [vector]}))

    shown = terminal.run("evidence", "check", str(index))

    assert (shown.code, shown.err) == (0, "")
    assert shown.out == (
        "ok b genuine at 2025-01-01 with allow_vlek: expected reject, found reject chain-incomplete\n"
        "  option 'allow_all' is unknown and has no effect\n"
        "1 passed, 0 failed\n"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none", None, "no such folder"),
        ("empty", {}, "holds no certificates"),
        ("other", {"a.pem": b"hello"}, "a.pem holds no certificate in PEM or DER"),
    ],
)
def test_a_folder_of_roots_without_roots_is_refused(
    terminal: Terminal,
    tmp_path: Path,
    name: str,
    content: dict[str, bytes] | None,
    message: str,
) -> None:
    (tmp_path / "vectors.json").write_text('{"vectors": []}')
    folder = tmp_path / name
    if content is not None:
        folder.mkdir()
        for file, text in content.items():
            (folder / file).write_bytes(text)

    shown = terminal.run("evidence", "check", str(tmp_path), "--roots", str(folder))

    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err


def test_an_index_without_vectors_passes_nothing_and_fails_nothing(
    terminal: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "vectors.json").write_text('{"vectors": []}')

    shown = terminal.run("evidence", "check", str(tmp_path))

    assert (shown.code, shown.out, shown.err) == (0, "0 passed, 0 failed\n", "")


def test_what_a_document_does_not_have_is_shown_as_none(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "a.pb").write_bytes(FakeAmd().document(extras={}))

    shown = terminal.run("evidence", "show", str(tmp_path / "a.pb"))

    assert "\nextras: none\n" in shown.out
