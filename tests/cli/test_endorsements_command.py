"""`endorsements` as a terminal shows it, against a vendor's service on this machine."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from urllib.parse import quote

import pytest

from contrast_tasks.atls.server import serve
from contrast_tasks.attestation import trust_roots
from contrast_tasks.attestation.endorsements import kds, pcs
from contrast_tasks.attestation.endorsements.fetch import EndorsementCache
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.trust_roots import TrustRoots
from contrast_tasks.web.answers import Answer
from tests.fakes.atls import echo
from tests.fakes.attestation import CHIP_ID, HOST_DATA, NOW, TCB, FakeAmd
from tests.fakes.commands import Terminal
from tests.fakes.intel import Intel
from tests.fakes.vendor import FakeVendor

AMD = FakeAmd()
VCEK_PATH = kds.vcek_url("Milan", CHIP_ID, TCB).removeprefix(kds.SERVICE)
CRL_PATH = kds.crl_url("Milan").removeprefix(kds.SERVICE)
FETCHED = (
    "report.bin: SEV-SNP report, Milan\n"
    "  endorsement certificate: the vendor's publication\n"
    "  revocation list: the vendor's publication\n"
)


class FixedTime(datetime):
    """A datetime whose present is the synthetic vendors'."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # never a FixedTime
        return NOW.astimezone(tz)


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch, intel: Intel) -> Iterator[FakeVendor]:
    chain = AMD.chain
    anchor = replace(AMD.anchor, ark_der=chain.ark_der, ask_der=chain.ask_der)
    roots = TrustRoots(amd={"Milan": anchor}, intel_spki=intel.root_spki)
    monkeypatch.setattr("contrast_tasks.cli.endorsements.datetime", FixedTime)
    monkeypatch.setattr(kds, "amd_anchor", lambda line: anchor)
    monkeypatch.setattr(trust_roots, "bundled_roots", lambda: roots)
    server = FakeVendor()
    server.answers[VCEK_PATH] = Answer(status=200, body=chain.vcek_der)
    server.answers[CRL_PATH] = Answer(status=200, body=chain.crl_der)
    yield server
    server.stop()


@pytest.fixture
def report(terminal: Terminal) -> Path:
    path = terminal.root / "report.bin"
    path.write_bytes(AMD.report().raw)
    return path


def mirror(vendor: FakeVendor, service: str = kds.SERVICE) -> list[str]:
    return ["--mirror", f"{service}={vendor.address}"]


def test_what_a_report_needs_is_fetched_and_kept(
    terminal: Terminal, vendor: FakeVendor, report: Path
) -> None:
    fetched = terminal.run("endorsements", "fetch", report.name, *mirror(vendor))
    kept = terminal.run("endorsements", "fetch", report.name, "--offline")

    assert (fetched.code, fetched.out, fetched.err) == (0, FETCHED, "")
    assert (kept.code, kept.out, kept.err) == (0, FETCHED, "")
    assert vendor.seen == [VCEK_PATH, CRL_PATH]


def test_a_mirror_in_the_settings_serves_as_well(
    terminal: Terminal, vendor: FakeVendor, report: Path
) -> None:
    settings = terminal.root / "contrast.toml"
    table = f'\n[endorsements.mirrors]\n"{kds.SERVICE}" = "{vendor.address}"\n'
    settings.write_text(settings.read_text() + table)

    fetched = terminal.run("endorsements", "fetch", report.name)
    shown = terminal.run("config", "show")

    assert (fetched.code, fetched.out) == (0, FETCHED)
    assert f'endorsements.mirrors."{kds.SERVICE}" = "{vendor.address}"\n' in shown.out


