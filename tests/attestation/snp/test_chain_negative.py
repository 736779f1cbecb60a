"""Rows 34, 35, 38, 40 to 44, 49 of the list of evidence that a verifier must reject: certificates and revocation."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from contrast_tasks.attestation.errors import (
    CollateralUnavailable,
    EndorsementRejected,
    HardwareRejected,
    MalformedEvidence,
    Revoked,
)
from contrast_tasks.attestation.issuers.simulated_chain import (
    amd_name,
    ca_certificate,
    vcek_extensions,
)
from contrast_tasks.attestation.pki import der
from contrast_tasks.attestation.snp.document import EXTRA_CRL
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.snp.verify import SnpValidator
from tests.fakes.attestation import CHIP_ID, NOW, REPORT_DATA, TCB, FakeAmd, rsa_key

AMD = FakeAmd()
FORGER = FakeAmd(owner="forger")
COMPONENTS = ("bootloader", "tee", "snp", "microcode")
OLD = {"version": 2, "cpuid_family": 0, "cpuid_model": 0, "cpuid_stepping": 0}
NO_VECTORS = {"launch_mit_vector": 0, "current_mit_vector": 0}
CSP_ID = der.encode(der.IA5_STRING, b"CN=cloud.example")
ASK_SERIAL = 0x10001


def refused(
    document: bytes,
    error: type[HardwareRejected],
    reason: str,
    *texts: str,
    now: datetime = NOW,
    validator: SnpValidator | None = None,
) -> None:
    """Let a validator judge a document: it must raise exactly this error, with the reason and all texts."""
    with pytest.raises(HardwareRejected) as caught:
        (validator or AMD.validator()).verify(document, REPORT_DATA, now)
    assert type(caught.value) is error
    assert caught.value.reason == reason
    for text in texts:
        assert text in str(caught.value)


def step(name: str, by: int) -> Tcb:
    return replace(TCB, **{name: getattr(TCB, name) + by})


def ca(name: str, issuer: str = "ARK-Milan", **changes: Any) -> bytes:
    """Return a certificate of the intermediate's key, signed by the genuine root unless changed."""
    arguments: dict[str, Any] = {"serial": ASK_SERIAL, "not_before": NOW, **changes}
    key = arguments.pop("key", AMD.ask_key)
    return ca_certificate(
        amd_name(name), key, amd_name(issuer), arguments.pop("signer", AMD.ark_key), **arguments
    )


@pytest.mark.parametrize("by", [-1, 1], ids=["lower", "higher"])
@pytest.mark.parametrize("name", COMPONENTS)
def test_34_the_certificate_of_the_chip_for_another_level_is_refused(name: str, by: int) -> None:
    vcek = FakeAmd(tcb=step(name, by)).chain.vcek_der

    refused(
        AMD.document(vcek_der=vcek),
        EndorsementRejected,
        "endorsement-tcb",
        f"endorsement-tcb is {step(name, by)}, but the report's {TCB} is wanted",
    )


@pytest.mark.parametrize("hwid", [CHIP_ID[:-1] + b"\x41", b"\x00" + CHIP_ID[1:], CHIP_ID[::-1]])
def test_35_the_certificate_of_another_chip_at_the_same_level_is_refused(hwid: bytes) -> None:
    document = AMD.document(vcek_der=FakeAmd(hwid=hwid).chain.vcek_der)

    refused(document, EndorsementRejected, "chip-id", CHIP_ID.hex(), hwid.ljust(64, b"\0").hex())


@pytest.mark.parametrize(("line", "size", "wanted"), [("Milan", 8, 64), ("Turin", 64, 8)])
def test_46_a_hardware_id_of_another_lines_length_is_refused(
    line: str, size: int, wanted: int
) -> None:
    vendor = FakeAmd(line=line, hwid=CHIP_ID[:size])
    cpu = {"cpuid_family": 0x1A, "cpuid_model": 2} if line == "Turin" else {}
    report = vendor.report(chip_id=CHIP_ID[:size].ljust(64, b"\0"), **cpu)

    refused(
        vendor.document(report),
        EndorsementRejected,
        "endorsement-form",
        f"hardware id has {size} bytes, {line} has {wanted}",
        validator=vendor.validator(),
    )


