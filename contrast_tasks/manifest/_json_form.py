"""The manifest model to and from its JSON document, member by member in the order they are written.

Source: docs/internals/manifest.md 1 (order, spelling), 4.4 (what is left out when empty).
"""

from collections.abc import Mapping
from typing import Any

from contrast_tasks.manifest.model import (
    GuestPolicy,
    Manifest,
    PlatformInfo,
    PolicyEntry,
    ReferenceValues,
    SimulatedReference,
    SnpReference,
    SnpTcb,
    TdxReference,
)

TCB = {
    "BootloaderVersion": "bootloader",
    "TEEVersion": "tee",
    "SNPVersion": "snp",
    "MicrocodeVersion": "microcode",
}
GUEST_POLICY = {
    "ABIMinor": "abi_minor",
    "ABIMajor": "abi_major",
    "SMT": "smt",
    "MigrateMA": "migrate_ma",
    "Debug": "debug",
    "SingleSocket": "single_socket",
    "CXLAllowed": "cxl_allowed",
    "MemAES256XTS": "mem_aes_256_xts",
    "RAPLDis": "rapl_dis",
    "CipherTextHidingDRAM": "ciphertext_hiding_dram",
    "PageSwapDisable": "page_swap_disable",
}
PLATFORM_INFO = {
    "SMTEnabled": "smt_enabled",
    "TSMEEnabled": "tsme_enabled",
    "ECCEnabled": "ecc_enabled",
    "RAPLDisabled": "rapl_disabled",
    "CiphertextHidingDRAMEnabled": "ciphertext_hiding_dram_enabled",
    "AliasCheckComplete": "alias_check_complete",
    "TIOEnabled": "tio_enabled",
}
# JSON member, attribute; None means absent, but for AllowedPIIDs, which is always written.
TDX = {
    "Platform": "platform",
    "MinTCBEvaluationDataNumber": "min_tcb_evaluation_data_number",
    "MrTd": "mr_td_hex",
    "Rtmrs": "rtmrs_hex",
    "MinimumQeSvn": "minimum_qe_svn",
    "MinimumPceSvn": "minimum_pce_svn",
    "MinimumTeeTcbSvn": "minimum_tee_tcb_svn_hex",
    "MrSeam": "mr_seam_hex",
    "TdAttributes": "td_attributes_hex",
    "Xfam": "xfam_hex",
    "AllowedPIIDs": "allowed_piids",
    "MemoryIntegrity": "memory_integrity",
    "SMTDisabled": "smt_disabled",
    "StaticPlatform": "static_platform",
    "AllowQuoteV5": "allow_quote_v5",
    "CPUs": "cpus",
}


def to_json(manifest: Manifest) -> dict[str, Any]:
    """Return the JSON document of a manifest, policies sorted by hash."""
    values = manifest.reference_values
    lists = {
        "snp": [_snp_to_json(entry) for entry in values.snp],
        "tdx": [_tdx_to_json(entry) for entry in values.tdx],
        "simulated": [_simulated_to_json(entry) for entry in values.simulated],
    }
    return {
        "Policies": {
            key: _policy_to_json(manifest.policies[key]) for key in sorted(manifest.policies)
        },
        "ReferenceValues": {name: entries for name, entries in lists.items() if entries},
        "WorkloadOwnerKeyDigests": _nullable(manifest.workload_owner_key_digests),
        "SeedshareOwnerPubKeys": _nullable(manifest.seedshare_owner_pub_keys),
    }


