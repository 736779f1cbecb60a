from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.attestation.endorsements.kds import crl_url
from contrast_tasks.attestation.errors import EndorsementRejected, MalformedEvidence
from contrast_tasks.attestation.issuers.simulated_chain import (
    amd_name,
    ca_certificate,
    vcek_extensions,
)
from contrast_tasks.attestation.pki import der
from contrast_tasks.attestation.pki.certificate import parse_certificate
from contrast_tasks.attestation.snp.endorsement import (
    TrustAnchor,
    parse_endorsement,
    verify_chain,
)
from contrast_tasks.attestation.snp.lines import LINES, amd_anchor, line_of_model
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.errors import UsageError
from tests.fakes.attestation import CHIP_ID, NOW, TCB, FakeAmd, rsa_key
from tests.fakes.testdata import ATTESTATION

AMD = FakeAmd()


def extensions(**changes: bytes | None) -> dict[str, bytes]:
    """Return a good VCEK's extensions; `_3_1=` replaces .3.1, None leaves one out."""
    values: dict[str, bytes | None] = dict(vcek_extensions("Milan-B0", TCB, CHIP_ID))
    values.update({name.strip("_").replace("_", "."): value for name, value in changes.items()})
    return {suffix: value for suffix, value in values.items() if value is not None}


def verify(vcek: bytes, **changes: bytes) -> None:
    chain = AMD.chain
    given_chain = {"ica_der": chain.ask_der, "ark_der": chain.ark_der, **changes}
    verify_chain(parse_endorsement(vcek), AMD.anchor, now=NOW, **given_chain)


def test_a_good_certificate_is_read_whole() -> None:
    endorsement = parse_endorsement(AMD.vcek())

    assert endorsement.kind == "vcek"
    assert endorsement.product == "Milan-B0"
    assert endorsement.line == "Milan"
    assert endorsement.tcb == TCB
    assert endorsement.hwid == CHIP_ID
    assert endorsement.certificate.serial == 0
    verify(AMD.vcek())


@pytest.mark.parametrize("wrapped", [False, True], ids=["raw", "octet string"])
@pytest.mark.parametrize("size", [64, 8])
def test_a_hardware_id_may_be_wrapped_and_may_have_8_bytes(size: int, wrapped: bool) -> None:
    hwid = CHIP_ID[:size]
    value = der.encode(der.OCTET_STRING, hwid) if wrapped else hwid

    assert parse_endorsement(AMD.vcek(extensions=extensions(_4=value))).hwid == hwid


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"_4": bytes(63)}, "hardware id of 63 bytes", id="hwid of 63 bytes"),
        pytest.param({"_4": bytes(65)}, "hardware id of 65 bytes", id="hwid of 65 bytes"),
        pytest.param({"_4": b"\x05\x40" + bytes(64)}, "tag", id="hwid wrapped in another type"),
        pytest.param({"_4": None}, "must have a hardware id", id="vcek without hwid"),
        pytest.param({"_5": b"\x16\x01x"}, "no provider id", id="vcek with provider id"),
        pytest.param({"_1": None}, "lacks the extension", id="no structure version"),
        pytest.param({"_2": None}, "lacks the extension", id="no product"),
        pytest.param({"_3_1": None}, "lacks the extension", id="no boot loader level"),
        pytest.param({"_3_2": None}, "lacks the extension", id="no tee level"),
        pytest.param({"_3_3": None}, "lacks the extension", id="no snp level"),
        pytest.param({"_3_8": None}, "lacks the extension", id="no microcode level"),
        pytest.param({"_3_8": b"\x02\x02\x01\x00"}, "patch level 256", id="level above a byte"),
        pytest.param({"_3_8": b"\x02\x01\x05\x00"}, "trailing", id="level with a trailing byte"),
        pytest.param({"_3_1": b"\x02\x01\xff"}, "negative", id="negative level"),
        pytest.param({"_3_4": b"\x02\x01\x01"}, "reserved patch level", id="reserved level set"),
        pytest.param({"_6": b"\x02\x01\x01"}, "unknown extension", id="unknown extension"),
        pytest.param({"_2": b"\x0c\x05Milan"}, "tag", id="product in another string type"),
    ],
)
def test_a_certificate_that_amd_would_not_issue_is_refused(
    changes: dict[str, bytes | None], message: str
) -> None:
    with pytest.raises(MalformedEvidence, match=message):
        parse_endorsement(AMD.vcek(extensions=extensions(**changes)))