def vlek(**extensions: bytes) -> bytes:
    values = vcek_extensions("Milan", TCB, CHIP_ID)
    del values["4"]
    return AMD.vcek(
        extensions={**values, "5": CSP_ID, **extensions},
        common_name="SEV-VLEK",
        issuer=amd_name("SEV-VLEK-Milan"),
    )


@pytest.mark.parametrize(
    ("parts", "allow", "error", "reason", "text"),
    [
        pytest.param({"vcek_der": AMD.vcek(extensions={**vcek_extensions("Milan-B0", TCB, CHIP_ID), "5": CSP_ID})}, False, MalformedEvidence, "endorsement-form", "must have a hardware id and no provider id", id="vcek with CSP id"),
        pytest.param({"vlek_der": vlek(**{"4": CHIP_ID})}, True, MalformedEvidence, "endorsement-form", "must have a provider id and no hardware id", id="vlek with HWID"),
        pytest.param({"vlek_der": vlek()}, False, EndorsementRejected, "vlek-not-allowed", "signed by a vlek, wanted a vcek", id="vlek where only vcek is allowed"),
        pytest.param({"vlek_der": AMD.chain.vcek_der}, True, EndorsementRejected, "chain", "is a vcek, but another key", id="vcek in place of the vlek"),
        pytest.param({"vcek_der": vlek()}, False, EndorsementRejected, "chain", "is a vlek, but another key", id="vlek in place of the vcek"),
    ],
)  # fmt: skip
def test_38_a_key_of_the_wrong_kind_is_refused(
    parts: dict[str, bytes], allow: bool, error: type[HardwareRejected], reason: str, text: str
) -> None:
    signer = 1 << 2 if "vlek_der" in parts else 0
    asvk = ca("SEV-VLEK-Milan", serial=0x10101)
    document = AMD.document(
        AMD.report(signer_info=signer), **({"ask_der": asvk} if signer else {}), **parts
    )

    refused(document, error, reason, text, validator=AMD.validator(trust={"allow_vlek": allow}))


GENOA = FakeAmd(line="Genoa")


@pytest.mark.parametrize(
    ("document", "found"),
    [
        pytest.param(GENOA.document(GENOA.report(cpuid_model=0x11)), "Genoa", id="genoa"),
        pytest.param(GENOA.document(GENOA.report(cpuid_model=0xA0)), "Genoa", id="siena"),
        pytest.param(AMD.document(AMD.report(cpuid_model=0x11)), "Genoa", id="milan as genoa"),
        pytest.param(
            AMD.document(AMD.report(cpuid_family=0x1A, cpuid_model=2)), "Turin", id="milan as turin"
        ),
        pytest.param(AMD.document(AMD.report(cpuid_model=0x20)), "unknown", id="unknown model"),
        pytest.param(AMD.document(AMD.report(cpuid_family=0x17)), "unknown", id="unknown family"),
        pytest.param(
            AMD.document(AMD.report(cpuid_family=0xFF, cpuid_model=0)), "Simulated", id="simulated"
        ),
        pytest.param(
            GENOA.document(GENOA.report(**OLD, **NO_VECTORS)), "Genoa", id="genoa, version 2"
        ),
    ],
)
def test_40_another_product_line_is_refused(document: bytes, found: str) -> None:
    refused(
        document,
        EndorsementRejected,
        "product",
        f"the processor is of the line {found}, wanted Milan",
    )


def test_40_a_genoa_certificate_does_not_vouch_for_a_milan_report() -> None:
    document = AMD.document(vcek_der=GENOA.chain.vcek_der)

    refused(document, EndorsementRejected, "chain", "issued by SEV-Genoa, wanted SEV-Milan")