def test_a_proxy_in_the_settings_or_the_environment_is_asked(
    terminal: Terminal, vendor: FakeVendor, report: Path
) -> None:
    for path in (VCEK_PATH, CRL_PATH):
        vendor.answers[f"http://kdsintf.amd.com{path}"] = vendor.answers[path]
    plain = ["--mirror", f"{kds.SERVICE}=http://kdsintf.amd.com"]
    settings = terminal.root / "contrast.toml"
    before = settings.read_text()
    settings.write_text(f'{before}\n[endorsements]\nproxy = "{vendor.address}"\n')

    by_settings = terminal.run("endorsements", "fetch", report.name, *plain)
    settings.write_text(before)
    terminal.patch.setenv("CONTRAST_ENDORSEMENTS_PROXY", vendor.address)
    terminal.patch.setenv("CONTRAST_CACHE_DIR", str(terminal.root / "other"))
    by_environment = terminal.run("endorsements", "fetch", report.name, *plain)

    assert (by_settings.code, by_settings.out) == (0, FETCHED)
    assert (by_environment.code, by_environment.out) == (0, FETCHED)
    assert vendor.seen[0].startswith("http://kdsintf.amd.com/vcek/v1/Milan/")
    assert len(vendor.seen) == 4


def test_what_is_kept_is_shown_with_its_end(
    terminal: Terminal, vendor: FakeVendor, report: Path, tmp_path: Path
) -> None:
    terminal.run("endorsements", "fetch", report.name, *mirror(vendor))

    shown = terminal.run("endorsements", "show")

    first, second = shown.out.splitlines()
    assert shown.code == 0
    assert first.startswith("certificate of a Milan chip, until 2033-05-29T12:00:00Z: ")
    assert first.endswith(f": {kds.vcek_url('Milan', CHIP_ID, TCB)}")
    assert second.startswith("revocation list, until 20")
    assert second.endswith(f": {kds.crl_url('Milan')}")
    assert shown.err == f"2 publications in {tmp_path / 'cache' / 'endorsements'}\n"


def test_what_is_kept_and_of_no_use_is_said_to_be_so(
    terminal: Terminal, vendor: FakeVendor, report: Path, tmp_path: Path
) -> None:
    vendor.answers[CRL_PATH] = Answer(status=200, body=AMD.crl())
    terminal.run("endorsements", "fetch", report.name, *mirror(vendor))
    folder = tmp_path / "cache" / "endorsements"
    (folder / "other.json").write_text("{}")
    for path in folder.glob("*.json"):
        document = json.loads(path.read_bytes())
        if "vcek" in document.get("url", "") and "blSPL" in document["url"]:
            path.write_text(json.dumps({**document, "body": "AAAA"}))

    shown = terminal.run("endorsements", "show", "--output", "json")

    kept = json.loads(shown.out)["result"]["kept"]
    assert [entry["usable"] for entry in kept] == [False, True]
    assert (kept[0]["what"], kept[0]["valid_until"]) == ("publication", "")


def test_what_is_of_no_use_any_more_is_removed_and_nothing_else(
    terminal: Terminal, vendor: FakeVendor, report: Path, tmp_path: Path
) -> None:
    terminal.run("endorsements", "fetch", report.name, *mirror(vendor))
    folder = tmp_path / "cache" / "endorsements"
    good = {path.name for path in folder.iterdir()}
    cache = EndorsementCache(folder)
    cache.put(kds.crl_url("Genoa"), Answer(status=200, body=AMD.crl(age_days=60)))
    cache.put(pcs.tcb_info_url(bytes(6)), Answer(status=200, body=b"[" * 100_000))
    (folder / f"{'0' * 64}.json").write_text("damaged")
    (folder / f"{'1' * 64}.json").mkdir()
    left_over, fresh = (folder / f".{digit * 64}.json.abc" for digit in "23")
    for path, age in ((left_over, 7200), (fresh, 60)):
        path.write_bytes(b"")
        os.utime(path, (NOW.timestamp() - age,) * 2)
    (folder / "notes.json").write_text("{}")

    removed = terminal.run("endorsements", "prune")
    again = terminal.run("endorsements", "prune")

    assert (removed.code, removed.out) == (0, "")
    assert removed.err == f"removed 4 files from {folder}\n"
    assert again.err == f"nothing to remove in {folder}\n"
    assert {path.name for path in folder.iterdir()} == {
        *good,
        fresh.name,
        "notes.json",
        f"{'1' * 64}.json",
    }


