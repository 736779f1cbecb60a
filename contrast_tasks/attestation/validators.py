"""Validators for a manifest's reference values; a missing value is an error, never an omitted check."""

from contrast_tasks.attestation.snp.crl import CrlSource
from contrast_tasks.attestation.snp.endorsement import TrustAnchor
from contrast_tasks.attestation.snp.expectation import Processors, SnpExpectation
from contrast_tasks.attestation.snp.lines import LINE_SIMULATED, LINES, amd_anchor
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.snp.verify import CertificateSource, SnpValidator, Trust
from contrast_tasks.attestation.snp.vmsa import CPU_SIGNATURES
from contrast_tasks.attestation.tdx.expectation import TD_ATTRIBUTES, TdxExpectation
from contrast_tasks.attestation.tdx.verify import CollateralSource, TdxValidator
from contrast_tasks.attestation.trust_roots import TrustRoots, intel_root_spki
from contrast_tasks.errors import MissingReferenceValues
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.trusted_guests import SimulatedReference, SnpReference, SnpTcb, TdxReference

Validator = SnpValidator | TdxValidator

_MEASUREMENT_BYTES, _CHIP_ID_BYTES, _SHA256_BYTES = 48, 64, 32
_START_ADDRESS_BYTES = 4
_FEATURE_BYTES, _SVN_BYTES, _PIID_BYTES = 8, 16, 16
_RTMRS = 4


def validators_for(
    manifest: Manifest,
    *,
    coordinator_only: bool = False,
    crl: CrlSource | None = None,
    collateral: CollateralSource | None = None,
    certificate: CertificateSource | None = None,
    roots: TrustRoots | None = None,
    allow_vlek: bool = False,
    allow_quote_v5: bool = False,
) -> tuple[Validator, ...]:
    """Return one validator per reference value, in manifest order: snp, tdx, simulated.

    coordinator_only: the peer must also run a policy with the role coordinator.
    crl: further revocation lists, besides those that peers send. certificate: endorsement certificates for SEV-SNP documents
        that have none. collateral: for TDX platforms; without it TDX evidence is refused.
    roots: instead of the bundled ones. allow_vlek: accept SEV-SNP keys of a cloud provider, allow_quote_v5: TDX quotes of
        version 5; a reference value can also accept them by AllowVLEK or AllowQuoteV5.
    Raises MissingReferenceValues naming the member that is missing or has another length.
    """
    hashes = manifest.coordinator_policy_hashes if coordinator_only else None
    values = manifest.reference_values
    anchor = amd_anchor if roots is None else roots.anchor
    validators: list[Validator] = [
        SnpValidator(
            name=f"snp-{index}-{reference.product_name.upper()}",
            expectation=_expectation(reference, f"snp[{index}]"),
            trust=Trust(
                anchor=anchor(reference.product_name),
                allow_vlek=allow_vlek or bool(reference.allow_vlek),
                crl=crl,
                certificate=certificate,
            ),
            policy_hashes=hashes,
        )
        for index, reference in enumerate(values.snp)
    ]
    validators += [
        TdxValidator(
            name=f"tdx-{index}",
            expectation=_tdx_expectation(tdx, f"tdx[{index}]"),
            root_spki=intel_root_spki() if roots is None else roots.intel_spki,
            collateral=collateral,
            policy_hashes=hashes,
            allow_v5=allow_quote_v5 or bool(tdx.allow_quote_v5),
        )
        for index, tdx in enumerate(values.tdx)
    ]
    validators += [
        SnpValidator(
            name=f"simulated-{index}",
            expectation=_expectation(reference, f"simulated[{index}]"),
            trust=Trust(
                anchor=TrustAnchor(
                    line=LINE_SIMULATED,
                    root_sha256=_sized(
                        reference.root_sha256_hex, _SHA256_BYTES, f"simulated[{index}].RootSHA256"
                    ),
                )
            ),
            policy_hashes=hashes,
        )
        for index, reference in enumerate(values.simulated)
    ]
    return tuple(validators)


