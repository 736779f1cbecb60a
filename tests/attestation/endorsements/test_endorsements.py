"""Endorsements over a loopback server that behaves and misbehaves."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from contrast_tasks.attestation.endorsements import kds, pcs
from contrast_tasks.attestation.endorsements.fetch import (
    Access,
    Answer,
    EndorsementCache,
    Endorsements,
    EndorsementUnavailable,
    FetchFailed,
    Freshness,
)
from contrast_tasks.attestation.errors import CollateralRejected
from contrast_tasks.attestation.snp.report import parse_report
from contrast_tasks.attestation.snp.tcb import Tcb, parse_tcb
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.tdx.verify import verify_genuine
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.stages.endorsements import http_get
from tests.fakes.attestation import DATA as VECTORS
from tests.fakes.intel import NOW, Intel, crl

DATA = VECTORS / "snp"
real_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="test data of real hardware is not at hand"
)


class Vendor:
    """A server that answers each path from a queue; the last answer of a queue stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.seen: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.seen.append(self.path)
                queue = outer.answers.get(self.path, [Answer(status=404)])
                answer = queue.pop(0) if len(queue) > 1 else queue[0]
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                declared = answer.headers.get("content-length")
                if declared is None:
                    self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    server = Vendor()
    yield server
    server.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path) -> EndorsementCache:
    return EndorsementCache(tmp_path / "cache")


@pytest.fixture
def online(vendor: Vendor, clock: Clock, cache: EndorsementCache) -> Endorsements:
    mirrors = {
        kds.SERVICE: vendor.address,
        pcs.SERVICE: vendor.address,
        pcs.CERTIFICATES: vendor.address,
    }
    access = Access(get=http_get, sleep=clock.sleep, monotonic=lambda: clock.now_s, mirrors=mirrors)
    return Endorsements(cache, access)


@pytest.fixture
def offline(clock: Clock, cache: EndorsementCache) -> Endorsements:
    return Endorsements(cache, Access(get=None, sleep=clock.sleep, monotonic=lambda: clock.now_s))


URL = f"{kds.SERVICE}/thing"


def text_of(answer: Answer) -> str:
    if answer.body != b"good":
        raise EvidenceRejected("not good")
    return answer.body.decode()


def test_an_answer_is_fetched_once_and_then_kept(online: Endorsements, vendor: Vendor) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good")]

    first = online.fetch(URL, text_of, Freshness.CACHE_FIRST)
    second = online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert (first, second) == ("good", "good")
    assert vendor.seen == ["/thing"]


def test_a_revocation_list_is_asked_for_every_time(online: Endorsements, vendor: Vendor) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good")]

    online.fetch(URL, text_of, Freshness.NETWORK_FIRST)
    online.fetch(URL, text_of, Freshness.NETWORK_FIRST)

    assert vendor.seen == ["/thing", "/thing"]


def test_the_copy_serves_while_the_vendor_does_not_answer(
    online: Endorsements, vendor: Vendor
) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good"), Answer(status=503)]

    online.fetch(URL, text_of, Freshness.NETWORK_FIRST)

    assert online.fetch(URL, text_of, Freshness.NETWORK_FIRST) == "good"


def test_a_rate_limit_is_obeyed_for_as_long_as_it_says(
    online: Endorsements, vendor: Vendor, clock: Clock
) -> None:
    vendor.answers["/thing"] = [
        Answer(status=429, headers={"Retry-After": "7"}),
        Answer(status=429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        Answer(status=200, body=b"good"),
    ]

    assert online.fetch(URL, text_of, Freshness.CACHE_FIRST) == "good"
    assert clock.slept == [7.0, 2.0]


def test_a_rate_limit_beyond_the_budget_ends_at_once(
    online: Endorsements, vendor: Vendor, clock: Clock
) -> None:
    vendor.answers["/thing"] = [Answer(status=429, headers={"Retry-After": "3600"})]

    with pytest.raises(EndorsementUnavailable, match="HTTP status 429; gave up"):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert clock.slept == []


def test_a_failing_service_is_retried_with_growing_pauses_within_the_budget(
    online: Endorsements, vendor: Vendor, clock: Clock
) -> None:
    vendor.answers["/thing"] = [Answer(status=500)]

    with pytest.raises(EndorsementUnavailable, match="gave up after 120 s"):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert clock.slept == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404])