def test_a_level_above_127_has_two_bytes_and_is_read() -> None:
    vcek = AMD.vcek(extensions=extensions(_3_8=b"\x02\x02\x00\xd9"))

    assert parse_endorsement(vcek).tcb.microcode == 0xD9


def test_an_extension_that_comes_twice_is_refused() -> None:
    tbs_and_rest = AMD.vcek(extensions=extensions(_3_4=b"\x02\x01\x00"))
    twice = tbs_and_rest.replace(
        bytes.fromhex("2b060104019c78010304"), bytes.fromhex("2b060104019c78010303")
    )

    with pytest.raises(MalformedEvidence, match="twice"):
        parse_endorsement(twice)


def test_an_extension_with_an_endless_name_is_refused() -> None:
    genuine = der.only(AMD.vcek(), der.SEQUENCE)
    tbs, algorithm, signature = der.elements(genuine.content)
    *members, wrapper = der.elements(tbs.content)
    listing = der.only(wrapper.content, der.SEQUENCE).content
    endless = der.encode(der.OID, b"\x2b" + b"\x81" * 3000 + b"\x01")
    listing += der.encode(der.SEQUENCE, endless, der.encode(der.OCTET_STRING, b""))
    wrapped = der.encode(wrapper.tag, der.encode(der.SEQUENCE, listing))
    changed = der.encode(der.SEQUENCE, *(one.encoded for one in members), wrapped)

    with pytest.raises(MalformedEvidence, match="object identifier of 3002 bytes"):
        parse_endorsement(der.encode(der.SEQUENCE, changed, algorithm.encoded, signature.encoded))


def test_a_vlek_has_a_provider_and_no_chip() -> None:
    values = extensions(_4=None, _5=der.encode(der.IA5_STRING, b"CN=cloud.example"))

    endorsement = parse_endorsement(AMD.vcek(extensions=values, common_name="SEV-VLEK"))

    assert endorsement.kind == "vlek"
    assert endorsement.csp_id == "CN=cloud.example"


def test_a_vlek_with_a_hardware_id_is_refused() -> None:
    values = extensions(_5=der.encode(der.IA5_STRING, b"x"))

    with pytest.raises(MalformedEvidence, match="no hardware id"):
        parse_endorsement(AMD.vcek(extensions=values, common_name="SEV-VLEK"))


def test_a_certificate_of_another_name_is_refused() -> None:
    with pytest.raises(MalformedEvidence, match="named VCEK, wanted SEV-VCEK"):
        parse_endorsement(AMD.vcek(common_name="VCEK"))


def test_an_endorsement_key_on_another_curve_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    with pytest.raises(MalformedEvidence, match="key"):
        parse_endorsement(AMD.vcek(key=key))


def test_an_rsa_endorsement_key_is_refused() -> None:
    with pytest.raises(MalformedEvidence, match="not p-384"):
        parse_endorsement(AMD.vcek(key=rsa_key("genuine-ask")))


def test_a_certificate_signed_by_another_key_is_refused() -> None:
    with pytest.raises(EndorsementRejected, match="SEV-VCEK is not signed by SEV-Milan") as caught:
        verify(AMD.vcek(issuer_key=rsa_key("stranger")))

    assert caught.value.reason == "signature"


def test_a_certificate_that_names_another_issuer_is_refused() -> None:
    with pytest.raises(EndorsementRejected, match="issued by SEV-Genoa"):
        verify(AMD.vcek(issuer=amd_name("SEV-Genoa")))


@pytest.mark.parametrize(
    ("days", "reason"), [(-2, "certificate-not-yet-valid"), (366, "certificate-expired")]
)
def test_a_certificate_outside_its_validity_is_refused(days: int, reason: str) -> None:
    endorsement = parse_endorsement(AMD.vcek())
    chain = AMD.chain

    with pytest.raises(EndorsementRejected) as caught:
        verify_chain(
            endorsement,
            AMD.anchor,
            ica_der=chain.ask_der,
            ark_der=chain.ark_der,
            now=NOW + timedelta(days=days),
        )

    assert caught.value.reason == reason


