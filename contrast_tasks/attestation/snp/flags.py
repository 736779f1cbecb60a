"""The flags in a report's words: their names in the ABI, and how a verdict treats them.

Source: docs/internals/attestation.md 2.3, 2.4.
"""

from contrast_tasks.attestation.flags import Flag, Flags

# The low 16 bits of the guest policy are the version of the ABI.
ABI_VERSION = 0xFFFF
GUEST_POLICY: Flags = {
    16: Flag("SMT", "policy-smt"),
    17: Flag("reserved, must be one"),
    18: Flag("MIGRATE_MA", "policy-migrate-ma"),
    19: Flag("DEBUG", "debug"),
    20: Flag("SINGLE_SOCKET", "policy-single-socket", demanded=True),
    21: Flag("CXL_ALLOW", "policy-cxl"),
    22: Flag("MEM_AES_256_XTS", "policy-mem-aes-256-xts", demanded=True),
    23: Flag("RAPL_DIS", "policy-rapl-dis", demanded=True),
    24: Flag("CIPHERTEXT_HIDING_DRAM", "policy-ciphertext-hiding", demanded=True),
    25: Flag("PAGE_SWAP_DISABLE", "policy-page-swap-disable", demanded=True),
}
POLICY_DEBUG = 1 << 19
PLATFORM_INFO: Flags = {
    0: Flag("SMT_EN", "smt-enabled", member="SMTEnabled"),
    1: Flag("TSME_EN", "tsme-enabled", member="TSMEEnabled"),
    2: Flag("ECC_EN", "ecc-enabled", demanded=True, member="ECCEnabled"),
    3: Flag("RAPL_DIS", "rapl-disabled", demanded=True, member="RAPLDisabled"),
    4: Flag(
        "CIPHERTEXT_HIDING_DRAM_EN",
        "ciphertext-hiding-enabled",
        demanded=True,
        member="CiphertextHidingDRAMEnabled",
    ),
    5: Flag(
        "ALIAS_CHECK_COMPLETE", "alias-check-complete", demanded=True, member="AliasCheckComplete"
    ),
    7: Flag("TIO_EN", "tio-enabled", member="TIOEnabled"),
}
SIGNER_INFO: Flags = {0: Flag("AUTHOR_KEY_EN"), 1: Flag("MASK_CHIP_KEY")}
