"""Collateral as an attacker or a careless mirror would serve it: nothing but what Intel signed, whole and once, counts."""

import json
from typing import Any

import pytest
from cryptography import x509

from contrast_tasks.attestation.errors import CollateralRejected
from contrast_tasks.attestation.tdx.collateral import (
    Collateral,
    VerifiedCollateral,
    parse_collateral,
    verify_collateral,
)
from contrast_tasks.attestation.tdx.pck import verify_pck_chain
from tests.fakes.intel import COMPLETE, INCOMPLETE, NOW, Intel, crl, pem, raw_signature

INTEL = Intel()


def verify(content: bytes) -> VerifiedCollateral:
    chain = verify_pck_chain(
        pem(INTEL.pck, INTEL.ca, INTEL.root), root_spki=INTEL.root_spki, now=NOW
    )
    bundle = parse_collateral(content)
    return verify_collateral(bundle, chain=chain, root_spki=INTEL.root_spki, now=NOW)


def lists(which: str, extension: tuple[x509.ExtensionType, bool]) -> bytes:
    issuer, key = (
        (INTEL.ca_name, INTEL.ca_key)
        if which == "pck_crl"
        else ("Intel SGX Root CA", INTEL.root_key)
    )
    return INTEL.collateral(**{which: crl(issuer, key, extensions=[extension]).hex()})


def signed(member: str, text: str, *, over: str | None = None) -> bytes:
    """Return a bundle whose inner object is exactly `text`, with a good signature over it or over another text."""
    bundle = json.loads(INTEL.collateral())
    bundle[member] = text
    content = (text if over is None else over).encode()
    bundle[f"{member}_signature"] = raw_signature(INTEL.signer_key, content).hex()
    return json.dumps(bundle).encode()


@pytest.mark.parametrize("extension", INCOMPLETE.values(), ids=INCOMPLETE)
@pytest.mark.parametrize("which", ["pck_crl", "root_ca_crl"])
def test_a_list_that_may_leave_certificates_out_is_refused(
    which: str, extension: tuple[x509.ExtensionType, bool]
) -> None:
    with pytest.raises(CollateralRejected, match="is a partial revocation list, by its extension"):
        verify(lists(which, extension))


@pytest.mark.parametrize("extension", COMPLETE.values(), ids=COMPLETE)
@pytest.mark.parametrize("which", ["pck_crl", "root_ca_crl"])
def test_a_list_of_every_certificate_is_accepted(
    which: str, extension: tuple[x509.ExtensionType, bool]
) -> None:
    assert verify(lists(which, extension))


def test_a_list_of_another_authority_of_the_same_name_is_refused() -> None:
    other = Intel(root_key=INTEL.root_key)
    bundle = INTEL.collateral(
        pck_crl_issuer_chain=pem(other.ca, INTEL.root).decode(),
        pck_crl=crl(other.ca_name, other.ca_key).hex(),
    )

    with pytest.raises(CollateralRejected, match="from two keys named 'Intel SGX PCK Platform CA'"):
        verify(bundle)


@pytest.mark.parametrize("change", [lambda one: one[:-1], lambda one: one + b"\0"])
def test_a_list_with_a_byte_too_few_or_too_many_is_refused(change: Any) -> None:
    content = change(crl(INTEL.ca_name, INTEL.ca_key))

    with pytest.raises(CollateralRejected, match="PCK CRL is not a der revocation list"):
        verify(INTEL.collateral(pck_crl=content.hex()))


def test_members_that_end_as_c_strings_do_are_read_without_their_end() -> None:
    bundle = {name: f"{text}\0" for name, text in json.loads(INTEL.collateral()).items()}

    assert verify(json.dumps(bundle).encode())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "found null, wanted a string"),
        ("", "empty"),
        ("\0", "empty"),
        ({"id": "TDX"}, "found an object, wanted a string"),
        (["x"], "found a list, wanted a string"),
        (7, "found an integer, wanted a string"),
    ],
)
@pytest.mark.parametrize("name", Collateral.__dataclass_fields__)
def test_a_member_that_is_no_text_is_refused(name: str, value: Any, message: str) -> None:
    bundle = {**json.loads(INTEL.collateral()), name: value}

    with pytest.raises(CollateralRejected, match=message) as caught:
        parse_collateral(json.dumps(bundle).encode())

    assert name in str(caught.value)


@pytest.mark.parametrize("name", Collateral.__dataclass_fields__)
def test_half_a_surrogate_pair_in_a_member_is_refused(name: str) -> None:
    bundle = json.loads(INTEL.collateral())
    bundle[name] += "\ud800"

    with pytest.raises(CollateralRejected, match=r"collateral: .* holds an unpaired surrogate"):
        parse_collateral(json.dumps(bundle).encode())


@pytest.mark.parametrize(
    ("plain", "twice"),
    [
        pytest.param('"tcbStatus":"UpToDate"', '"tcbStatus":"Revoked","tcbStatus":"UpToDate"', id="status"),
        pytest.param('"fmspc":', '"fmspc":"000000000000","fmspc":', id="fmspc"),
        pytest.param('{"svn":3}', '{"svn":9,"svn":3}', id="component"),
        pytest.param('"tcbLevels":', '"tcbLevels":[],"tcbLevels":', id="levels"),
    ],
)  # fmt: skip
def test_a_member_that_comes_twice_in_signed_tcb_info_is_refused(plain: str, twice: str) -> None:
    text = json.dumps(INTEL.tcb_info(), separators=(",", ":"))
    assert plain in text

    with pytest.raises(CollateralRejected, match=r"TCB info: .*member .* occurs twice"):
        verify(signed("tcb_info", text.replace(plain, twice, 1)))


