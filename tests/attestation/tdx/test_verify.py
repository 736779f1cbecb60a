"""Rules that hold for every TD whatever its reference value says, and those of older and newer manifests."""

from typing import Any

import pytest

from contrast_tasks.attestation.errors import ClaimsRejected, CollateralUnavailable, WrongPolicyHash
from contrast_tasks.attestation.tdx.collateral import parse_collateral
from contrast_tasks.attestation.tdx.document import render_document
from contrast_tasks.attestation.tdx.expectation import TdxExpectation
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.tdx.tcb import TcbStatus
from contrast_tasks.attestation.tdx.verify import TdxValidator
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.trusted_guests import ReferenceValues, TdxReference
from tests.attestation.tdx.test_negative import expectation, verify
from tests.fakes.intel import NOW, Body, Intel, changed

INTEL = Intel()


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        pytest.param("0100001000000000", "TDATTRIBUTES.DEBUG", id="55 debug"),
        *(
            pytest.param(
                (1 << bit | 1 << 28).to_bytes(8, "little").hex(), "TDATTRIBUTES", id=f"56 bit {bit}"
            )
            for bit in (1, 7, 8, 27, 29, 31, 32, 62)
        ),
    ],
)
def test_55_56_attributes_are_refused_even_if_the_reference_value_has_them(
    attributes: str, field: str
) -> None:
    body = changed(Body(), td_attributes=bytes.fromhex(attributes))

    with pytest.raises(ClaimsRejected) as caught:
        verify(INTEL, INTEL.quote(body), expected=expectation(td_attributes=body.td_attributes))

    assert [check.field for check in caught.value.failed] == [field]


@pytest.mark.parametrize("bit", [28, 30, 63])
def test_attributes_that_we_know_are_accepted_where_the_reference_value_has_them(bit: int) -> None:
    body = changed(Body(), td_attributes=(1 << bit).to_bytes(8, "little"))

    status = verify(
        INTEL, INTEL.quote(body), expected=expectation(td_attributes=body.td_attributes)
    )

    assert status is TcbStatus.UpToDate


@pytest.mark.parametrize(
    "xfam",
    [
        pytest.param(0x602E6, id="without bit 0"),
        pytest.param(0x602E5, id="without bit 1"),
        pytest.param(0x0, id="nothing"),
        *(pytest.param(0x602E7 | 1 << bit, id=f"bit {bit}") for bit in (3, 4, 10, 13, 16, 19, 63)),
    ],
)
def test_57_extended_features_are_refused_even_if_the_reference_value_has_them(xfam: int) -> None:
    body = changed(Body(), xfam=xfam.to_bytes(8, "little"))

    with pytest.raises(ClaimsRejected) as caught:
        verify(INTEL, INTEL.quote(body), expected=expectation(xfam=body.xfam))

    assert [(check.field, check.wanted) for check in caught.value.failed] == [
        ("XFAM", "bits 0 and 1, and none outside 0x6dbe7")
    ]


@pytest.mark.parametrize("place", [0, 47])
def test_59_a_service_td_is_refused(place: int) -> None:
    bound = bytes(place) + b"\1" + bytes(47 - place)

    with pytest.raises(
        ClaimsRejected, match=f"MRSERVICETD is {bound.hex()}, but {bytes(48).hex()}"
    ):
        verify(INTEL, INTEL.quote(version=5, service_td=bound), allow_v5=True)


@pytest.mark.parametrize("index", range(16))
def test_60_every_component_of_the_minimum_counts(index: int) -> None:
    svn = bytearray(Body().tee_tcb_svn)
    assert verify(INTEL, expected=expectation(minimum_tee_tcb_svn=bytes(svn))) is TcbStatus.UpToDate
    svn[index] += 1

    with pytest.raises(ClaimsRejected, match="TEE_TCB_SVN is"):
        verify(INTEL, expected=expectation(minimum_tee_tcb_svn=bytes(svn)))


def test_60_all_ones_show_the_real_value() -> None:
    with pytest.raises(ClaimsRejected, match=Body().tee_tcb_svn.hex()):
        verify(INTEL, expected=expectation(minimum_tee_tcb_svn=b"\xff" * 16))


@pytest.mark.parametrize("offset", [*range(48), *range(48, 632, 7)])
@pytest.mark.first(16)
def test_52_every_byte_of_the_header_counts(offset: int) -> None:
    quote = bytearray(INTEL.quote())
    quote[offset] ^= 0x80

    with pytest.raises(EvidenceRejected):
        verify(INTEL, bytes(quote))


@pytest.mark.parametrize("member", ["minimum_qe_svn", "minimum_pce_svn"])
def test_a_minimum_of_early_manifests_is_compared_with_the_header(member: str) -> None:
    values: dict[str, Any] = {
        "mr_td_hex": Body().mr_td.hex(),
        "mr_seam_hex": Body().mr_seam.hex(),
        "rtmrs_hex": tuple(one.hex() for one in Body().rtmrs),
        "xfam_hex": Body().xfam.hex(),
    }

    def expected(minimum: int | None) -> TdxExpectation:
        reference = TdxReference(**values, **{member: minimum})
        (validator,) = validators_for(
            Manifest(policies={}, reference_values=ReferenceValues(tdx=(reference,)))
        )
        assert isinstance(validator, TdxValidator)
        return validator.expectation

    for nothing in (None, 0):
        assert verify(INTEL, expected=expected(nothing)) is TcbStatus.UpToDate
    with pytest.raises(ClaimsRejected, match="SVN of the header is 0, but at least 1 is wanted"):
        verify(INTEL, expected=expected(1))


@pytest.mark.parametrize("older", ["tcb_info", "qe_identity"])
def test_72_both_parts_of_the_collateral_have_to_be_new_enough(older: str) -> None:
    said = getattr(INTEL, older)(tcbEvaluationDataNumber=17)
    bundle = INTEL.collateral(**{older: said})

    with pytest.raises(ClaimsRejected, match="tcbEvaluationDataNumber is 17, but at least 18"):
        verify(INTEL, collateral=bundle, expected=expectation(minimum_evaluation_number=18))
    status = verify(INTEL, collateral=bundle, expected=expectation(minimum_evaluation_number=17))
    assert status is TcbStatus.UpToDate


def test_73_collateral_in_the_trailing_bytes_is_not_collateral_at_hand() -> None:
    quote = INTEL.quote(trailing=b'{"Collateral": ' + INTEL.collateral() + b"}")
    validator = TdxValidator(name="tdx-0", expectation=expectation(), root_spki=INTEL.root_spki)

    with pytest.raises(CollateralUnavailable):
        validator.judge(parse_quote(quote), Body().report_data, NOW)


def test_a_policy_of_another_build_is_told_with_what_to_do() -> None:
    bundle = parse_collateral(INTEL.collateral())
    validator = TdxValidator(
        name="tdx-0",
        expectation=expectation(),
        root_spki=INTEL.root_spki,
        collateral=lambda _fmspc, _authority: bundle,
        policy_hashes=("ab" * 32,),
    )
    document = render_document(parse_quote(INTEL.quote()))

    with pytest.raises(WrongPolicyHash, match=f"found {'c0' * 32}, wanted {'ab' * 32}") as caught:
        validator.verify(document, Body().report_data, NOW)

    assert "use the manifest it was deployed with" in caught.value.hint
