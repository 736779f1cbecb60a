from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from contrast_tasks.attestation.errors import (
    ClaimsRejected,
    CollateralUnavailable,
    EndorsementRejected,
    HardwareRejected,
    MalformedEvidence,
    Revoked,
    SignatureRejected,
    WrongPolicyHash,
)
from contrast_tasks.attestation.issuers.simulated_chain import amd_name, ca_certificate
from contrast_tasks.attestation.issuers.simulated_guest import sign_report
from contrast_tasks.attestation.snp.document import EXTRA_CRL, parse_document
from contrast_tasks.attestation.snp.id_block import id_key_digest
from contrast_tasks.attestation.snp.report import render_signature
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.snp.verify import verify_genuine
from tests.fakes.attestation import (
    CHIP_ID,
    HOST_DATA,
    MEASUREMENT,
    MINIMUM,
    NOW,
    POLICY,
    REPORT_DATA,
    TCB,
    FakeAmd,
    chip_key,
    good_report,
)

AMD = FakeAmd()


def judge(document: bytes | None = None, now: datetime = NOW, **expectation: Any) -> None:
    AMD.validator(**expectation).verify(document or AMD.document(), REPORT_DATA, now)


def failed_reasons(document: bytes | None = None, **expectation: Any) -> list[str]:
    with pytest.raises(ClaimsRejected) as caught:
        judge(document, **expectation)
    return [check.reason for check in caught.value.failed]


def test_good_evidence_is_accepted_with_every_check_listed() -> None:
    evidence = AMD.validator().verify(AMD.document(), REPORT_DATA, NOW)

    assert evidence.host_data == HOST_DATA
    assert evidence.reference_name == "snp-0-TEST"
    assert evidence.line == "Milan"
    assert all(check.passed for check in evidence.checks)
    assert [check.reason for check in evidence.checks][:5] == [
        "endorsement-tcb",
        "current-tcb",
        "chip-id",
        "report-data",
        "measurement",
    ]


def test_any_changed_byte_of_the_signed_part_is_rejected() -> None:
    trust = AMD.validator().trust
    document = parse_document(AMD.document())
    raw = document.report.raw

    accepted = [
        offset for offset in range(0x2A0) if _is_genuine(_flipped(raw, offset), document, trust)
    ]

    assert accepted == []


@pytest.mark.parametrize("offset", [0x2A0, 0x2CF, 0x2E8, 0x317])
def test_a_changed_signature_is_rejected(offset: int) -> None:
    document = parse_document(AMD.document())

    assert not _is_genuine(_flipped(document.report.raw, offset), document, AMD.validator().trust)


def test_a_report_signed_by_another_key_is_rejected() -> None:
    report = sign_report(good_report(), chip_key("stranger"))

    with pytest.raises(SignatureRejected, match="not signed by the endorsement key"):
        judge(AMD.document(report))


def test_the_constant_signature_is_rejected_in_a_report() -> None:
    report = replace(good_report(), signature=render_signature(2, 1))

    with pytest.raises(SignatureRejected):
        judge(AMD.document(report))


def test_a_report_of_another_root_with_the_same_names_is_rejected() -> None:
    with pytest.raises(EndorsementRejected, match="root certificate's sha-256"):
        judge(FakeAmd(owner="forger").document())


@pytest.mark.parametrize("size", [0, 1, 100, 1200, -1])
def test_truncated_evidence_is_rejected(size: int) -> None:
    with pytest.raises(HardwareRejected):
        judge(AMD.document(extras={})[:size] or b"\x0a")


