"""Intel's four answers over a loopback server that behaves and misbehaves."""

import base64
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrast_tasks.attestation.endorsements import kds, pcs
from contrast_tasks.attestation.endorsements.fetch import (
    Access,
    EndorsementCache,
    Endorsements,
    EndorsementUnavailable,
)
from contrast_tasks.attestation.errors import CollateralRejected
from contrast_tasks.attestation.tdx.pck import PckChain
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.tdx.verify import verify_genuine
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.files import sha256_hex
from contrast_tasks.web.answers import Answer
from tests.fakes.intel import NOW, Intel, crl
from tests.fakes.vendor import Vendor


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


def test_genuine_tcb_info_of_another_kind_of_platform_is_not_kept(
    online: Endorsements, offline: Endorsements, vendor: Vendor, intel: Intel
) -> None:
    publish(vendor, intel, tcb_info=intel.tcb_info(fmspc="b0c06f000001"))
    chain = verify_genuine(parse_quote(intel.quote()), root_spki=intel.root_spki, now=NOW)

    with pytest.raises(CollateralRejected, match="is for FMSPC b0c06f000001, wanted b0c06f000000"):
        pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)

    publish(vendor, intel)
    good = pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)
    assert pcs.cached_collateral(offline, chain.facts.fmspc, "platform") == good


def test_a_kept_bundle_that_does_not_hold_together_any_more_is_fetched_anew(
    online: Endorsements, cache: EndorsementCache, vendor: Vendor, intel: Intel
) -> None:
    publish(vendor, intel, tcb_info=intel.tcb_info(pceId="0101"))
    chain = verify_genuine(parse_quote(intel.quote()), root_spki=intel.root_spki, now=NOW)
    with pytest.raises(CollateralRejected, match="PCE-ID"):
        pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)
    assert cache.get(pcs.tcb_info_url(chain.facts.fmspc)) is not None
    publish(vendor, intel)

    collateral = pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)

    assert '"pceId":"0101"' not in collateral.tcb_info.replace(" ", "")


def test_the_genuine_list_of_the_other_authority_is_not_kept(
    online: Endorsements, vendor: Vendor, intel: Intel
) -> None:
    publish(vendor, intel)
    paths = ("platform", "processor")
    first, second = (f"/sgx/certification/v4/pckcrl?ca={ca}&encoding=der" for ca in paths)
    vendor.answers[second] = vendor.answers[first]

    with pytest.raises(CollateralRejected, match="wanted the processor CA's"):
        pcs.fetch_parts(
            online, bytes.fromhex("b0c06f000000"), "processor", root_spki=intel.root_spki, now=NOW
        )


def test_lists_in_hex_as_a_caching_service_sends_them_are_the_same(
    online: Endorsements, offline: Endorsements, vendor: Vendor, intel: Intel
) -> None:
    publish(vendor, intel)
    chain = verify_genuine(parse_quote(intel.quote()), root_spki=intel.root_spki, now=NOW)
    plain = pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)
    for path in ("/IntelSGXRootCA.der", "/sgx/certification/v4/pckcrl?ca=platform&encoding=der"):
        (answer,) = vendor.answers[path]
        text = answer.body.hex().upper().encode() + b"\n"
        vendor.answers[path] = [replace(answer, body=text)]

    spelled = pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)

    assert spelled == plain
    assert pcs.cached_collateral(offline, chain.facts.fmspc, "platform") == plain


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


def keep_bundle(online: Endorsements, vendor: Vendor, intel: Intel) -> PckChain:
    """Fetch a good bundle and return its platform."""
    publish(vendor, intel)
    chain = verify_genuine(parse_quote(intel.quote()), root_spki=intel.root_spki, now=NOW)
    pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)
    return chain


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("days", [-10_000, 10_000], ids=["long ago", "far ahead"])
def test_looking_at_another_instant_costs_nothing_of_what_is_kept(
    online: Endorsements,
    offline: Endorsements,
    vendor: Vendor,
    intel: Intel,
    tmp_path: Path,
    days: int,
) -> None:
    chain = keep_bundle(online, vendor, intel)
    before = files_of(tmp_path / "cache")
    then = NOW + timedelta(days=days)

    with pytest.raises(EndorsementUnavailable):
        pcs.fetch_collateral(offline, chain, root_spki=intel.root_spki, now=then)

    assert files_of(tmp_path / "cache") == before


def test_a_platform_that_is_refused_costs_nothing_of_what_is_kept(
    online: Endorsements, offline: Endorsements, vendor: Vendor, intel: Intel, tmp_path: Path
) -> None:
    chain = keep_bundle(online, vendor, intel)
    before = files_of(tmp_path / "cache")
    other = replace(chain, facts=replace(chain.facts, pce_id=b"\1\1"))

    with pytest.raises(CollateralRejected, match="PCE-ID"):
        pcs.fetch_collateral(offline, other, root_spki=intel.root_spki, now=NOW)

    assert files_of(tmp_path / "cache") == before