def test_an_expired_intermediate_is_refused() -> None:
    ask = ca_certificate(
        amd_name("SEV-Milan"),
        AMD.ask_key,
        amd_name("ARK-Milan"),
        AMD.ark_key,
        serial=2,
        not_before=NOW - timedelta(days=26 * 365),
    )

    with pytest.raises(EndorsementRejected, match="SEV-Milan expired"):
        verify(AMD.vcek(), ica_der=ask)


def test_a_self_made_chain_with_the_right_names_is_refused() -> None:
    forger = FakeAmd(owner="forger")
    chain = forger.chain

    with pytest.raises(EndorsementRejected, match="root certificate's sha-256") as caught:
        verify(chain.vcek_der, ica_der=chain.ask_der, ark_der=chain.ark_der)

    assert caught.value.reason == "root"
    assert sha256(AMD.chain.ark_der).hexdigest() in str(caught.value)


def test_an_intermediate_of_another_root_is_refused() -> None:
    forger = FakeAmd(owner="forger")

    with pytest.raises(EndorsementRejected, match="SEV-Milan is not signed by ARK-Milan"):
        verify(forger.chain.vcek_der, ica_der=forger.chain.ask_der)


@pytest.mark.parametrize("name", ["SEV-Genoa", "SEV-VLEK-Milan", "ARK-Milan"])
def test_an_intermediate_of_another_name_is_refused(name: str) -> None:
    ask = ca_certificate(
        amd_name(name), AMD.ask_key, amd_name("ARK-Milan"), AMD.ark_key, serial=2, not_before=NOW
    )

    with pytest.raises(EndorsementRejected, match=f"named {name}, wanted SEV-Milan"):
        verify(AMD.vcek(issuer=amd_name(name)), ica_der=ask)


def test_an_endorsement_certificate_cannot_act_as_intermediate() -> None:
    vcek = AMD.vcek(common_name="SEV-Milan", issuer=amd_name("ARK-Milan"), issuer_key=AMD.ark_key)

    with pytest.raises(EndorsementRejected):
        verify(AMD.vcek(), ica_der=vcek)


@pytest.mark.parametrize("missing", ["ica_der", "ark_der"])
def test_a_chain_with_a_missing_part_is_refused(missing: str) -> None:
    with pytest.raises(EndorsementRejected, match="is available") as caught:
        verify(AMD.vcek(), **{missing: b""})

    assert caught.value.reason == "chain-incomplete"


def test_with_certificates_of_its_own_the_anchor_ignores_the_peers() -> None:
    chain = AMD.chain
    anchor = replace(AMD.anchor, ark_der=chain.ark_der, ask_der=chain.ask_der)

    verify_chain(parse_endorsement(AMD.vcek()), anchor, ica_der=b"junk", ark_der=b"junk", now=NOW)


def test_a_flipped_bit_anywhere_in_the_certificate_is_refused() -> None:
    vcek = AMD.vcek()

    accepted = [
        position
        for position in range(len(vcek))
        if _is_accepted(vcek[:position] + bytes([vcek[position] ^ 1]) + vcek[position + 1 :])
    ]

    assert accepted == []