CHANGES: list[Any] = [
    pytest.param({"report_data": bytes(64)}, ["report-data"], id="another nonce or key"),
    pytest.param({"measurement": b"\xb3" + MEASUREMENT[1:]}, ["measurement"], id="one bit of the measurement"),
    pytest.param({"policy": POLICY | 1 << 19}, ["debug"], id="debug"),
    pytest.param({"policy": POLICY | 1 << 18}, ["policy-migrate-ma"], id="migration agent"),
    pytest.param({"policy": POLICY | 1 << 21}, ["policy-cxl"], id="cxl"),
    pytest.param({"policy": POLICY | 1 << 20 | 1 << 22 | 0x1F}, [], id="a stricter policy and a newer abi"),
    pytest.param({"platform_info": 0b11}, ["tsme-enabled"], id="tsme"),
    pytest.param({"platform_info": 1 << 7}, ["tio-enabled"], id="tio"),
    pytest.param({"platform_info": 0}, [], id="smt off"),
    pytest.param({"vmpl": 1}, ["vmpl"], id="vmpl 1"),
    pytest.param({"vmpl": 3}, ["vmpl"], id="vmpl 3"),
    pytest.param({"vmpl": 0xFFFFFFFF}, ["vmpl"], id="asked for by the host"),
    pytest.param({"id_key_digest": bytes(48)}, ["id-key-digest"], id="no id block"),
    pytest.param({"id_key_digest": id_key_digest(MEASUREMENT, 0x3001F)}, ["id-key-digest"], id="id block of another policy"),
    pytest.param({"id_key_digest": id_key_digest(bytes(48), POLICY)}, ["id-key-digest"], id="id block of another measurement"),
    pytest.param({"signer_info": 1}, ["author-key"], id="author key"),
    pytest.param({"chip_id": bytes(64)}, [], id="masked chip id"),
    pytest.param({"committed_major": 1, "committed_minor": 55, "committed_build": 30}, ["committed-version"], id="committed firmware above current"),
    pytest.param({"committed_major": 1, "committed_minor": 54, "committed_build": 29}, [], id="committed firmware below current"),
    pytest.param({"committed_major": 1, "committed_minor": 54, "committed_build": 30}, ["committed-version"], id="committed build above current, version below"),
    pytest.param({"committed_major": 2, "committed_minor": 54, "committed_build": 1}, ["committed-version"], id="committed major version above current"),
    pytest.param({"launch_tcb": Tcb(bootloader=2, tee=1, snp=24, microcode=219).to_word()}, ["launch-tcb"], id="launched under an old boot loader"),
    pytest.param({"committed_tcb": Tcb(bootloader=4, tee=1, snp=7, microcode=219).to_word()}, ["committed-tcb"], id="committed to an old snp firmware"),
    pytest.param({"committed_tcb": Tcb(bootloader=5, tee=0, snp=24, microcode=219).to_word()}, ["committed-tcb-order"], id="committed above current in one component"),
    pytest.param({"current_tcb": Tcb(bootloader=9, tee=9, snp=99, microcode=250).to_word()}, [], id="provisional firmware"),
    pytest.param({"host_data": bytes(32)}, [], id="another policy hash is the manifest's business"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "reasons"), CHANGES)
def test_a_claim_is_compared_with_the_reference_value(
    changes: dict[str, Any], reasons: list[str]
) -> None:
    document = AMD.document(AMD.report(**changes))

    if not reasons:
        judge(document)
    else:
        found = failed_reasons(document)
        assert found[: len(reasons)] == reasons
        assert set(found) - set(reasons) <= {"id-key-digest"}


EXPECTATIONS: list[Any] = [
    pytest.param({"measurement": b""}, ["measurement", "id-key-digest"], id="no measurement is not any measurement"),
    pytest.param({"measurement": MEASUREMENT[:47]}, ["measurement", "id-key-digest"], id="measurement of 47 bytes"),
    pytest.param({"guest_policy": 0x20000}, ["policy-smt", "id-key-digest"], id="smt forbidden"),
    pytest.param({"guest_policy": POLICY | 0x1F}, ["policy-abi", "id-key-digest"], id="newer abi wanted"),
    pytest.param({"guest_policy": POLICY | 0x100}, ["policy-abi", "id-key-digest"], id="newer major abi wanted"),
    pytest.param({"guest_policy": POLICY | 1 << 20}, ["policy-single-socket", "id-key-digest"], id="single socket wanted"),
    pytest.param({"guest_policy": POLICY | 1 << 22}, ["policy-mem-aes-256-xts", "id-key-digest"], id="xts wanted"),
    pytest.param({"guest_policy": POLICY | 1 << 23}, ["policy-rapl-dis", "id-key-digest"], id="rapl off wanted"),
    pytest.param({"guest_policy": POLICY | 1 << 24}, ["policy-ciphertext-hiding", "id-key-digest"], id="ciphertext hiding wanted"),
    pytest.param({"guest_policy": POLICY | 1 << 25}, ["policy-page-swap-disable", "id-key-digest"], id="no page swap wanted"),
    pytest.param({"platform_info": 0}, ["smt-enabled"], id="platform smt forbidden"),
    pytest.param({"platform_info": 0b1001}, ["rapl-disabled"], id="platform rapl off wanted"),
    pytest.param({"platform_info": 0b10001}, ["ciphertext-hiding-enabled"], id="platform ciphertext hiding wanted"),
    pytest.param({"platform_info": None}, [], id="platform info unchecked"),
    pytest.param({"chip_ids": frozenset({bytes(64)})}, ["allowed-chip-ids"], id="another chip"),
    pytest.param({"chip_ids": frozenset({bytes(64), CHIP_ID})}, [], id="one of two chips"),
    pytest.param({"mitigation_vector": 0b100}, ["launch-mitigations", "current-mitigations"], id="mitigation missing"),
    pytest.param({"mitigation_vector": 0b1010}, [], id="mitigations present"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "reasons"), EXPECTATIONS)
