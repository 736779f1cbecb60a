"""The platforms a deployment can be generated for; names as the reference product spells them, plus `local`.

Source: docs/internals/manifest.md 3.1 (names, entries per platform), 3.4 (handlers), 3.5 (`local`); docs/internals/aks.md 5.
"""

import re
from collections.abc import Iterable
from typing import Literal

from contrast_tasks.errors import Location, SettingsError, did_you_mean
from contrast_tasks.records import Record

Tee = Literal["snp", "tdx", "simulated"]

# SHA-384 of b"contrast-tasks simulated guest v1", 48 bytes: the launch measurement of every guest of the
# simulated processor.
SIMULATED_MEASUREMENT = (
    "d849a834fc17b6b319692f9e2e2abad1d90444195f1adb3692d024cf0ff38c0b"
    "004312f76b41639e4e941225320bb6b5"
)


class Platform(Record):
    """One platform.

    name: lower case, as in settings and runtime handlers. canonical: the spelling of the reference product.
    pulls_in_guest: images are unpacked in the guest's memory, so their unpacked size counts as memory.
    attaches_layers: the node attaches each layer as a device, whose root hash the policy names.
    ended: when the service on which its pods ran has ended, "" for others.
    products: the processor lines, each with its reference values; empty for TDX.
    """

    name: str
    canonical: str
    tee: Tee
    pulls_in_guest: bool = True
    attaches_layers: bool = False
    ended: str = ""
    gpu: bool = False
    products: tuple[str, ...] = ()


# Lines of AMD processors that a manifest can name.
SNP_PRODUCTS = ("Milan", "Genoa")

PLATFORMS: tuple[Platform, ...] = (
    Platform(
        name="local",
        canonical="Local",
        tee="simulated",
        pulls_in_guest=False,
    ),
    Platform(
        name="aks-clh-snp",
        canonical="AKS-CLH-SNP",
        tee="snp",
        pulls_in_guest=False,
        attaches_layers=True,
        ended="March 2026",
        products=("Milan",),
    ),
    Platform(name="k3s-qemu-snp", canonical="K3s-QEMU-SNP", tee="snp", products=SNP_PRODUCTS),
    Platform(
        name="k3s-qemu-snp-gpu",
        canonical="K3s-QEMU-SNP-GPU",
        tee="snp",
        gpu=True,
        products=SNP_PRODUCTS,
    ),
    Platform(name="k3s-qemu-tdx", canonical="K3s-QEMU-TDX", tee="tdx"),
    Platform(name="rke2-qemu-tdx", canonical="RKE2-QEMU-TDX", tee="tdx"),
    Platform(name="metal-qemu-snp", canonical="Metal-QEMU-SNP", tee="snp", products=SNP_PRODUCTS),
    Platform(
        name="metal-qemu-snp-gpu",
        canonical="Metal-QEMU-SNP-GPU",
        tee="snp",
        gpu=True,
        products=SNP_PRODUCTS,
    ),
    Platform(name="metal-qemu-tdx", canonical="Metal-QEMU-TDX", tee="tdx"),
    Platform(
        name="metal-qemu-tdx-gpu",
        canonical="Metal-QEMU-TDX-GPU",
        tee="tdx",
        gpu=True,
    ),
)

# Source: docs/internals/generate.md 8.5. AKS has a class of its own.
CONFIDENTIAL_CLASS = "contrast-cc"
AKS_CLASS = "kata-cc-isolation"
HANDLER_PREFIX = f"{CONFIDENTIAL_CLASS}-"
NAMES: tuple[str, ...] = tuple(entry.name for entry in PLATFORMS)


INSECURE: tuple[str, ...] = ("metal-qemu-insecure", "metal-qemu-insecure-gpu")
WHY_NOT_INSECURE = "its pods run without a confidential guest, and the reference product's own generate refuses them"
# Source: docs/internals/releases.md 4; the words of the platform's name are in another order there.
INSECURE_CLASS = "contrast-insecure"


def why_refused(name: object) -> str:
    """Return why the settings refuse a platform that is known, "" for any other value."""
    is_insecure = isinstance(name, str) and name.lower() in INSECURE
    return f'is "{name}", which is refused: {WHY_NOT_INSECURE}' if is_insecure else ""


def platform(name: str, *, where: Location | None = None) -> Platform:
    """Return the platform called `name`, in any case; raises SettingsError with the known names for any other."""
    for entry in PLATFORMS:
        if entry.name == name.lower():
            return entry
    if name.lower() in INSECURE:
        raise SettingsError(
            f"platform '{name}' is refused: {WHY_NOT_INSECURE}",
            hint=f"choose one of {', '.join(NAMES)}",
            where=where,
        )
    raise SettingsError(
        f"unknown platform '{name}', expected one of {', '.join(NAMES)}",
        hint=did_you_mean(name, NAMES),
        where=where,
    )


def is_confidential_class(name: str) -> bool:
    """Return whether a runtime class makes a pod confidential, on any platform."""
    return name.startswith(CONFIDENTIAL_CLASS) or name == AKS_CLASS


def platform_of_handler(handler: str) -> Platform:
    """Return the platform of a runtime handler, `contrast-cc-<platform>` with or without `-<8 hex digits>`.

    Raises SettingsError for a name of another form or of an unknown platform.
    """
    if not handler.startswith(HANDLER_PREFIX):
        raise SettingsError(
            f"'{handler}' is no runtime handler, expected {HANDLER_PREFIX}<platform>"
        )
    return platform(re.sub(r"-[0-9a-f]{8}$", "", handler.removeprefix(HANDLER_PREFIX)))


def handlers_among(names: Iterable[str], platform: str) -> tuple[str, ...]:
    """Return the names that are a platform's runtime class with its 8 hex digits, in lower case and order.

    The digits are those of one build of the runtime, and only its installer creates that class.
    Source: docs/internals/runtime.md 2.
    """
    pattern = re.compile(rf"{re.escape(HANDLER_PREFIX + platform)}-[0-9a-f]{{8}}", re.IGNORECASE)
    return tuple(sorted({name.lower() for name in names if pattern.fullmatch(name)}))