def test_other_answers_are_final_and_redirects_are_not_followed(
    online: Endorsements, vendor: Vendor, clock: Clock, status: int
) -> None:
    vendor.answers["/thing"] = [Answer(status=status, headers={"Location": "/elsewhere"})]

    with pytest.raises(EndorsementUnavailable, match=f"HTTP status {status}"):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert vendor.seen == ["/thing"]
    assert clock.slept == []


def test_a_wrong_answer_is_refused_and_not_kept(
    online: Endorsements, offline: Endorsements, vendor: Vendor
) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"bad")]

    with pytest.raises(EvidenceRejected, match="not good"):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert offline.cached(URL, text_of) is None


def test_a_truncated_answer_is_retried(online: Endorsements, vendor: Vendor) -> None:
    vendor.answers["/thing"] = [
        Answer(status=200, body=b"go", headers={"content-length": "4"}),
        Answer(status=200, body=b"good"),
    ]

    assert online.fetch(URL, text_of, Freshness.CACHE_FIRST) == "good"


def test_an_endless_answer_is_refused(online: Endorsements, vendor: Vendor) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=bytes(5 * 1024 * 1024))]

    with pytest.raises(EndorsementUnavailable, match="more than 4 MiB"):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)


def test_a_service_that_does_not_answer_is_retried_and_named(
    cache: EndorsementCache, clock: Clock
) -> None:
    def get(_: str, timeout_s: float) -> Answer:
        clock.now_s += timeout_s
        raise FetchFailed("ReadTimeout")

    slow = Endorsements(cache, Access(get=get, sleep=clock.sleep, monotonic=lambda: clock.now_s))

    with pytest.raises(EndorsementUnavailable, match="ReadTimeout"):
        slow.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert clock.now_s < 180


def test_offline_serves_what_is_at_hand_and_names_what_is_not(
    online: Endorsements, offline: Endorsements, vendor: Vendor
) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good")]
    online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert offline.fetch(URL, text_of, Freshness.NETWORK_FIRST) == "good"
    with pytest.raises(EndorsementUnavailable, match="not in the cache, and fetching is off"):
        offline.fetch(f"{URL}/other", text_of, Freshness.CACHE_FIRST)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="half a file"),
        pytest.param(b"[]", id="other JSON"),
        pytest.param(b'{"url": "elsewhere", "headers": {}, "body": ""}', id="another address"),
        pytest.param(b'{"headers": [], "body": 1}', id="other types"),
    ],
)
def test_a_damaged_copy_counts_as_absent(
    online: Endorsements, vendor: Vendor, tmp_path: Path, content: bytes
) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good")]
    online.fetch(URL, text_of, Freshness.CACHE_FIRST)
    (copy,) = (tmp_path / "cache").iterdir()
    copy.write_bytes(content)

    assert online.fetch(URL, text_of, Freshness.CACHE_FIRST) == "good"
    assert vendor.seen == ["/thing", "/thing"]


def test_a_poisoned_copy_fails_the_check_and_is_dropped(
    online: Endorsements, cache: EndorsementCache, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.answers["/thing"] = [Answer(status=200, body=b"good")]
    cache.put(URL, Answer(status=200, body=b"poison"))

    assert online.cached(URL, text_of) is None
    assert list((tmp_path / "cache").iterdir()) == []
    assert online.fetch(URL, text_of, Freshness.CACHE_FIRST) == "good"


MILAN_NOW = datetime(2023, 1, 1, tzinfo=UTC)


def milan() -> tuple[bytes, bytes, Tcb]:
    report = parse_report((DATA / "milan-v2-a.report.bin").read_bytes())
    certificate = (DATA / "milan-v2-a.vcek.der").read_bytes()
    return certificate, report.chip_id, parse_tcb(report.reported_tcb, turin=False)


def path_of(chip_id: bytes, tcb: Tcb) -> str:
    return kds.vcek_url("Milan", chip_id, tcb).removeprefix(kds.SERVICE)


@real_data
def test_amds_certificate_is_fetched_for_chip_and_tcb(
    online: Endorsements, offline: Endorsements, vendor: Vendor
) -> None:
    certificate, chip_id, tcb = milan()
    vendor.answers[path_of(chip_id, tcb)] = [Answer(status=200, body=certificate)]

    fetched = kds.fetch_vcek(online, "Milan", chip_id, tcb, now=MILAN_NOW)

    assert fetched == certificate
    assert kds.cached_vcek(offline, "Milan", chip_id, tcb, now=MILAN_NOW) == certificate
    assert vendor.seen[0].endswith(f"{chip_id.hex()}?blSPL=2&teeSPL=0&snpSPL=5&ucodeSPL=68")


@real_data
@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "answered with nothing", id="empty"),
        pytest.param(b"<html>", "web page", id="web page"),
        pytest.param(b"\x30\x03\x02\x01\x00", "certificate", id="other DER"),
    ],
)
def test_45_what_is_no_certificate_is_refused(
    online: Endorsements, vendor: Vendor, body: bytes, message: str
) -> None:
    _, chip_id, tcb = milan()
    vendor.answers[path_of(chip_id, tcb)] = [Answer(status=200, body=body)]

    with pytest.raises(EvidenceRejected, match=message):
        kds.fetch_vcek(online, "Milan", chip_id, tcb, now=MILAN_NOW)