def _nullable(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _policy_to_json(entry: PolicyEntry) -> dict[str, Any]:
    document: dict[str, Any] = {"SANs": None if entry.sans_null else list(entry.sans)}
    if entry.workload_secret_id:
        document["WorkloadSecretID"] = entry.workload_secret_id
    if entry.role:
        document["Role"] = entry.role
    return document


def _part(value: object, names: dict[str, str]) -> dict[str, Any]:
    return {member: getattr(value, attribute) for member, attribute in names.items()}


def _guest_to_json(entry: SnpReference | SimulatedReference) -> dict[str, Any]:
    document: dict[str, Any] = {
        "TrustedMeasurement": entry.trusted_measurement_hex,
        "MinimumTCB": _part(entry.minimum_tcb, TCB),
        "GuestPolicy": _part(entry.guest_policy, GUEST_POLICY),
    }
    if entry.platform_info is not None:
        document["PlatformInfo"] = _part(entry.platform_info, PLATFORM_INFO)
    return document


def _snp_to_json(entry: SnpReference) -> dict[str, Any]:
    document: dict[str, Any] = {
        "Platform": entry.platform,
        "ProductName": entry.product_name,
        **_guest_to_json(entry),
        "MinimumMitigationVector": entry.minimum_mitigation_vector,
        "AllowedChipIDs": _nullable(entry.allowed_chip_ids),
        "APEIP": entry.apeip_hex,
        "AllowVLEK": entry.allow_vlek,
        "CPUs": entry.cpus,
    }
    return _without_none(document, keep="AllowedChipIDs")


def _simulated_to_json(entry: SimulatedReference) -> dict[str, Any]:
    return {"RootSHA256": entry.root_sha256_hex, **_guest_to_json(entry)}


def _tdx_to_json(entry: TdxReference) -> dict[str, Any]:
    document = _part(entry, TDX)
    document["Rtmrs"] = list(entry.rtmrs_hex)
    document["AllowedPIIDs"] = _nullable(entry.allowed_piids)
    return _without_none(document, keep="AllowedPIIDs")


def _without_none(document: dict[str, Any], *, keep: str) -> dict[str, Any]:
    return {
        member: value for member, value in document.items() if value is not None or member == keep
    }


def from_json(document: dict[str, Any]) -> Manifest:
    """Return the manifest of a document that `validate_manifest` accepts but for missing values and old spellings."""
    values = document["ReferenceValues"]
    seedshare = document.get("SeedshareOwnerPubKeys", document.get("SeedshareOwnerKeys"))
    return Manifest(
        policies={key: _policy(entry) for key, entry in document["Policies"].items()},
        reference_values=ReferenceValues(
            snp=tuple(snp_from_json(entry) for entry in values.get("snp") or ()),
            tdx=tuple(tdx_from_json(entry) for entry in values.get("tdx") or ()),
            simulated=tuple(_simulated(entry) for entry in values.get("simulated") or ()),
        ),
        workload_owner_key_digests=_tuple(document["WorkloadOwnerKeyDigests"]),
        seedshare_owner_pub_keys=_tuple(seedshare),
    )


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)


def _policy(entry: dict[str, Any]) -> PolicyEntry:
    return PolicyEntry(
        sans=tuple(entry["SANs"] or ()),
        sans_null=entry["SANs"] is None,
        workload_secret_id=entry.get("WorkloadSecretID", ""),
        role=entry.get("Role", ""),
    )


def _attributes(document: Mapping[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names[member]: value for member, value in document.items() if member in names}


def _guest(entry: Mapping[str, Any]) -> dict[str, Any]:
    info = entry.get("PlatformInfo")
    policy: dict[str, Any] = dict.fromkeys(GUEST_POLICY.values(), False)
    policy |= {"abi_minor": 0, "abi_major": 0} | _attributes(entry["GuestPolicy"], GUEST_POLICY)
    absent = dict.fromkeys(PLATFORM_INFO.values(), False)
    return {
        "trusted_measurement_hex": entry["TrustedMeasurement"],
        "minimum_tcb": SnpTcb(**_attributes(entry.get("MinimumTCB") or {}, TCB)),
        "guest_policy": GuestPolicy(**policy),
        "platform_info": (
            None if info is None else PlatformInfo(**absent | _attributes(info, PLATFORM_INFO))
        ),
    }


def snp_from_json(entry: Mapping[str, Any]) -> SnpReference:
    """Return one SEV-SNP entry."""
    return SnpReference(
        product_name=entry["ProductName"],
        **_guest(entry),
        allowed_chip_ids=_tuple(entry.get("AllowedChipIDs")),
        minimum_mitigation_vector=entry.get("MinimumMitigationVector"),
        apeip_hex=entry.get("APEIP"),
        allow_vlek=entry.get("AllowVLEK"),
        cpus=entry.get("CPUs"),
        platform=entry.get("Platform"),
    )


def _simulated(entry: dict[str, Any]) -> SimulatedReference:
    return SimulatedReference(root_sha256_hex=entry["RootSHA256"], **_guest(entry))


def tdx_from_json(entry: Mapping[str, Any]) -> TdxReference:
    """Return one TDX entry."""
    renamed = {"Rtmrs" if member == "Rtrms" else member: value for member, value in entry.items()}
    values = _attributes(renamed, TDX)
    values["rtmrs_hex"] = tuple(values["rtmrs_hex"])
    values["allowed_piids"] = _tuple(values.get("allowed_piids"))
    return TdxReference(**values)