def test_a_member_that_comes_twice_in_a_signed_identity_is_refused() -> None:
    text = json.dumps(INTEL.qe_identity()).replace('"isvprodid"', '"isvprodid": 1, "isvprodid"')

    with pytest.raises(CollateralRejected, match=r"QE identity: .*member .* occurs twice"):
        verify(signed("qe_identity", text))


def test_a_member_that_comes_twice_in_the_bundle_is_refused() -> None:
    twice = INTEL.collateral().replace(b"{", b'{"tcb_info": "other", ', 1)

    with pytest.raises(CollateralRejected, match=r"collateral: .*member .* occurs twice"):
        parse_collateral(twice)


def test_a_nested_object_of_the_same_name_is_not_taken_for_the_signed_one() -> None:
    inner = json.dumps(INTEL.tcb_info(), separators=(",", ":"))
    outer = json.dumps({"tcbInfo": json.loads(inner)}, separators=(",", ":"))

    with pytest.raises(CollateralRejected, match="TCB info: /id: missing"):
        verify(signed("tcb_info", outer))
    with pytest.raises(CollateralRejected, match="does not verify over the text as received"):
        verify(signed("tcb_info", outer, over=inner))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"issueDate": "2026-6-1T0:0:0Z"}, "not a UTC time", id="short time"),
        pytest.param({"issueDate": "2026-05-31T00:00:00+02:00"}, "not a UTC time", id="other zone"),
        pytest.param({"nextUpdate": "2026-13-01T00:00:00Z"}, "not a UTC time", id="month 13"),
        pytest.param({"nextUpdate": None}, "nextUpdate: found null, wanted a string", id="no time"),
        pytest.param({"fmspc": "b0c06f0000"}, "fmspc: found 5 bytes, wanted 6", id="short fmspc"),
        pytest.param({"fmspc": "b0 c06f000000"}, "bytes, wanted 6", id="hex with a space"),
        pytest.param({"fmspc": "\u0660" * 12}, "not hex", id="digits of another script"),
        pytest.param({"tcbEvaluationDataNumber": 18.0}, "found a fraction, wanted an integer", id="fraction"),
        pytest.param({"tcbEvaluationDataNumber": True}, "found true or false, wanted an integer", id="boolean"),
        pytest.param({"tcbEvaluationDataNumber": -1}, "found -1, wanted 0 to 4294967295", id="negative"),
        pytest.param({"tcbType": 1}, "tcbType: found 1, wanted 0", id="levels compared in another way"),
        pytest.param({"tcbType": False}, "tcbType: found true or false, wanted an integer", id="type in a boolean"),
        pytest.param({"tcbEvaluationDataNumber": float("inf")}, "Infinity is not a JSON number", id="infinity"),
        pytest.param({"tcbLevels": {}}, "tcbLevels: found an object, wanted a list", id="levels in an object"),
        pytest.param({"tcbLevels": [1]}, "tcbLevels/0: found an integer, wanted an object", id="level of another type"),
        pytest.param({"tdxModuleIdentities": None}, "tdxModuleIdentities: found null, wanted a list", id="no module identities"),
    ],
)  # fmt: skip
def test_signed_tcb_info_in_another_form_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CollateralRejected, match=message):
        verify(INTEL.collateral(tcb_info=INTEL.tcb_info(**changes)))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        pytest.param(("tcb", "sgxtcbcomponents", 3, "svn"), 256, "sgxtcbcomponents/3/svn: found 256, wanted 0 to 255", id="above a byte"),
        pytest.param(("tcb", "sgxtcbcomponents", 3, "svn"), -1, "sgxtcbcomponents/3/svn: found -1, wanted 0 to 255", id="negative"),
        pytest.param(("tcb", "sgxtcbcomponents", 3, "svn"), "3", "sgxtcbcomponents/3/svn: found a string, wanted an integer", id="text"),
        pytest.param(("tcb", "sgxtcbcomponents", 3, "svn"), True, "sgxtcbcomponents/3/svn: found true or false, wanted an integer", id="boolean"),
        pytest.param(("tcb", "sgxtcbcomponents", 3, "svn"), 3.0, "sgxtcbcomponents/3/svn: found a fraction, wanted an integer", id="fraction"),
        pytest.param(("tcb", "tdxtcbcomponents", 3), {}, "tdxtcbcomponents/3/svn: missing"),
        pytest.param(("tcb", "tdxtcbcomponents", 3), 3, "tdxtcbcomponents/3: found an integer, wanted an object", id="no object"),
        pytest.param(("tcb", "tdxtcbcomponents"), [{"svn": 0}] * 15, "15 entries", id="15"),
        pytest.param(("tcb", "pcesvn"), 65536, "pcesvn: found 65536, wanted 0 to 65535", id="PCE SVN above 16 bits"),
        pytest.param(("advisoryIDs",), 7, "advisoryIDs: found an integer, wanted a list", id="advisories in a number"),
        pytest.param(("advisoryIDs",), "INTEL-SA-1", "advisoryIDs: found a string, wanted a list", id="in a string"),
        pytest.param(("advisoryIDs",), [7], "advisoryIDs/0: found an integer, wanted a string", id="advisory of a number"),
    ],
)  # fmt: skip
def test_a_signed_level_in_another_form_is_refused(
    path: tuple[Any, ...], value: Any, message: str
) -> None:
    info = INTEL.tcb_info()
    holder = info["tcbLevels"][0]
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value

    with pytest.raises(CollateralRejected, match=message):
        verify(INTEL.collateral(tcb_info=info))