POISON = {
    "tcb": lambda body: body.replace(b'"pcesvn":13', b'"pcesvn":12'),
    "identity": lambda body: body.replace(b'"isvsvn":', b'"isvsvn": '),
    "pckcrl": lambda body: body[:-1] + bytes((body[-1] ^ 1,)),
    "IntelSGXRootCA": lambda body: body[:-1] + bytes((body[-1] ^ 1,)),
}


@pytest.mark.parametrize("part", POISON)
def test_76_each_poisoned_part_is_dropped_by_itself_and_fetched_anew(
    online: Endorsements, cache: EndorsementCache, vendor: Vendor, intel: Intel, part: str
) -> None:
    chain = keep_bundle(online, vendor, intel)
    good = pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)
    addresses = [
        pcs.tcb_info_url(chain.facts.fmspc),
        pcs.QE_IDENTITY_URL,
        pcs.pck_crl_url("platform"),
        pcs.ROOT_CRL_URL,
    ]
    (url,) = [url for url in addresses if part in url.rpartition("/")[2]]
    kept = cache.get(url)
    assert kept is not None
    poisoned = POISON[part](kept.body)
    assert poisoned != kept.body
    cache.put(url, replace(kept, body=poisoned))
    vendor.seen.clear()

    again = pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)

    assert again == good
    assert cache.get(url) == kept
    # Lists are asked for every time, and besides them only what was poisoned.
    assert len(vendor.seen) == (3 if part in {"tcb", "identity"} else 2)


@pytest.mark.parametrize("part", POISON)
def test_76_a_poisoned_part_offline_is_an_error_that_names_its_address(
    online: Endorsements,
    offline: Endorsements,
    cache: EndorsementCache,
    vendor: Vendor,
    intel: Intel,
    part: str,
) -> None:
    chain = keep_bundle(online, vendor, intel)
    for url in (
        pcs.tcb_info_url(chain.facts.fmspc),
        pcs.QE_IDENTITY_URL,
        pcs.pck_crl_url("platform"),
        pcs.ROOT_CRL_URL,
    ):
        kept = cache.get(url)
        if kept is not None and part in url.rpartition("/")[2]:
            cache.put(url, replace(kept, body=POISON[part](kept.body)))

    with pytest.raises(EndorsementUnavailable, match=f"{part}.* is not in the cache"):
        pcs.fetch_collateral(offline, chain, root_spki=intel.root_spki, now=NOW)


def test_a_revocation_list_that_a_mirror_turns_back_does_not_replace_the_newer_one(
    online: Endorsements, offline: Endorsements, vendor: Vendor, intel: Intel
) -> None:
    chain = keep_bundle(online, vendor, intel)
    older = crl("Intel SGX Root CA", intel.root_key, since=NOW - timedelta(days=20))
    vendor.answers["/IntelSGXRootCA.der"] = [Answer(status=200, body=older)]

    again = pcs.fetch_collateral(online, chain, root_spki=intel.root_spki, now=NOW)

    assert again.root_ca_crl != older
    kept = pcs.cached_collateral(offline, chain.facts.fmspc, "platform")
    assert kept == again


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_any_file_in_the_folder_is_absent_or_refused_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "poison"
    folder.mkdir(exist_ok=True)
    text = st.text(max_size=30) | st.just("-----BEGIN CERTIFICATE-----\ud800")
    chains = ("tcb-info", "sgx-enclave-identity", "sgx-pck-crl")
    fmspc = bytes(6)
    bodies = st.binary(max_size=60) | st.sampled_from(
        [
            b'{"tcbInfo":{},"signature":"' + b"0" * 128 + b'"}',
            b'{"tcbInfo":{"a":' + b"[" * 5000 + b'},"signature":"' + b"0" * 128 + b'"}',
        ]
    )
    for url in (
        pcs.tcb_info_url(fmspc),
        pcs.QE_IDENTITY_URL,
        pcs.pck_crl_url("platform"),
        pcs.ROOT_CRL_URL,
        kds.crl_url("Milan"),
    ):
        headers = {f"{name}-issuer-chain": data.draw(text) for name in chains}
        body = base64.b64encode(data.draw(bodies)).decode()
        content = json.dumps({"url": url, "headers": headers, "body": body})
        (folder / f"{sha256_hex(url.encode())}.json").write_text(content)
    offline = Endorsements(
        EndorsementCache(folder), Access(get=None, sleep=lambda _: None, monotonic=lambda: 0.0)
    )

    assert pcs.cached_collateral(offline, fmspc, "platform") is None
    assert kds.cached_crl(offline, "Milan", now=NOW) is None
    with pytest.raises(EndorsementUnavailable):
        pcs.fetch_parts(offline, fmspc, "platform", root_spki=bytes(91), now=NOW)