def test_an_empty_cache_is_one_line(terminal: Terminal, tmp_path: Path) -> None:
    shown = terminal.run("endorsements", "show")

    assert (shown.code, shown.out) == (0, "")
    assert shown.err == f"0 publications in {tmp_path / 'cache' / 'endorsements'}\n"


def test_offline_and_with_nothing_kept_everything_missing_is_named(
    terminal: Terminal, vendor: FakeVendor, report: Path
) -> None:
    shown = terminal.run("endorsements", "fetch", report.name, "--offline")

    assert shown.code == 41
    assert shown.out == "report.bin: SEV-SNP report, Milan\n"
    assert shown.err == (
        "contrast-tasks: error: not available: endorsement certificate: "
        f"{kds.SERVICE}{VCEK_PATH} is not in the cache, and fetching is off\n"
        f"  revocation list: {kds.SERVICE}{CRL_PATH} is not in the cache, and fetching is off\n"
        "  hint: run 'contrast-tasks endorsements fetch' where there is a network\n"
    )
    assert vendor.seen == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(status=404), "HTTP status 404"),
        (Answer(status=200), "the service sent an empty answer"),
        (Answer(status=200, body=b"<html>"), "sent a web page or JSON, wanted DER"),
        (Answer(status=200, body=FakeAmd(hwid=bytes(63) + b"\1").chain.vcek_der), "wanted 0102"),
    ],
    ids=["status", "nothing", "web page", "another chip"],
)
def test_a_wrong_answer_is_not_kept(
    terminal: Terminal, vendor: FakeVendor, report: Path, answer: Answer, message: str
) -> None:
    vendor.answers[VCEK_PATH] = answer

    shown = terminal.run("endorsements", "fetch", report.name, *mirror(vendor))
    kept = terminal.run("endorsements", "show")

    assert shown.code == 41
    assert "not available: endorsement certificate:" in shown.err
    assert message in shown.err
    assert kept.out.count("\n") == 1


def test_the_document_of_a_coordinator_is_asked_for_by_address(
    terminal: Terminal, vendor: FakeVendor, tmp_path: Path
) -> None:
    processor = SimulatedProcessor.load_or_create(tmp_path / "processor", now=NOW)
    with serve(
        echo,
        listen=("127.0.0.1", 0),
        issuer=processor.issuer(HOST_DATA),
        require_client=None,
        clock=lambda: NOW,
    ) as server:
        shown = terminal.run("endorsements", "fetch", "-c", f"127.0.0.1:{server.port}")

    assert (shown.code, shown.err) == (0, "")
    assert shown.out == (
        f"coordinator 127.0.0.1:{server.port}: document, Simulated\n"
        "  endorsement certificate: the document\n"
        "  revocation list: the document\n"
    )
    assert vendor.seen == []