@given(st.binary(max_size=200))
def test_any_bytes_raise_our_own_error_only(content: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        parse_certificate(content)


def test_an_oversized_certificate_is_refused_unread() -> None:
    with pytest.raises(MalformedEvidence, match="wanted at most 8192"):
        parse_certificate(bytes(8193))


@pytest.mark.parametrize("line", LINES)
def test_the_bundled_roots_hash_to_their_pins_and_sign_both_intermediates(line: str) -> None:
    anchor = amd_anchor(line)

    ark = parse_certificate(anchor.ark_der)
    assert sha256(anchor.ark_der).digest() == anchor.root_sha256
    assert ark.subject_cn == f"ARK-{line}"
    assert parse_certificate(anchor.ask_der).subject_cn == f"SEV-{line}"
    assert parse_certificate(anchor.asvk_der).subject_cn == f"SEV-VLEK-{line}"
    serials = (parse_certificate(anchor.ask_der).serial, parse_certificate(anchor.asvk_der).serial)
    assert (
        serials
        == {
            "Milan": (0x10001, 0x10101),
            "Genoa": (0x20002, 0x20101),
            "Turin": (0x30001, 0x30101),
        }[line]
    )


@pytest.mark.parametrize("line", LINES)
def test_the_bundled_intermediates_name_the_lists_that_are_fetched(line: str) -> None:
    anchor = amd_anchor(line)

    for certificate_der, kind in ((anchor.ask_der, "vcek"), (anchor.asvk_der, "vlek")):
        places = parse_certificate(certificate_der).extensions["2.5.29.31"]
        assert der.encode(0x86, crl_url(line, kind=kind).encode()) in places


@pytest.mark.skipif(not ATTESTATION.exists(), reason="attestation test data is not at hand")
def test_a_real_turin_certificate_chains_to_turin_and_to_no_other_line() -> None:
    endorsement = parse_endorsement((ATTESTATION / "snp" / "vcek-turin.der").read_bytes())
    now = endorsement.certificate.not_before

    assert endorsement.tcb == Tcb(fmc=0, bootloader=0, tee=0, snp=0, microcode=9)
    assert endorsement.hwid.hex() == "1e550a8ee5cf9f4d"
    verify_chain(endorsement, amd_anchor("Turin"), ica_der=b"", ark_der=b"", now=now)
    with pytest.raises(EndorsementRejected):
        verify_chain(endorsement, amd_anchor("Genoa"), ica_der=b"", ark_der=b"", now=now)


@pytest.mark.skipif(not ATTESTATION.exists(), reason="attestation test data is not at hand")
@pytest.mark.parametrize("name", ["raw", "octet"])
def test_a_forged_certificate_parses_and_does_not_chain(name: str) -> None:
    endorsement = parse_endorsement(
        (ATTESTATION / "snp" / f"vcek-invalid-hwid-{name}.der").read_bytes()
    )

    assert endorsement.hwid == bytes(range(64))
    with pytest.raises(EndorsementRejected, match="not signed by SEV-Milan"):
        verify_chain(
            endorsement,
            amd_anchor("Milan"),
            ica_der=b"",
            ark_der=b"",
            now=endorsement.certificate.not_before,
        )


@pytest.mark.parametrize(
    ("family", "model", "line"),
    [
        (0x19, 0x00, "Milan"),
        (0x19, 0x0F, "Milan"),
        (0x19, 0x11, "Genoa"),
        (0x19, 0xA0, "Genoa"),
        (0x19, 0xAF, "Genoa"),
        (0x1A, 0x02, "Turin"),
        (0x1A, 0x11, "Turin"),
        (0x19, 0x20, ""),
        (0x1A, 0x12, ""),
        (0x17, 0x01, ""),
        (0xFF, 0x00, "Simulated"),
        (0xFF, 0x01, ""),
    ],
)
def test_the_model_says_the_product_line(family: int, model: int, line: str) -> None:
    assert line_of_model(family, model) == line


@pytest.mark.parametrize("line", ["Rome", "milan", "Simulated", ""])
def test_an_unknown_line_has_no_root(line: str) -> None:
    with pytest.raises(UsageError, match="wanted one of Milan, Genoa, Turin"):
        amd_anchor(line)


def test_a_small_rsa_key_is_no_authority() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    ask = ca_certificate(
        amd_name("SEV-Milan"), weak, amd_name("ARK-Milan"), AMD.ark_key, serial=2, not_before=NOW
    )

    with pytest.raises(MalformedEvidence, match="neither p-384 nor rsa"):
        verify(AMD.vcek(issuer_key=weak), ica_der=ask)


def _is_accepted(vcek: bytes) -> bool:
    try:
        verify(vcek)
    except (MalformedEvidence, EndorsementRejected):
        return False
    return True


def test_an_anchor_without_certificates_takes_the_peers_if_they_hash_to_the_pin() -> None:
    anchor = TrustAnchor(line="Milan", root_sha256=sha256(AMD.chain.ark_der).digest())

    ica, ark = verify_chain(
        parse_endorsement(AMD.vcek()),
        anchor,
        ica_der=AMD.chain.ask_der,
        ark_der=AMD.chain.ark_der,
        now=NOW,
    )

    assert (ica.subject_cn, ark.subject_cn) == ("SEV-Milan", "ARK-Milan")