@real_data
def test_45_the_certificate_of_another_chip_or_tcb_is_refused(
    online: Endorsements, vendor: Vendor
) -> None:
    certificate, chip_id, tcb = milan()
    other_chip = bytes(63) + b"\1"
    other_tcb = Tcb(bootloader=2, tee=0, snp=5, microcode=69)
    for chip, level in ((other_chip, tcb), (chip_id, other_tcb)):
        vendor.answers[path_of(chip, level)] = [Answer(status=200, body=certificate)]

    with pytest.raises(EvidenceRejected, match="certificate of chip"):
        kds.fetch_vcek(online, "Milan", other_chip, tcb, now=MILAN_NOW)
    with pytest.raises(EvidenceRejected, match="certificate for bootloader 2"):
        kds.fetch_vcek(online, "Milan", chip_id, other_tcb, now=MILAN_NOW)


@real_data
def test_45_the_certificate_of_another_product_line_is_refused(
    online: Endorsements, vendor: Vendor
) -> None:
    certificate, chip_id, tcb = milan()
    path = kds.vcek_url("Genoa", chip_id, tcb).removeprefix(kds.SERVICE)
    vendor.answers[path] = [Answer(status=200, body=certificate)]

    with pytest.raises(EvidenceRejected):
        kds.fetch_vcek(online, "Genoa", chip_id, tcb, now=MILAN_NOW)


@real_data
def test_45_a_rate_limit_without_a_copy_is_an_error(online: Endorsements, vendor: Vendor) -> None:
    _, chip_id, tcb = milan()
    vendor.answers[path_of(chip_id, tcb)] = [Answer(status=429)]

    with pytest.raises(EndorsementUnavailable, match="429"):
        kds.fetch_vcek(online, "Milan", chip_id, tcb, now=MILAN_NOW)


@real_data
def test_an_expired_certificate_is_refused(online: Endorsements, vendor: Vendor) -> None:
    certificate, chip_id, tcb = milan()
    vendor.answers[path_of(chip_id, tcb)] = [Answer(status=200, body=certificate)]

    with pytest.raises(EvidenceRejected):
        kds.fetch_vcek(online, "Milan", chip_id, tcb, now=datetime(2040, 1, 1, tzinfo=UTC))


def test_a_chip_that_hides_its_id_cannot_be_asked_about(online: Endorsements) -> None:
    with pytest.raises(EvidenceRejected, match="masked"):
        kds.fetch_vcek(
            online, "Milan", bytes(64), Tcb(bootloader=0, tee=0, snp=0, microcode=0), now=NOW
        )


def test_turin_is_asked_about_by_eight_bytes_and_five_levels() -> None:
    tcb = Tcb(fmc=1, bootloader=2, tee=3, snp=4, microcode=5)

    url = kds.vcek_url("Turin", bytes(range(1, 65)), tcb)

    assert url == (
        f"{kds.SERVICE}/vcek/v1/Turin/0102030405060708?fmcSPL=1&blSPL=2&teeSPL=3&snpSPL=4&ucodeSPL=5"
    )


def test_a_revocation_list_of_somebody_else_is_refused(
    online: Endorsements, vendor: Vendor
) -> None:
    forged = crl("ARK-Milan", Intel().root_key)
    vendor.answers["/vcek/v1/Milan/crl"] = [Answer(status=200, body=forged)]

    with pytest.raises(EvidenceRejected):
        kds.fetch_crl(online, "Milan", now=NOW)


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


