"""Calculate reference values of a runtime from the files that its guests are started with, and write them for the settings.

Values that cannot be calculated, such as the machine's firmware levels, are listed with hints how to get them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks import catalogue
from contrast_tasks.errors import UsageError
from contrast_tasks.evidence.named_files import errors_name, read_file
from contrast_tasks.files import pretty_json, write_atomic
from contrast_tasks.json_text import NotJson, read_json
from contrast_tasks.platforms import Platform
from contrast_tasks.releases.table import RELEASES, Release
from contrast_tasks.settings.model import ReferenceOverrides

if TYPE_CHECKING:
    from contrast_tasks.findings import Finding

_ZERO_REGISTER = "00" * 48
_DIGEST_BYTES = 48
_MOST_VCPUS = 220


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What a guest is started with.

    vcpus: numbers of virtual processors, one SEV-SNP entry each; any_vcpus: one entry for up to 220 of them.
    cpu: QEMU's virtual processor model, empty for the product's own; features: SEV_FEATURES.
    firmware_digest_hex: replaces the firmware's pages, if only the end of the image is available.
    machine_digests: what TDX firmware measures of the machine, 48 bytes each, in order. boot_option: the measured value of
    Boot0000, None for OVMF's own. final_separator: see `rtmr0`. pages_first: see `mrtd`.
    """

    firmware: Path
    kernel: Path | None = None
    initrd: Path | None = None
    command_line: str | None = None
    vcpus: tuple[int, ...] = (1,)
    any_vcpus: bool = False
    cpu: str = ""
    features: int = 1
    firmware_digest_hex: str = ""
    machine_digests: tuple[bytes, ...] = ()
    boot_option: bytes | None = None
    final_separator: bool = False
    pages_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingValue:
    """A value that a manifest needs and that is unknown. name: dotted; hint: how to get it."""

    name: str
    hint: str


def measure(platform: Platform, guest: Guest, release: Release) -> dict[str, Any]:
    """Return the platform's part of a reference value file: `snp` or `tdx` entries in the manifest's spelling.

    Only what the release reads is written: the number of processors and APEIP are in the manifests of some releases.
    Raises UsageError for files that cannot be measured, and for platforms whose values do not come from such files.
    """
    if platform.tee == "simulated":
        raise UsageError(
            f"platform {platform.name} is simulated: its measurement is fixed, there is nothing to measure"
        )
    if platform.name.startswith("aks-"):
        raise UsageError(
            f"guests of {platform.name} are measured from an IGVM image, not from firmware and kernel",
            hint="use the values of the runtime release: [reference_values] file",
        )
    if guest.kernel is None and (guest.initrd or guest.command_line):
        raise UsageError("--initrd and --append are measured with a kernel only: give --kernel too")
    if guest.any_vcpus and (guest.vcpus != (1,) or guest.cpu or guest.features != 1):
        raise UsageError(
            "--any-vcpus measures the product's own processor, without --vcpus, --cpu and --features",
            hint="verifiers extend the measurement by such processors only",
        )
    if platform.tee == "tdx":
        return {"tdx": [_tdx_entry(guest)]}
    members = release.manifest.snp
    if guest.any_vcpus and "APEIP" not in members:
        readers = ", ".join(row.name for row in RELEASES if "APEIP" in row.manifest.snp)
        raise UsageError(
            f"--any-vcpus writes APEIP, which release {release.name} does not read",
            hint=f"measure each number of processors with --vcpus; releases that read it: {readers}",
        )
    _check_number(guest, release)
    # As releases list them: by the number of processors, then by product.
    entries = [
        _snp_entry(guest, product, vcpus) for vcpus in guest.vcpus for product in platform.products
    ]
    return {"snp": [{name: entry[name] for name in entry if name in members} for entry in entries]}


def _check_number(guest: Guest, release: Release) -> None:
    """Raise UsageError for a number of processors of which the release's manifest or pods cannot tell."""
    form = release.id_blocks
    most = max(guest.vcpus)
    if form is None or most == 1:
        return
    if not form.by_entry:
        raise UsageError(
            f"--vcpus {most} does not show in the manifest of release {release.name}, which holds the measurement"
            " for one virtual processor",
            hint="the others follow from it: use --any-vcpus",
        )
    if most > form.max_cpus:
        raise UsageError(
            f"--vcpus {most} is more than the guests of release {release.name} have, wanted 1 to {form.max_cpus}"
        )


def _snp_entry(guest: Guest, product: str, vcpus: int) -> dict[str, Any]:
    from contrast_tasks.attestation.snp.measure import ap_start_address, launch_digest

    if guest.machine_digests or guest.boot_option is not None or guest.pages_first:
        raise UsageError(
            "machine digests, boot option and the order of pages are measured on TDX only"
        )
    if not 1 <= vcpus <= _MOST_VCPUS:
        raise UsageError(f"a guest has {vcpus} virtual processors, wanted 1 to {_MOST_VCPUS}")
    digest = launch_digest(
        guest.firmware,
        product=guest.cpu or product,
        vcpus=vcpus,
        kernel=guest.kernel,
        initrd=guest.initrd,
        command_line=guest.command_line,
        features=guest.features,
        firmware_digest_hex=guest.firmware_digest_hex,
    )
    if guest.any_vcpus:
        start = ap_start_address(guest.firmware).to_bytes(4, "big").hex()
        return {"ProductName": product, "TrustedMeasurement": digest.hex(), "APEIP": start}
    return {"ProductName": product, "TrustedMeasurement": digest.hex(), "CPUs": vcpus}