def serve_collateral(vendor: FakeVendor, intel: Intel) -> None:
    bundle = json.loads(intel.collateral())

    def path(url: str, service: str = pcs.SERVICE) -> str:
        return url.removeprefix(service)

    vendor.answers[path(pcs.tcb_info_url(bytes.fromhex("b0c06f000000")))] = Answer(
        status=200,
        headers={"TCB-Info-Issuer-Chain": quote(bundle["tcb_info_issuer_chain"])},
        body=(
            f'{{"tcbInfo":{bundle["tcb_info"]},"signature":"{bundle["tcb_info_signature"]}"}}'
        ).encode(),
    )
    vendor.answers[path(pcs.QE_IDENTITY_URL)] = Answer(
        status=200,
        headers={"SGX-Enclave-Identity-Issuer-Chain": quote(bundle["qe_identity_issuer_chain"])},
        body=(
            f'{{"enclaveIdentity":{bundle["qe_identity"]},'
            f'"signature":"{bundle["qe_identity_signature"]}"}}'
        ).encode(),
    )
    vendor.answers[path(pcs.pck_crl_url("platform"))] = Answer(
        status=200,
        headers={"SGX-PCK-CRL-Issuer-Chain": quote(bundle["pck_crl_issuer_chain"])},
        body=bytes.fromhex(bundle["pck_crl"]),
    )
    vendor.answers[path(pcs.ROOT_CRL_URL, pcs.CERTIFICATES)] = Answer(
        status=200, body=bytes.fromhex(bundle["root_ca_crl"])
    )


def test_the_four_parts_of_collateral_are_fetched_for_a_quote(
    terminal: Terminal, vendor: FakeVendor, intel: Intel
) -> None:
    serve_collateral(vendor, intel)
    (terminal.root / "quote.bin").write_bytes(intel.quote())
    mirrors = [*mirror(vendor, pcs.SERVICE), *mirror(vendor, pcs.CERTIFICATES)]

    fetched = terminal.run("endorsements", "fetch", "quote.bin", *mirrors)
    kept = terminal.run("endorsements", "show")

    assert (fetched.code, fetched.err) == (0, "")
    assert fetched.out == "quote.bin: TDX quote, TDX\n  collateral: the vendor's publication\n"
    assert [line.split(",")[0] for line in kept.out.splitlines()] == [
        "revocation list",
        "QE identity",
        "TCB info",
        "revocation list",
    ]
    assert len(vendor.seen) == 4


def test_lists_in_hex_are_kept_and_shown_as_lists(
    terminal: Terminal, vendor: FakeVendor, intel: Intel
) -> None:
    serve_collateral(vendor, intel)
    path = pcs.ROOT_CRL_URL.removeprefix(pcs.CERTIFICATES)
    vendor.answers[path] = Answer(status=200, body=vendor.answers[path].body.hex().encode())
    (terminal.root / "quote.bin").write_bytes(intel.quote())
    mirrors = [*mirror(vendor, pcs.SERVICE), *mirror(vendor, pcs.CERTIFICATES)]

    fetched = terminal.run("endorsements", "fetch", "quote.bin", *mirrors)
    shown = terminal.run("endorsements", "show")
    pruned = terminal.run("endorsements", "prune")

    assert (fetched.code, fetched.err) == (0, "")
    assert "not usable" not in shown.out
    assert pruned.err.startswith("nothing to remove")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fetch"], "no evidence was given to fetch endorsements for"),
        (["burn"], "argument action: invalid choice: 'burn'"),
        (["show", "report.bin"], "endorsements show takes no files, coordinator or mirrors"),
        (["prune", "report.bin"], "endorsements prune takes no files, coordinator or mirrors"),
        (["fetch", "no.bin"], "no.bin: error: cannot be read: no such file or directory"),
        (["fetch", "-c", "nowhere"], "coordinator is 'nowhere', wanted HOST:PORT"),
        (["fetch", "report.bin", "--mirror", "https://a"], "wanted PREFIX=REPLACEMENT"),
        (["fetch", "report.bin", "--mirror", "ftp://a=https://b"], "wanted PREFIX=REPLACEMENT"),
    ],
)
def test_a_wrong_command_line_says_what_was_wanted(
    terminal: Terminal, report: Path, words: list[str], message: str
) -> None:
    shown = terminal.run("endorsements", *words)

    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err


def test_a_file_without_evidence_is_refused_by_name(terminal: Terminal) -> None:
    (terminal.root / "thing").write_bytes(b"hello")

    shown = terminal.run("endorsements", "fetch", "thing")

    assert shown.code == 41
    assert "thing: error: 5 bytes in no known form of evidence" in shown.err