def publish(vendor: Vendor, intel: Intel, **members: str) -> None:
    bundle = json.loads(intel.collateral(**members))
    chain = {
        name: quote(bundle[f"{name}_issuer_chain"])
        for name in ("tcb_info", "qe_identity", "pck_crl")
    }
    tcb = f'{{"tcbInfo":{bundle["tcb_info"]},"signature":"{bundle["tcb_info_signature"]}"}}'
    qe = f'{{"enclaveIdentity":{bundle["qe_identity"]},"signature":"{bundle["qe_identity_signature"]}"}}'
    vendor.answers.update(
        {
            "/tdx/certification/v4/tcb?fmspc=b0c06f000000": [
                Answer(
                    status=200,
                    headers={"TCB-Info-Issuer-Chain": chain["tcb_info"]},
                    body=tcb.encode(),
                )
            ],
            "/tdx/certification/v4/qe/identity": [
                Answer(
                    status=200,
                    headers={"SGX-Enclave-Identity-Issuer-Chain": chain["qe_identity"]},
                    body=qe.encode(),
                )
            ],
            "/sgx/certification/v4/pckcrl?ca=platform&encoding=der": [
                Answer(
                    status=200,
                    headers={"SGX-PCK-CRL-Issuer-Chain": chain["pck_crl"]},
                    body=bytes.fromhex(bundle["pck_crl"]),
                )
            ],
            "/IntelSGXRootCA.der": [Answer(status=200, body=bytes.fromhex(bundle["root_ca_crl"]))],
        }
    )


def test_intels_four_answers_make_a_verified_bundle_that_serves_offline(
    online: Endorsements, offline: Endorsements, vendor: Vendor, intel: Intel
) -> None:
    publish(vendor, intel)
    chain = verify_genuine(parse_quote(intel.quote()), root_spki=intel.root_spki, now=NOW)

    collateral = pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)

    assert pcs.cached_collateral(offline, chain.facts.fmspc, "platform") == collateral
    assert pcs.cached_collateral(offline, bytes(6), "platform") is None


def test_expired_tcb_info_at_hand_is_fetched_anew(
    online: Endorsements, vendor: Vendor, intel: Intel
) -> None:
    chain = verify_genuine(parse_quote(intel.quote()), root_spki=intel.root_spki, now=NOW)
    old = intel.tcb_info(issueDate="2026-04-01T00:00:00Z", nextUpdate="2026-05-01T00:00:00Z")
    publish(vendor, intel, tcb_info=old)
    with pytest.raises(CollateralRejected):
        pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)
    publish(vendor, intel)

    collateral = pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)

    assert '"2026-05-01T00:00:00Z"' not in collateral.tcb_info


def test_76_a_bundle_poisoned_on_disk_is_dropped_and_fetched_anew(
    online: Endorsements, cache: EndorsementCache, vendor: Vendor, intel: Intel
) -> None:
    chain = verify_genuine(parse_quote(intel.quote()), root_spki=intel.root_spki, now=NOW)
    publish(vendor, intel)
    good = pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)
    url = pcs.tcb_info_url(chain.facts.fmspc)
    kept = cache.get(url)
    assert kept is not None
    cache.put(
        url,
        Answer(
            status=200, headers=kept.headers, body=kept.body.replace(b'"pcesvn":13', b'"pcesvn":12')
        ),
    )

    again = pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)

    assert again.tcb_info == good.tcb_info


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/tdx/certification/v4/qe/identity", Answer(status=200, body=b"<html>")),
        ("/tdx/certification/v4/qe/identity", Answer(status=200, body=b"{}")),
        ("/IntelSGXRootCA.der", Answer(status=200, body=b"<html>")),
        ("/sgx/certification/v4/pckcrl?ca=platform&encoding=der", Answer(status=200, body=b"")),
    ],
)
def test_answers_that_are_not_what_intel_sends_are_refused(
    online: Endorsements, vendor: Vendor, intel: Intel, path: str, answer: Answer
) -> None:
    publish(vendor, intel)
    vendor.answers[path] = [answer]
    chain = verify_genuine(parse_quote(intel.quote()), root_spki=intel.root_spki, now=NOW)

    with pytest.raises(EvidenceRejected):
        pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)


def test_the_budget_is_over_time_that_passes_not_over_attempts(
    online: Endorsements, vendor: Vendor, clock: Clock
) -> None:
    vendor.answers["/thing"] = [Answer(status=500)]
    clock.now_s = timedelta(days=30).total_seconds()

    with pytest.raises(EndorsementUnavailable):
        online.fetch(URL, text_of, Freshness.CACHE_FIRST)

    assert sum(clock.slept) <= 120
