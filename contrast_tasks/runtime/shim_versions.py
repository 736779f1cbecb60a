"""What differs between Kata's shims, one row each. Nothing else in this package knows a version of them.

Source: recordings of the shim 4.1.0, stock and configured as in the reference product, and of 3.30.0 with its patches.
Rows of older ones are read in docs/internals/policy.md 3.6, 5, 8 and docs/internals/releases.md 1.1, 1.4, those of AKS in
docs/internals/aks.md 1.
"""

from typing import Final, Literal

from contrast_tasks.errors import UsageError
from contrast_tasks.records import Record
from contrast_tasks.releases.shims import CopyForm, EmptyDirs, copy_form_of, empty_dirs_of


class Shim(Record):
    """One version of the shim with its configuration, as far as its requests differ from those of others.

    describes_pull: the storage of an image says what the agent's own puller needs. repeats_network: the network is set up
    again when the sandbox starts. attaches_layers: the layers of images are disks, and the agent of such guests describes
    the environment of a container beside the request. has_ports: the messages have members for ports of standard streams.
    interface_path: the member for the PCI path of an interface.
    """

    name: str
    describes_pull: bool = True
    repeats_network: bool = False
    attaches_layers: bool = False
    has_ports: bool = True
    interface_path: Literal["devicePath", "pciPath"] = "devicePath"

    @property
    def empty_dirs(self) -> EmptyDirs:
        """Return where the files of an emptyDir on disk are."""
        return empty_dirs_of(self.name)

    @property
    def copy_form(self) -> CopyForm:
        """Return what a policy is shown of a copied file."""
        return copy_form_of(self.name)


_STOCK: Final = Shim(name="stock-4.1.0")
_V3_30: Final = Shim(name="contrast-3.30.0", describes_pull=False, repeats_network=True)
_V3_22: Final = _V3_30.replace(name="contrast-3.22.0")
_V3_18: Final = _V3_22.replace(name="contrast-3.18.0")
_AKS: Final = Shim(name="aks-3.15", attaches_layers=True)

SHIMS: Final = (
    _V3_18.replace(name="contrast-3.17.0"),
    _V3_18,
    _V3_22,
    _V3_30,
    _STOCK,
    _STOCK.replace(name="contrast-4.1.0"),
    _AKS.replace(name="aks-3.2", has_ports=False, interface_path="pciPath"),
    _AKS,
)


def shim_version(name: str) -> Shim:
    """Return the row of a name such as `stock-4.1.0`; raises UsageError for one without a row."""
    for row in SHIMS:
        if row.name == name:
            return row
    known = ", ".join(row.name for row in SHIMS)
    raise UsageError(f"the shim {name} is not modelled", hint=f"modelled are {known}")
