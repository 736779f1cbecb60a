"""Calculate the launch digest of an SNP guest from firmware, kernel, initrd, command line and number of processors.

The library `sev-snp-measure` (extra `measure`) does the calculation. It reads files by path and raises arbitrary errors of its
parsing, which become errors that name the file.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contrast_tasks.attestation.snp.vmsa import CPU_SIGNATURES, SEV_FEATURE_SNP
from contrast_tasks.errors import Location, UsageError

_SIGNATURE = re.compile(r"0[xX][0-9a-fA-F]{1,8}")


def launch_digest(
    firmware: Path,
    *,
    product: str,
    vcpus: int = 1,
    kernel: Path | None = None,
    initrd: Path | None = None,
    command_line: str | None = None,
    features: int = SEV_FEATURE_SNP,
    firmware_digest_hex: str = "",
) -> bytes:
    """Return the launch digest of a guest under QEMU, 48 bytes; without a kernel, no kernel hashes are measured.

    product: `Milan`, `Genoa`, QEMU's name of the virtual processor model, or its CPUID(1).EAX as `0xa00f11`.
    firmware_digest_hex: the digest over the firmware's own pages (48 bytes), if only the end of the image is available.
    Raises UsageError naming the unusable file.
    """
    signature = cpu_signature(product)
    for path in (firmware, kernel, initrd):
        if path is not None and not path.is_file():
            raise UsageError("file does not exist", where=Location(file=str(path)))
    guest, vmm = _library()
    digest = _guarded(
        firmware,
        lambda: guest.snp_calc_launch_digest(
            vcpus,
            signature,
            str(firmware),
            str(kernel) if kernel else None,
            str(initrd) if initrd else None,
            command_line,
            features,
            firmware_digest_hex,
            vmm_type=vmm,
        ),
    )
    return bytes(digest)


def cpu_signature(model: str) -> int:
    """Return CPUID(1).EAX for the name of a virtual processor model or a number as text; raises UsageError."""
    _library()
    from sevsnpmeasure.vcpu_types import CPU_SIGS

    known: dict[str, int] = {**CPU_SIGS, **CPU_SIGNATURES}
    found = known.get(model)
    if found is None and _SIGNATURE.fullmatch(model):
        found = int(model, 16)
    if found is None:
        raise UsageError(
            f"unknown product {model!r}, wanted one of {', '.join(dict.fromkeys([*CPU_SIGNATURES, *CPU_SIGS]))}, "
            "or CPUID(1).EAX as 0xa00f11"
        )
    return found


def ap_start_address(firmware: Path) -> int:
    """Return the 32-bit start address of all processors but the first, from the firmware's table."""
    _library()
    from sevsnpmeasure.ovmf import OVMF

    return int(_guarded(firmware, lambda: OVMF(str(firmware)).sev_es_reset_eip()))


def _library() -> tuple[Any, Any]:
    try:
        from sevsnpmeasure import guest
        from sevsnpmeasure.vmm_types import VMMType
    except ImportError as err:
        raise UsageError(
            "launch digests need the library sev-snp-measure",
            hint="install contrast-tasks with the extra 'measure'",
        ) from err
    return guest, VMMType.QEMU


def _guarded(firmware: Path, calculate: Callable[[], Any]) -> Any:
    try:
        return calculate()
    # The library's parsing raises these for firmware it does not understand.
    except (AssertionError, RuntimeError, KeyError, ValueError, IndexError) as err:
        raise UsageError(
            f"the firmware cannot be measured: {str(err) or 'it is not made of whole pages of 4096 bytes'}",
            where=Location(file=str(firmware)),
            hint="wanted an OVMF image built with SEV-SNP support, with a kernel hash table where a kernel is given",
        ) from err