def _tdx_entry(guest: Guest) -> dict[str, Any]:
    from contrast_tasks.attestation.tdx.measure import mrtd

    if guest.vcpus != (1,) or guest.any_vcpus or guest.cpu or guest.firmware_digest_hex:
        raise UsageError(
            "virtual processors and firmware digest are measured on SEV-SNP only",
            hint="on TDX the number of processors shows in the machine digests",
        )
    firmware = read_file(guest.firmware)
    with errors_name(guest.firmware):
        mr_td = mrtd(firmware, pages_first=guest.pages_first).hex()
    return {
        "MrTd": mr_td,
        "Rtmrs": [_rtmr0(guest, firmware), *_rtmr1_and_2(guest), _ZERO_REGISTER],
    }


def _rtmr0(guest: Guest, firmware: bytes) -> str:
    from contrast_tasks.attestation.tdx.boot_option import ui_app_boot_option
    from contrast_tasks.attestation.tdx.measure import rtmr0

    if not guest.machine_digests:
        return ""
    option = ui_app_boot_option() if guest.boot_option is None else guest.boot_option
    with errors_name(guest.firmware):
        return rtmr0(
            firmware,
            machine_digests=guest.machine_digests,
            boot_option=option,
            final_separator=guest.final_separator,
        ).hex()


def _rtmr1_and_2(guest: Guest) -> tuple[str, str]:
    from contrast_tasks.attestation.tdx.measure import rtmr1, rtmr2

    if guest.kernel is None:
        return "", ""
    if guest.initrd is None or guest.command_line is None:
        raise UsageError("RTMR1 and RTMR2 need kernel, initrd and command line, each of them")
    kernel, initrd = read_file(guest.kernel), read_file(guest.initrd)
    with errors_name(guest.kernel):
        first = rtmr1(kernel, initrd_bytes=len(initrd)).hex()
    return first, rtmr2(command_line=guest.command_line, initrd=initrd).hex()


def missing_values(
    platform: Platform,
    values: Mapping[str, Any],
    release: Release,
    overrides: ReferenceOverrides | None = None,
) -> list[MissingValue]:
    """Return what a manifest with these values and those of the settings still lacks."""
    from contrast_tasks.manifest.model import Manifest
    from contrast_tasks.manifest.reference_values import defaults_for, parse_reference_values
    from contrast_tasks.manifest.validate import is_missing, validate_manifest

    provided = parse_reference_values(
        json.dumps(values).encode(), file="the calculated values", platform=platform
    )
    references = defaults_for(platform, release=release, overrides=overrides, provided=provided)
    manifest = Manifest(policies={}, reference_values=references)
    findings = validate_manifest(manifest, release=release)
    return [
        MissingValue(
            name=finding.message.partition(":")[0].removeprefix("ReferenceValues."),
            hint=_hint(finding),
        )
        for finding in findings
        if is_missing(finding) and finding.where.pointer.startswith("/ReferenceValues/")
    ]


def _hint(finding: "Finding") -> str:
    if finding.entry is not catalogue.MISSING_RTMR:
        return finding.hint
    return _RTMR_HINTS[finding.where.pointer.rpartition("/")[2]]


_KERNEL_HINT = "give --kernel, --initrd and --append"
_RTMR_HINTS = {
    "0": (
        "give what the firmware measures of the machine with --machine-digest, "
        "from the event log of a guest (/sys/firmware/acpi/tables/data/CCEL)"
    ),
    "1": _KERNEL_HINT,
    "2": _KERNEL_HINT,
}


def render_values(platform: Platform, values: Mapping[str, Any], before: bytes | None) -> bytes:
    """Return a reference value file with these values under the platform's name.

    before: the existing file, whose values for other platforms are kept; None if there is none. Raises UsageError if it has
    another form.
    """
    document: dict[str, Any] = {}
    if before is not None:
        try:
            document = read_json(before).document
        except NotJson as err:
            raise UsageError(f"the existing file cannot be read: {err}") from err
        if not isinstance(document, dict) or {"snp", "tdx"} & document.keys():
            raise UsageError(
                "the existing file does not have one object for each platform",
                hint="write to another file, or move its content below the platform's name",
            )
    return pretty_json(dict(sorted({**document, platform.name: values}.items())))


def write_values(path: Path, platform: Platform, values: Mapping[str, Any]) -> bool:
    """Write the values to a file for `[reference_values] file`; return whether it changed."""
    from contrast_tasks.manifest.reference_values import parse_reference_values

    before = read_file(path) if path.exists() else None
    with errors_name(path):
        content = render_values(platform, values, before)
    parse_reference_values(content, file=str(path), platform=platform)
    return write_atomic(path, content)


def hex_digests(texts: Iterable[str], what: str) -> tuple[bytes, ...]:
    """Return digests of 48 bytes from hex; raises UsageError naming `what` for other text."""
    found = tuple(hex_bytes(text, what) for text in texts)
    for digest in found:
        if len(digest) != _DIGEST_BYTES:
            raise UsageError(f"{what} has {len(digest)} bytes, wanted {_DIGEST_BYTES}")
    return found


def hex_bytes(text: str, what: str) -> bytes:
    """Return the bytes of a hex text; raises UsageError naming `what` for other text."""
    try:
        return bytes.fromhex(text)
    except ValueError as err:
        raise UsageError(f"{what} is not hex: {text!r}") from err
