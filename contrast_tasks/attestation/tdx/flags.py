"""The flags in a quote's words. Source: Intel TDX module specification; for enclaves, Intel SDM volume 3D."""

from contrast_tasks.attestation.flags import Flag, Flags

TD_ATTRIBUTES: Flags = {
    0: Flag("DEBUG"),
    28: Flag("SEPT_VE_DISABLE"),
    29: Flag("MIGRATABLE"),
    30: Flag("PKS"),
    31: Flag("KL"),
    63: Flag("PERFMON"),
}
XFAM: Flags = {
    0: Flag("x87"),
    1: Flag("SSE"),
    2: Flag("AVX"),
    5: Flag("AVX-512 opmask"),
    6: Flag("AVX-512 ZMM high 256"),
    7: Flag("AVX-512 high 16 ZMM"),
    8: Flag("PT"),
    9: Flag("PKRU"),
    11: Flag("CET user"),
    12: Flag("CET supervisor"),
    14: Flag("UINTR"),
    15: Flag("LBR"),
    17: Flag("AMX tile configuration"),
    18: Flag("AMX tile data"),
}
ENCLAVE_ATTRIBUTES: Flags = {
    0: Flag("INIT"),
    1: Flag("DEBUG"),
    2: Flag("MODE64BIT"),
    4: Flag("PROVISIONKEY"),
    5: Flag("EINITTOKEN_KEY"),
    6: Flag("CET"),
    7: Flag("KSS"),
}