def test_41_a_self_made_chain_with_the_right_names_is_refused() -> None:
    pin, found = AMD.anchor.root_sha256.hex(), FORGER.anchor.root_sha256.hex()

    refused(FORGER.document(), EndorsementRejected, "root", found, f"wanted {pin}")


def test_41_with_pinned_certificates_the_peers_own_authorities_are_not_even_looked_at() -> None:
    anchor = replace(AMD.anchor, ark_der=AMD.chain.ark_der, ask_der=AMD.chain.ask_der)
    validator = AMD.validator(trust={"anchor": anchor})

    refused(
        FORGER.document(),
        EndorsementRejected,
        "signature",
        "SEV-VCEK is not signed by SEV-Milan",
        validator=validator,
    )
    validator.verify(AMD.document(ask_der=b"", ark_der=b""), REPORT_DATA, NOW)


def test_41_a_self_made_key_below_the_genuine_authorities_is_refused() -> None:
    document = FORGER.document(ask_der=AMD.chain.ask_der, ark_der=AMD.chain.ark_der)

    refused(document, EndorsementRejected, "signature", "SEV-VCEK is not signed by SEV-Milan")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        pytest.param({"ask_der": ca("SEV-Genoa")}, "named SEV-Genoa, wanted SEV-Milan", id="CN"),
        pytest.param(
            {"ask_der": ca("SEV-VLEK-Milan", serial=0x10101)},
            "named SEV-VLEK-Milan, wanted SEV-Milan",
            id="asvk in place of the ask",
        ),
        pytest.param(
            {"ask_der": ca("SEV-Milan", "ARK-Genoa")},
            "issued by ARK-Genoa, wanted ARK-Milan",
            id="issuer CN",
        ),
        pytest.param(
            {"vcek_der": AMD.vcek(issuer=amd_name("SEV-VLEK-Milan"))},
            "issued by SEV-VLEK-Milan, wanted SEV-Milan",
            id="vcek below the asvk",
        ),
        pytest.param(
            {"ask_der": AMD.chain.ark_der}, "named ARK-Milan, wanted SEV-Milan", id="ark twice"
        ),
    ],
)
def test_42_an_intermediate_of_another_name_is_refused(parts: dict[str, Any], text: str) -> None:
    refused(AMD.document(**parts), EndorsementRejected, "chain", text)


@pytest.mark.parametrize(
    ("document", "reason", "text"),
    [
        pytest.param(
            AMD.document(vcek_der=AMD.vcek(not_after=NOW - timedelta(seconds=1))),
            "certificate-expired",
            "SEV-VCEK expired 2026-06-01T11:59:59Z, but it is 2026-06-01T12:00:00Z",
            id="key expired",
        ),
        pytest.param(
            AMD.document(vcek_der=AMD.vcek(not_before=NOW + timedelta(seconds=1))),
            "certificate-not-yet-valid",
            "SEV-VCEK is valid from 2026-06-01T12:00:01Z, but it is 2026-06-01T12:00:00Z",
            id="key not yet valid",
        ),
        pytest.param(
            AMD.document(ask_der=ca("SEV-Milan", not_before=NOW - timedelta(days=26 * 365))),
            "certificate-expired",
            "SEV-Milan expired",
            id="intermediate expired",
        ),
        pytest.param(
            AMD.document(ask_der=ca("SEV-Milan", not_before=NOW + timedelta(days=1))),
            "certificate-not-yet-valid",
            "SEV-Milan is valid from 2026-06-02T12:00:00Z",
            id="intermediate not yet valid",
        ),
    ],
)
def test_43_a_certificate_outside_its_validity_is_refused(
    document: bytes, reason: str, text: str
) -> None:
    refused(document, EndorsementRejected, reason, text)