def test_a_reference_value_decides_what_is_acceptable(
    changes: dict[str, Any], reasons: list[str]
) -> None:
    if reasons:
        assert failed_reasons(**changes) == reasons
    else:
        judge(**changes)


@pytest.mark.parametrize("name", ["bootloader", "tee", "snp", "microcode"])
def test_each_component_of_the_minimum_counts(name: str) -> None:
    above = replace(TCB, **{name: getattr(TCB, name) + 1})

    assert failed_reasons(minimum_tcb=above) == ["reported-tcb", "committed-tcb", "launch-tcb"]
    judge(minimum_tcb=TCB)


def test_a_minimum_of_255_everywhere_shows_the_real_levels() -> None:
    everything = Tcb(bootloader=255, tee=255, snp=255, microcode=255)

    with pytest.raises(
        ClaimsRejected, match="bootloader 4, tee 1, snp 24, microcode 219"
    ) as caught:
        judge(minimum_tcb=everything)

    assert "microcode is 219, wanted 255" in caught.value.hint


def test_a_masked_chip_is_refused_where_chips_are_listed() -> None:
    document = AMD.document(AMD.report(chip_id=bytes(64)))

    assert failed_reasons(document, chip_ids=frozenset({CHIP_ID})) == ["allowed-chip-ids"]


@pytest.mark.parametrize(
    ("vendor", "reason"),
    [
        pytest.param(FakeAmd(tcb=replace(TCB, microcode=218)), "endorsement-tcb", id="lower tcb"),
        pytest.param(FakeAmd(tcb=replace(TCB, microcode=220)), "endorsement-tcb", id="higher tcb"),
        pytest.param(FakeAmd(hwid=bytes(64)), "chip-id", id="another chip"),
    ],
)
def test_a_genuine_certificate_of_another_chip_or_level_is_rejected(
    vendor: FakeAmd, reason: str
) -> None:
    with pytest.raises(EndorsementRejected) as caught:
        judge(AMD.document(vcek_der=vendor.chain.vcek_der))

    assert caught.value.reason == reason


def test_a_processor_of_another_line_is_rejected_by_its_model() -> None:
    with pytest.raises(EndorsementRejected, match="line Genoa, wanted Milan") as caught:
        judge(AMD.document(AMD.report(cpuid_model=0x11)))

    assert caught.value.reason == "product"


def test_an_unknown_processor_is_rejected() -> None:
    with pytest.raises(EndorsementRejected, match="line unknown, wanted Milan"):
        judge(AMD.document(AMD.report(cpuid_model=0x77)))


def test_a_version_2_report_takes_its_line_from_the_certificate() -> None:
    report = AMD.report(
        version=2,
        cpuid_family=0,
        cpuid_model=0,
        cpuid_stepping=0,
        launch_mit_vector=0,
        current_mit_vector=0,
    )

    judge(AMD.document(report))
    with pytest.raises(EndorsementRejected, match="line Genoa, wanted Milan"):
        judge(AMD.document(report, vcek_der=FakeAmd(line="Genoa").chain.vcek_der))