def _expectation(reference: SnpReference | SimulatedReference, where: str) -> SnpExpectation:
    chip_ids: tuple[str, ...] = ()
    mitigations = 0
    processors = None
    if isinstance(reference, SnpReference):
        chip_ids = reference.allowed_chip_ids or ()
        mitigations = reference.minimum_mitigation_vector or 0
        processors = _processors(reference, where)
    return SnpExpectation(
        measurement=_sized(
            reference.trusted_measurement_hex, _MEASUREMENT_BYTES, f"{where}.TrustedMeasurement"
        ),
        minimum_tcb=_minimum(reference.minimum_tcb, where),
        guest_policy=reference.guest_policy.to_word(),
        platform_info=None
        if reference.platform_info is None
        else reference.platform_info.to_word(),
        chip_ids=frozenset(
            _sized(chip_id, _CHIP_ID_BYTES, f"{where}.AllowedChipIDs") for chip_id in chip_ids
        ),
        mitigation_vector=mitigations,
        processors=processors,
    )


def _processors(reference: SnpReference, where: str) -> Processors | None:
    # A release writes an empty one where there is none.
    if not reference.apeip_hex:
        return None
    signature = CPU_SIGNATURES.get(reference.product_name)
    if signature is None:
        raise _missing(
            f"{where}.APEIP",
            f"given for {reference.product_name}",
            f"given for {' or '.join(name for name in CPU_SIGNATURES if name in LINES)} only",
        )
    address = _sized(reference.apeip_hex, _START_ADDRESS_BYTES, f"{where}.APEIP")
    return Processors(start_address=int.from_bytes(address, "big"), cpu_signature=signature)


def _tdx_expectation(reference: TdxReference, where: str) -> TdxExpectation:
    def sized(text: str, size: int, member: str) -> bytes:
        return _sized(text, size, f"{where}.{member}")

    if len(reference.rtmrs_hex) != _RTMRS:
        raise _missing(f"{where}.Rtmrs", f"{len(reference.rtmrs_hex)} values", f"{_RTMRS} values")
    svn, attributes = reference.minimum_tee_tcb_svn_hex, reference.td_attributes_hex
    return TdxExpectation(
        mr_td=sized(reference.mr_td_hex, _MEASUREMENT_BYTES, "MrTd"),
        mr_seam=sized(reference.mr_seam_hex, _MEASUREMENT_BYTES, "MrSeam"),
        rtmrs=tuple(
            sized(rtmr, _MEASUREMENT_BYTES, f"Rtmrs[{number}]")
            for number, rtmr in enumerate(reference.rtmrs_hex)
        ),
        xfam=sized(reference.xfam_hex, _FEATURE_BYTES, "Xfam"),
        td_attributes=TD_ATTRIBUTES
        if attributes is None
        else sized(attributes, _FEATURE_BYTES, "TdAttributes"),
        minimum_tee_tcb_svn=None if svn is None else sized(svn, _SVN_BYTES, "MinimumTeeTcbSvn"),
        piids=frozenset(
            sized(piid, _PIID_BYTES, "AllowedPIIDs") for piid in reference.allowed_piids or ()
        ),
        memory_integrity=bool(reference.memory_integrity),
        smt_disabled=bool(reference.smt_disabled),
        static_platform=bool(reference.static_platform),
        minimum_evaluation_number=reference.min_tcb_evaluation_data_number or 0,
        minimum_qe_svn=reference.minimum_qe_svn or 0,
        minimum_pce_svn=reference.minimum_pce_svn or 0,
    )


def _minimum(tcb: SnpTcb, where: str) -> Tcb:
    def level(value: int | None, member: str) -> int:
        if value is None:
            raise _missing(f"{where}.MinimumTCB.{member}", "missing", "a number from 0 to 255")
        return value

    return Tcb(
        bootloader=level(tcb.bootloader, "BootloaderVersion"),
        tee=level(tcb.tee, "TEEVersion"),
        snp=level(tcb.snp, "SNPVersion"),
        microcode=level(tcb.microcode, "MicrocodeVersion"),
    )


def _sized(text: str, size: int, member: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError as err:
        raise _missing(member, f"'{text}'", f"{size} bytes of hex") from err
    if len(value) != size:
        raise _missing(member, f"{len(value)} bytes long" if value else "missing", f"{size} bytes")
    return value


def _missing(member: str, found: str, wanted: str) -> MissingReferenceValues:
    return MissingReferenceValues(
        f"reference value {member} is {found}, wanted {wanted}",
        hint="give it in contrast.toml and generate the manifest again",
    )
