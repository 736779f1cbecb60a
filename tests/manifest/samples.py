"""Manifests that tests begin with and then change in one place."""

import copy
from typing import Any

MEASUREMENT = "6c" * 48
COORDINATOR = "a1" * 32
WEB = "b2" * 32
ROOT = "c3" * 32

GUEST_POLICY: dict[str, Any] = {
    "ABIMinor": 0,
    "ABIMajor": 0,
    "SMT": True,
    "MigrateMA": False,
    "Debug": False,
    "SingleSocket": False,
    "CXLAllowed": False,
    "MemAES256XTS": False,
    "RAPLDis": False,
    "CipherTextHidingDRAM": False,
    "PageSwapDisable": False,
}
PLATFORM_INFO: dict[str, Any] = {
    "SMTEnabled": True,
    "TSMEEnabled": False,
    "ECCEnabled": False,
    "RAPLDisabled": False,
    "CiphertextHidingDRAMEnabled": False,
    "AliasCheckComplete": False,
    "TIOEnabled": False,
}
TCB: dict[str, Any] = {
    "BootloaderVersion": 3,
    "TEEVersion": 0,
    "SNPVersion": 8,
    "MicrocodeVersion": 115,
}
SNP: dict[str, Any] = {
    "ProductName": "Milan",
    "TrustedMeasurement": MEASUREMENT,
    "MinimumTCB": TCB,
    "GuestPolicy": GUEST_POLICY,
    "PlatformInfo": PLATFORM_INFO,
    "AllowedChipIDs": None,
}
TDX: dict[str, Any] = {
    "MrTd": "1a" * 48,
    "Rtmrs": ["2b" * 48, "3c" * 48, "4d" * 48, "00" * 48],
    "MinimumQeSvn": 0,
    "MinimumPceSvn": 0,
    "MinimumTeeTcbSvn": "0d" * 16,
    "MrSeam": "5e" * 48,
    "TdAttributes": "0000001000000000",
    "Xfam": "e702060000000000",
    "AllowedPIIDs": None,
    "MemoryIntegrity": False,
}
SIMULATED: dict[str, Any] = {
    "RootSHA256": ROOT,
    "TrustedMeasurement": MEASUREMENT,
    "MinimumTCB": TCB,
    "GuestPolicy": GUEST_POLICY,
    "PlatformInfo": PLATFORM_INFO,
}
# A P-384 key of the release fixtures, in the manifests of v1.20.0 and, as digest, of v1.9.0.
OWNER = (
    "3076301006072a8648ce3d020106052b810400220362000434254c0fbbbe98b04adf902cb8635f2e21922a7744c2d0d7aa729a2e68b35fcad2170c9e"
    "f5bf91609ff08c5690ebf1265b7332f11ab2e5d6048eed83c713a3c2b7ad3e26ebbc7b6444b0372742f38bf7ea8ba732d575546b7325d8a4a79e50d8"
)
OWNER_DIGEST = "616b0295105f781f40850bf832eb0169890c25b56cc4d9ca6408a8116fb3510d"
# A PKCS#1 RSAPublicKey with a modulus of 2048 bits (2**2047 + 1) and exponent 65537.
RSA_KEY = "3082010a0282010100" + "80" + "00" * 254 + "01" + "0203010001"


def document(**values: Any) -> dict[str, Any]:
    """Return a valid manifest document; values: the lists of ReferenceValues, one SNP entry by default."""
    return copy.deepcopy(
        {
            "Policies": {
                COORDINATOR: {
                    "SANs": ["coordinator", "*"],
                    "WorkloadSecretID": "apps/v1/StatefulSet/default/coordinator",
                    "Role": "coordinator",
                },
                WEB: {
                    "SANs": ["web", "*", "203.0.113.34"],
                    "WorkloadSecretID": "apps/v1/Deployment/default/web",
                },
            },
            "ReferenceValues": values or {"snp": [SNP]},
            "WorkloadOwnerKeyDigests": ["d4" * 32],
            "SeedshareOwnerPubKeys": [RSA_KEY],
        }
    )


ABSENT = object()


def changed(base: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """Return a copy of `base` with `value` at `path`; ABSENT removes the member."""
    result = copy.deepcopy(base)
    place: Any = result
    for step in path[:-1]:
        place = place[step]
    if value is ABSENT:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return result