@pytest.mark.parametrize(
    ("crl", "text"),
    [
        pytest.param(b"", "the peer sent none and none is cached", id="none"),
        pytest.param(AMD.crl(age_days=31), "the revocation list expired 2026-05-31T", id="expired"),
        pytest.param(AMD.crl(age_days=-1), "but it is 2026-06-01T12:00:00Z", id="from tomorrow"),
        pytest.param(AMD.crl(key=rsa_key("stranger")), "not signed by ARK-Milan", id="other key"),
        pytest.param(AMD.crl(key=AMD.ask_key), "not signed by ARK-Milan", id="by the ask"),
        pytest.param(GENOA.crl(), "it is another issuer's", id="other line"),
        pytest.param(b"<html>", "not a der revocation list", id="web page"),
    ],
)
@pytest.mark.parametrize("by_peer", [True, False], ids=["delivered", "at hand"])
def test_44_without_a_usable_revocation_list_evidence_is_refused(
    crl: bytes, text: str, by_peer: bool
) -> None:
    document = AMD.document(extras={EXTRA_CRL: crl} if by_peer else {})
    validator = AMD.validator(trust={"crl": lambda _line, _kind: None if by_peer else crl})

    refused(document, CollateralUnavailable, "collateral-unavailable", text, validator=validator)


@pytest.mark.parametrize("age_days", [0, 400], ids=["current", "expired"])
@pytest.mark.parametrize("by_peer", [True, False], ids=["delivered", "at hand"])
def test_44_a_list_that_names_the_intermediate_is_final_wherever_it_comes_from(
    by_peer: bool, age_days: int
) -> None:
    named, clean = AMD.crl(ASK_SERIAL, age_days=age_days), AMD.crl()
    document = AMD.document(extras={EXTRA_CRL: named if by_peer else clean})
    validator = AMD.validator(trust={"crl": lambda _line, _kind: clean if by_peer else named})

    refused(document, Revoked, "revoked", "serial number 0x10001 is revoked", validator=validator)


def turin(level: Tcb) -> FakeAmd:
    fmc = der.encode(der.INTEGER, bytes((level.fmc,)))
    return FakeAmd(line="Turin", tcb=level, hwid=CHIP_ID[:8], extensions={"3.9": fmc, "3.4": None})


TURIN_LEVEL = Tcb(fmc=1, bootloader=4, tee=1, snp=24, microcode=219)
TURIN_CPU = {"cpuid_family": 0x1A, "cpuid_model": 2, "chip_id": CHIP_ID[:8] + bytes(56)}


def with_levels(word: int) -> dict[str, int]:
    return dict.fromkeys(("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"), word)


@pytest.mark.parametrize("field", ["current", "reported", "committed", "launch"])
def test_49_a_turin_level_in_a_milan_report_is_refused(field: str) -> None:
    word = TURIN_LEVEL.to_word(turin=True)

    refused(
        AMD.document(AMD.report(**{f"{field}_tcb": word})),
        MalformedEvidence,
        "tcb-reserved",
        f"{field.upper()}_TCB {word:#018x} has reserved bytes set for this product",
    )


def test_49_a_milan_level_in_a_turin_report_is_refused() -> None:
    vendor = turin(TURIN_LEVEL)
    report = vendor.report(**TURIN_CPU, **with_levels(TCB.to_word()))

    refused(
        vendor.document(report),
        MalformedEvidence,
        "tcb-reserved",
        "has reserved bytes set for this product",
        validator=vendor.validator(),
    )


def test_49_a_word_that_both_layouts_allow_means_other_levels_to_each() -> None:
    # Milan reads boot loader 4, TEE 1; Turin reads FMC 4, boot loader 1: its certificate says something else.
    word = Tcb(bootloader=4, tee=1, snp=0, microcode=219).to_word()
    vendor = turin(Tcb(bootloader=4, tee=1, snp=0, microcode=219))

    refused(
        vendor.document(vendor.report(**TURIN_CPU, **with_levels(word))),
        EndorsementRejected,
        "endorsement-tcb",
        "wanted",
        validator=vendor.validator(),
    )