def test_the_product_in_the_certificate_has_no_say_from_version_3() -> None:
    odd = FakeAmd(extensions={"2": b"\x16\x05Genoa"})

    judge(AMD.document(vcek_der=odd.chain.vcek_der))


def test_a_turin_word_is_refused_in_the_milan_layout() -> None:
    word = Tcb(fmc=1, bootloader=2, tee=3, snp=4, microcode=5).to_word(turin=True)

    with pytest.raises(MalformedEvidence, match="reserved bytes set for this product"):
        judge(AMD.document(AMD.report(current_tcb=word)))


def test_a_turin_chip_is_judged_in_its_own_layout() -> None:
    level = Tcb(fmc=1, bootloader=4, tee=1, snp=24, microcode=219)
    turin = FakeAmd(
        line="Turin", tcb=level, hwid=CHIP_ID[:8], extensions={"3.9": b"\x02\x01\x01", "3.4": None}
    )
    word = level.to_word(turin=True)
    report = turin.report(
        cpuid_family=0x1A,
        cpuid_model=2,
        chip_id=CHIP_ID[:8] + bytes(56),
        current_tcb=word,
        reported_tcb=word,
        committed_tcb=word,
        launch_tcb=word,
    )

    turin.validator().verify(turin.document(report), REPORT_DATA, NOW)
    with pytest.raises(EndorsementRejected, match="line Turin, wanted Milan"):
        judge(turin.document(report))


def list_of_vleks(_line: str, kind: str) -> bytes | None:
    return AMD.chain.crl_der if kind == "vlek" else None


def vlek_document() -> bytes:
    """Return genuine evidence signed by a provider's key, with a list of the root that the peer delivers."""
    vlek = AMD.vcek(
        extensions={
            **{suffix: value for suffix, value in _extensions().items() if suffix != "4"},
            "5": b"\x16\x01x",
        },
        common_name="SEV-VLEK",
        issuer=amd_name("SEV-VLEK-Milan"),
    )
    asvk = ca_certificate(
        amd_name("SEV-VLEK-Milan"),
        AMD.ask_key,
        amd_name("ARK-Milan"),
        AMD.ark_key,
        serial=0x10101,
        not_before=NOW,
    )
    report = AMD.report(signer_info=1 << 2, chip_id=bytes(64))
    return AMD.document(report, vcek_der=b"", vlek_der=vlek, ask_der=asvk)


def test_a_vlek_is_refused_by_default_and_accepted_when_allowed() -> None:
    document = vlek_document()

    with pytest.raises(EndorsementRejected) as caught:
        judge(document)
    assert caught.value.reason == "vlek-not-allowed"
    AMD.validator(trust={"allow_vlek": True, "crl": list_of_vleks}).verify(
        document, REPORT_DATA, NOW
    )


def test_a_list_that_the_peer_delivers_does_not_vouch_for_a_vlek() -> None:
    document = vlek_document()

    for crl in (None, lambda _line, kind: AMD.chain.crl_der if kind == "vcek" else None):
        with pytest.raises(CollateralUnavailable):
            AMD.validator(trust={"allow_vlek": True, "crl": crl}).verify(document, REPORT_DATA, NOW)


def test_a_list_of_vleks_that_names_the_intermediate_revokes_it() -> None:
    named = AMD.crl(0x10101)
    trust = {"allow_vlek": True, "crl": lambda _line, _kind: named}

    with pytest.raises(Revoked):
        AMD.validator(trust=trust).verify(vlek_document(), REPORT_DATA, NOW)


def test_a_vcek_does_not_vouch_for_a_report_that_names_a_vlek() -> None:
    report = AMD.report(signer_info=1 << 2)
    document = AMD.document(report, vlek_der=AMD.chain.vcek_der)

    with pytest.raises(EndorsementRejected, match="another key signed the report"):
        AMD.validator(trust={"allow_vlek": True}).verify(document, REPORT_DATA, NOW)


def test_a_document_without_the_endorsement_certificate_is_rejected() -> None:
    with pytest.raises(EndorsementRejected, match="no vcek certificate"):
        judge(AMD.document(vcek_der=b""))


