"""`measure`: calculate reference values from firmware, kernel, initrd and kernel command line."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from contrast_tasks.cli.context import Context
from contrast_tasks.errors import UsageError
from contrast_tasks.report.model import Report

if TYPE_CHECKING:
    from contrast_tasks.evidence.measure import Guest

EXAMPLE = (
    "measure --platform k3s-qemu-snp --firmware OVMF.fd --kernel bzImage --initrd initrd.zst "
    "--append 'console=ttyS0' --out reference-values.json"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--platform", metavar="P", help="default: the project's own")
    parser.add_argument("--firmware", metavar="FILE", required=True, help="OVMF image")
    parser.add_argument("--kernel", metavar="FILE")
    parser.add_argument("--initrd", metavar="FILE")
    parser.add_argument("--append", metavar="CMDLINE", help="the kernel's command line")
    parser.add_argument("--out", metavar="FILE", help="write to FILE instead of stdout")
    group = parser.add_argument_group("SEV-SNP")
    group.add_argument(
        "--vcpus", type=int, action="append", metavar="N", help="default 1; repeat for more entries"
    )
    group.add_argument(
        "--any-vcpus", action="store_true", help="one entry for 1 to 220 vCPUs, by APEIP"
    )
    group.add_argument(
        "--cpu", default="", metavar="MODEL", help="QEMU's name; default: the product's model"
    )
    group.add_argument("--features", default="0x1", metavar="WORD", help="SEV_FEATURES")
    group.add_argument(
        "--firmware-digest", default="", metavar="HEX", help="digest of the firmware's pages"
    )
    group = parser.add_argument_group("TDX, for MRTD")
    group.add_argument(
        "--pages-first",
        action="store_true",
        help="for Canonical's TDX with QEMU 8.2, which measures in another order",
    )
    group = parser.add_argument_group("TDX, for RTMR0")
    group.add_argument(
        "--machine-digest",
        action="append",
        metavar="HEX",
        help="digest of ACPI or fw_cfg data; repeat in the order of measurement",
    )
    group.add_argument("--boot-option", metavar="HEX", help="Boot0000, default: OVMF's UiApp")
    group.add_argument("--final-separator", action="store_true", help="for older firmware")


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Print or write the values, and name those that are still missing."""
    from contrast_tasks.evidence.measure import measure, missing_values, write_values
    from contrast_tasks.files import pretty_json
    from contrast_tasks.platforms import platform as find_platform
    from contrast_tasks.releases.choose import newest_with

    settings = context.settings_if_any()
    name = arguments.platform or (settings.platform if settings else None)
    if name is None:
        raise UsageError("no platform is set", hint="name it with --platform")
    platform = find_platform(name)
    # The project's release is that of its own platform.
    is_own = settings is not None and settings.platform == platform.name
    release = settings.release if settings and is_own else newest_with(platform.name)
    values = measure(platform, _guest(arguments, context), release)
    overrides = settings.reference_overrides if settings else None
    missing = missing_values(platform, values, release, overrides)
    if arguments.out is None:
        context.console.data(pretty_json({platform.name: values}).decode())
    else:
        changed = write_values(context.cwd / arguments.out, platform, values)
        context.console.say(f"wrote {arguments.out}" if changed else "up to date")
        name = context.path(arguments.out)
        if settings and settings.reference_values != name:
            context.console.say(
                f'  hint: generate takes it where contrast.toml says [reference_values] file = "{name}"'
            )
    for value in missing:
        context.console.say(f"missing {value.name}\n  hint: {value.hint}")
    return Report(
        command="measure",
        result={
            "platform": platform.name,
            "values": values,
            "file": arguments.out,
            "missing": [asdict(value) for value in missing],
        },
    )


def _guest(arguments: argparse.Namespace, context: Context) -> "Guest":
    from contrast_tasks.evidence.measure import Guest, hex_bytes, hex_digests

    option = arguments.boot_option
    firmware_digest = hex_digests(filter(None, [arguments.firmware_digest]), "firmware digest")
    return Guest(
        firmware=context.cwd / arguments.firmware,
        kernel=context.cwd / arguments.kernel if arguments.kernel else None,
        initrd=context.cwd / arguments.initrd if arguments.initrd else None,
        command_line=arguments.append,
        vcpus=tuple(dict.fromkeys(arguments.vcpus or (1,))),
        any_vcpus=arguments.any_vcpus,
        cpu=arguments.cpu,
        features=_word(arguments.features),
        firmware_digest_hex="".join(digest.hex() for digest in firmware_digest),
        machine_digests=hex_digests(arguments.machine_digest or (), "machine digest"),
        boot_option=None if option is None else hex_bytes(option, "boot option"),
        final_separator=arguments.final_separator,
        pages_first=arguments.pages_first,
    )


def _word(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError as err:
        raise UsageError(f"--features is {text!r}, wanted a number as 0x1") from err
