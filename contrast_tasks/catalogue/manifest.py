"""Findings on the manifest."""

from contrast_tasks.catalogue.entry import define

_MEASUREMENTS = (
    "name a file with the measurements of your runtime in contrast.toml: [reference_values] file; "
    "'contrast-tasks measure' calculates them from firmware, kernel and initrd"
)
_MR_SEAM = (
    "take the SHA-384 of the TDX module, 'sha384sum /boot/efi/EFI/TDX/TDX-SEAM.so' on the host, "
    "or observe it with 'contrast-tasks probe -c HOST:PORT', and set it in contrast.toml: reference_values.tdx.mr_seam"
)
_TEE_TCB_SVN = (
    "observe TEE_TCB_SVN of the host with 'contrast-tasks probe -c HOST:PORT', or read it from a quote "
    "with 'contrast-tasks evidence show', and set it in contrast.toml: "
    "reference_values.tdx.minimum_tee_tcb_svn"
)
_MINIMUM_TCB = (
    "read the reported TCB of the host with 'snphost show tcb', "
    "or observe it with 'contrast-tasks probe -c HOST:PORT'"
)
_GENERATE = "let generate write the manifest, or correct the member"

NOT_JSON = define(
    "M001 not-json error", "the manifest is not one strict JSON object", advice=_GENERATE
)
OLD_SPELLING = define(
    "M002 old-spelling warning", "a member has its old name", advice="use the new name"
)
TWO_SPELLINGS = define(
    "M002 two-spellings error",
    "a member occurs in two spellings with different values",
    advice="give both the same value, or remove the one that your release does not read",
)
UNKNOWN_MEMBER = define(
    "M002 unknown-member error|warning", "a member is unknown", advice="remove it or correct it"
)
WRONG_CAPITALS = define(
    "M002 wrong-capitals error|warning",
    "a member differs from a known one only in upper and lower case",
    advice="write it as the message says",
)
MEMBER_TYPE = define("M003 wrong-type error", "a value is of the wrong type", advice=_GENERATE)
ABSENT_MEMBER = define("M004 absent-member error", "a required member is missing", advice=_GENERATE)
IGNORED_MEMBER = define(
    "M005 ignored-member warning",
    "the release does not read a member, so that it has no effect",
    "write what the release reads: set runtime.release in contrast.toml, and generate again",
)
IGNORED_VALUE = define(
    "M006 ignored-value error",
    "a reference value is set that the release does not read, so that it would have no effect",
    "remove it, or choose a release that reads it: runtime.release in contrast.toml",
)
OWN_MEMBER = define(
    "M007 own-member error|note",
    "a value is set that only our Coordinator honours, not that of the reference product",
    "remove it unless the Coordinator is ours: components.reference = false",
)
NO_POLICIES = define(
    "M010 no-policies error", "there is no policy", advice="generate with a confidential workload"
)
POLICY_HASH_NOT_HEX = define(
    "M011 policy-hash error", "the hash of a policy is not hex", advice=_GENERATE
)
POLICY_HASH_LENGTH = define(
    "M012 policy-hash error", "the hash of a policy does not have 64 hex digits", advice=_GENERATE
)
POLICY_HASH_CAPITALS = define(
    "M013 policy-hash error", "the hash of a policy has upper-case digits", advice=_GENERATE
)
ROLE = define("M014 role error", "a role is unknown", advice="write coordinator, or no role")
SAN = define(
    "M015 san error",
    "a SAN is neither an IP address, a DNS name, '*' nor a URI",
    advice="correct it in contrast.toml",
)
UNSOUND_SAN = define(
    "M015 unsound-san warning",
    "a SAN is a URI with a malformed host or escape, for which verifiers in Go refuse the whole certificate",
    "correct the URI, or remove it",
)
DUPLICATE_SAN = define(
    "M016 duplicate-san warning", "a policy has a SAN twice", advice="remove one of the two"
)
SHARED_SECRET_ID = define(
    "M017 shared-secret-id warning",
    "two policies share their workload secret",
    advice="give the workloads different workload-secret-id annotations",
)
POLICY_SHARED = define(
    "M018 policy-shared warning",
    "two workloads have the same policy and are one identity",
    advice="make their pods differ if they must be distinguished",
)
POLICY_CONFLICT = define(
    "M019 policy-conflict error",
    "two workloads have the same policy and need different entries for it",
    "give both the same workload-secret-id and role, or make their pods differ",
)
NO_COORDINATOR_POLICY = define(
    "M020 no-coordinator error",
    "no policy has the role coordinator",
    "add the Coordinator's resources to the sources, or set coordinator.include",
)
MANY_COORDINATORS = define(
    "M021 many-coordinators error",
    "more than one policy has the role coordinator",
    advice="keep one Coordinator in the sources",
)
SECRET_IS_KEY = define(
    "M022 secret-is-transit-key error",
    "the workload secret of a policy holds a transit key of another",
    advice="give one of the two workloads another workload-secret-id",
)
NO_REFERENCE_VALUES = define(
    "M030 no-reference-values error",
    "there are no reference values",
    "the platform may not be supported",
)
PRODUCT_NAME = define(
    "M031 product-name error", "an SEV-SNP product is unknown", advice="write Milan or Genoa"
)
MEASUREMENT = define(
    "M032 measurement error",
    "a launch measurement is not 96 hex digits, or is all zero",
    advice=_MEASUREMENTS,
)
MISSING_MEASUREMENT = define(
    "M032 missing-measurement error", "the launch measurement is not filled in", _MEASUREMENTS
)
MISSING_MINIMUM_TCB = define(
    "M033 missing-minimum-tcb error", "a minimum patch level is not filled in", _MINIMUM_TCB
)
SVN_RANGE = define(
    "M034 svn-range error",
    "a patch level is not an integer from 0 to 255",
    advice=_MINIMUM_TCB,
)
SVN_PLACEHOLDER = define(
    "M035 svn-placeholder warning",
    "a patch level is 255, which no processor reaches",
    _MINIMUM_TCB,
)
GUEST_POLICY = define(
    "M036 guest-policy error|warning",
    "the guest policy is not the one that the release prescribes; or, where it is free, the host may read the guest's memory",
    advice="write the value that the message names",
)
CHIP_ID = define(
    "M037 chip-id error",
    "a chip id is not 128 hex digits",
    advice="take it from 'contrast-tasks probe -c HOST:PORT'",
)
APEIP = define(
    "M038 apeip error",
    "the entry point of the application processors is not 8 hex digits",
    advice=_MEASUREMENTS,
)
MISSING_MR_TD = define("M040 missing-measurement error", "MRTD is not filled in", _MEASUREMENTS)
MR_TD = define("M040 mr-td error", "MRTD is not 96 hex digits", advice=_MEASUREMENTS)
MISSING_MR_SEAM = define("M041 missing-mr-seam error", "MRSEAM is not filled in", _MR_SEAM)
MR_SEAM = define("M041 mr-seam error", "MRSEAM is not 96 hex digits", advice=_MR_SEAM)
MISSING_TEE_TCB_SVN = define(
    "M042 missing-tee-tcb-svn error",
    "the patch levels of the TDX module are not filled in",
    _TEE_TCB_SVN,
)
TEE_TCB_SVN = define(
    "M042 tee-tcb-svn error",
    "the patch levels of the TDX module are not 32 hex digits",
    advice=_TEE_TCB_SVN,
)
MISSING_RTMR = define("M043 missing-measurement error", "an RTMR is not filled in", _MEASUREMENTS)
RTMRS = define(
    "M043 rtmrs error", "the RTMRs are not four values of 96 hex digits", advice=_MEASUREMENTS
)
TDX_FEATURES = define(
    "M044 tdx-features error",
    "TdAttributes or Xfam is not 16 hex digits",
    advice="observe it with 'contrast-tasks probe -c HOST:PORT'",
)
TDX_SVN = define(
    "M045 tdx-svn error",
    "the version of an enclave is not an integer from 0 to 65535",
    advice="observe it with 'contrast-tasks probe -c HOST:PORT'",
)
PIID = define(
    "M046 piid error",
    "a platform instance id is not 32 hex digits",
    advice="take it from 'contrast-tasks probe -c HOST:PORT'",
)
MR_SEAM_PLACEHOLDER = define(
    "M047 mr-seam-placeholder warning", "MRSEAM is all zero, which no TDX module has", _MR_SEAM
)
TEE_TCB_SVN_PLACEHOLDER = define(
    "M048 tee-tcb-svn-placeholder warning",
    "the patch levels of the TDX module are all ff, which no platform reaches",
    _TEE_TCB_SVN,
)
WORKLOAD_OWNER = define(
    "M050 workload-owner error",
    "the key of a workload owner, or its digest, is malformed or occurs twice",
    advice="let generate write the list; the form that your release reads is in docs/reference/manifest.md",
)
IMMUTABLE = define(
    "M051 immutable warning",
    "the manifest names no workload owner, so it can never be replaced",
    advice="add a workload owner key if the manifest is to be updated",
)
SEEDSHARE_OWNER = define(
    "M052 seedshare-owner error",
    "the key of a seed share owner is malformed, too short or occurs twice",
    advice="write a PKCS#1 RSA public key of at least 2048 bits in lower-case hex, each once",
)
NO_RECOVERY = define(
    "M053 no-recovery warning",
    "the manifest names no seed share owner, so the Coordinator cannot be recovered",
    advice="add the key of a seed share owner",
)
APPROVALS = define(
    "M054 approvals error",
    "more workload owners have to approve an update than the manifest lists with their whole keys, so it could never be replaced",
    advice="list more keys under [owners] in contrast.toml, of a release that lists whole keys, or lower `approvals`",
)
MIXED_PLATFORMS = define(
    "M060 mixed-platforms error",
    "both simulated evidence and evidence of real hardware would be accepted",
    advice="keep one of the two",
)
SIMULATED_ROOT = define(
    "M061 simulated-root error",
    "the digest of a simulated root is not 64 hex digits",
    advice=_GENERATE,
)

PLAIN_SIZE = define(
    "M070 plain-size error|warning",
    "manifest and policies are larger than clients and Coordinators of the reference product take",
    "set with contrast-tasks, whose Coordinator takes them in packs, or give a part of the workloads a Coordinator of their own",
)

MISSING_VALUES = frozenset(
    {
        MISSING_MEASUREMENT,
        MISSING_MINIMUM_TCB,
        MISSING_MR_SEAM,
        MISSING_MR_TD,
        MISSING_RTMR,
        MISSING_TEE_TCB_SVN,
    }
)
"""What generate tolerates: missing values that only the user can know."""
LATER_RULES = frozenset({SECRET_IS_KEY})
"""Rules that manifests may break which were in force before: they are refused as new ones only."""