def test_revocation_is_checked_and_fails_closed() -> None:
    with pytest.raises(CollateralUnavailable):
        judge(AMD.document(extras={}))
    with pytest.raises(Revoked):
        judge(AMD.document(extras={EXTRA_CRL: AMD.crl(0x10001)}))


def test_a_list_at_hand_stands_in_for_the_peers() -> None:
    asked: list[tuple[str, str]] = []

    def crl(line: str, kind: str) -> bytes:
        asked.append((line, kind))
        return AMD.crl()

    AMD.validator(trust={"crl": crl}).verify(AMD.document(extras={}), REPORT_DATA, NOW)

    assert asked == [("Milan", "vcek")]


def test_a_list_at_hand_that_revokes_outweighs_the_peers_old_one() -> None:
    validator = AMD.validator(trust={"crl": lambda _line, _kind: AMD.crl(0x10001)})

    with pytest.raises(Revoked):
        validator.verify(AMD.document(), REPORT_DATA, NOW)


def test_revocation_can_be_switched_off_explicitly() -> None:
    validator = AMD.validator(trust={"check_revocation": False})

    validator.verify(AMD.document(extras={}), REPORT_DATA, NOW)


@pytest.mark.parametrize(
    "instant",
    ["2019-01-01T00:00:00+00:00", "2034-01-01T00:00:00+00:00", "2060-01-01T00:00:00+00:00"],
)
def test_a_clock_outside_the_certificates_validity_is_rejected(instant: str) -> None:
    with pytest.raises(EndorsementRejected, match=r"is valid from|expired"):
        judge(now=datetime.fromisoformat(instant))


def test_the_first_failing_check_leads_and_all_are_told() -> None:
    document = AMD.document(AMD.report(vmpl=2, policy=POLICY | 1 << 19))

    with pytest.raises(ClaimsRejected) as caught:
        judge(document)

    assert caught.value.reason == "debug"
    assert str(caught.value) == "debug is on, but off is wanted; vmpl is 2, but 0 is wanted"
    assert caught.value.hint == "the host can read the guest's memory: never trust it"
    assert caught.value.exit_code == 41


def test_a_wrong_policy_hash_is_told_apart_from_bad_evidence() -> None:
    validator = replace(AMD.validator(), policy_hashes=("00" * 32,))

    with pytest.raises(WrongPolicyHash) as caught:
        validator.verify(AMD.document(), REPORT_DATA, NOW)

    assert caught.value.exit_code == 42
    assert f"found {HOST_DATA.hex()}, wanted {'00' * 32}" in str(caught.value)


def test_bad_evidence_with_a_wrong_policy_hash_is_bad_evidence() -> None:
    validator = replace(AMD.validator(), policy_hashes=("00" * 32,))

    with pytest.raises(ClaimsRejected):
        validator.verify(AMD.document(AMD.report(vmpl=1)), REPORT_DATA, NOW)


def test_without_any_coordinator_policy_nothing_is_accepted() -> None:
    validator = replace(AMD.validator(), policy_hashes=())

    with pytest.raises(WrongPolicyHash, match="no policy has the role coordinator"):
        validator.verify(AMD.document(), REPORT_DATA, NOW)


def test_the_minimum_itself_is_acceptable() -> None:
    word = MINIMUM.to_word()
    old = FakeAmd(tcb=MINIMUM)
    report = old.report(current_tcb=word, reported_tcb=word, committed_tcb=word, launch_tcb=word)

    old.validator().verify(old.document(report), REPORT_DATA, NOW)


def _extensions() -> Mapping[str, bytes]:
    from contrast_tasks.attestation.issuers.simulated_chain import vcek_extensions

    return vcek_extensions("Milan", TCB, CHIP_ID)


def _flipped(raw: bytes, offset: int) -> bytes:
    return raw[:offset] + bytes([raw[offset] ^ 1 << offset % 8]) + raw[offset + 1 :]


def _is_genuine(raw: bytes, document: Any, trust: Any) -> bool:
    from contrast_tasks.attestation.snp.report import parse_report

    try:
        verify_genuine(replace(document, report=parse_report(raw)), trust, NOW)
    except HardwareRejected:
        return False
    return True
