"""Extend an SNP launch digest by further virtual processors, as firmware does for each VMSA page that it measures.

A manifest may have the digest for one virtual processor and the start address of the others. The digest for n processors
follows by n - 1 updates with the same page.

Source: SEV-SNP firmware ABI, "PAGE_INFO" of SNP_LAUNCH_UPDATE; initial register values as QEMU sets them (docs/internals/attestation.md 6.1).
"""

import hashlib
import struct
from collections.abc import Iterator
from functools import lru_cache

DIGEST_BYTES = 48
MAXIMUM_VCPUS = 220
# CPUID(1).EAX of the virtual processor models; a guest of one product line has one of them.
CPU_SIGNATURES = {"Milan": 0x00A00F11, "Genoa": 0x00A10F10, "EPYC-v4": 0x00800F12}
SEV_FEATURE_SNP = 1

_PAGE_TYPE_VMSA = 2
_VMSA_ADDRESS = 0xFFFFFFFFF000
_PAGE_INFO = struct.Struct("<48s48sHBBBBBBQ")
_PAGE_BYTES = 4096
_SEGMENT = struct.Struct("<HHIQ")

# Offset: (selector, attributes, limit). The base is zero; only CS has another one, which with RIP is the start address.
_SEGMENTS = {
    0x000: (0, 0x93, 0xFFFF),  # ES
    0x020: (0, 0x93, 0xFFFF),  # SS
    0x030: (0, 0x93, 0xFFFF),  # DS
    0x040: (0, 0x93, 0xFFFF),  # FS
    0x050: (0, 0x93, 0xFFFF),  # GS
    0x060: (0, 0, 0xFFFF),  # GDTR
    0x070: (0, 0x82, 0xFFFF),  # LDTR
    0x080: (0, 0, 0xFFFF),  # IDTR
    0x090: (0, 0x8B, 0xFFFF),  # TR
}
_QUADWORDS = {
    0x0D0: 0x1000,  # EFER
    0x148: 0x40,  # CR4
    0x158: 0x10,  # CR0
    0x160: 0x400,  # DR7
    0x168: 0xFFFF0FF0,  # DR6
    0x170: 0x2,  # RFLAGS
    0x268: 0x0007040600070406,  # G_PAT
    0x3E8: 0x1,  # XCR0
}


def vmsa_page(start_address: int, *, cpu_signature: int, features: int = SEV_FEATURE_SNP) -> bytes:
    """Return the 4096 bytes of a virtual processor's initial save area under QEMU.

    start_address: initial EIP, 32 bits; cpu_signature: CPUID(1).EAX; features: SEV_FEATURES.
    """
    page = bytearray(_PAGE_BYTES)
    for offset, (selector, attributes, limit) in _SEGMENTS.items():
        _SEGMENT.pack_into(page, offset, selector, attributes, limit, 0)
    _SEGMENT.pack_into(page, 0x010, 0xF000, 0x9B, 0xFFFF, start_address & 0xFFFF0000)
    for offset, value in _QUADWORDS.items():
        struct.pack_into("<Q", page, offset, value)
    struct.pack_into("<Q", page, 0x178, start_address & 0xFFFF)  # RIP
    struct.pack_into("<Q", page, 0x310, cpu_signature)  # RDX
    struct.pack_into("<Q", page, 0x3B0, features)
    struct.pack_into("<I", page, 0x408, 0x1F80)  # MXCSR
    struct.pack_into("<H", page, 0x410, 0x37F)  # FCW
    return bytes(page)


def extend_by_vmsa(launch_digest: bytes, page_digest: bytes) -> bytes:
    """Return the launch digest (48 bytes) after one more save area, of this SHA-384, was measured."""
    info = _PAGE_INFO.pack(
        launch_digest, page_digest, _PAGE_INFO.size, _PAGE_TYPE_VMSA, 0, 0, 0, 0, 0, _VMSA_ADDRESS
    )
    return hashlib.sha384(info).digest()


def digests_by_vcpus(seed: bytes, ap_start: int, *, cpu_signature: int) -> Iterator[bytes]:
    """Yield the launch digest for 1, 2, ... 220 virtual processors.

    seed: the digest for one, 48 bytes; ap_start: 32-bit start address of the others (APEIP).
    """
    page_digest = hashlib.sha384(vmsa_page(ap_start, cpu_signature=cpu_signature)).digest()
    digest = seed
    for _ in range(MAXIMUM_VCPUS):
        yield digest
        digest = extend_by_vmsa(digest, page_digest)


@lru_cache(maxsize=64)
def vcpus_by_digest(seed: bytes, ap_start: int, cpu_signature: int) -> dict[bytes, int]:
    """Return each acceptable launch digest with its number of virtual processors; computed once per seed."""
    digests = digests_by_vcpus(seed, ap_start, cpu_signature=cpu_signature)
    return {digest: count for count, digest in enumerate(digests, start=1)}
