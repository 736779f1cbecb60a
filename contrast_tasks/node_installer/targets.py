"""Where containerd is on a node, and the units that run it: by platform, or as the target configuration says.

Source: docs/internals/runtime.md 4.3, 4.5.
"""

from pathlib import Path

from contrast_tasks.errors import SettingsError
from contrast_tasks.platforms import Platform
from contrast_tasks.records import Record

TARGET_CONFIG = "contrast-node-installer-target-config"
"""Name of the ConfigMap; each key is a file for the installer."""
_TEMPLATE_ENDING = ".tmpl"
_UNITS = "systemd-unit-name"
_CONFIG = "containerd-config-path"
_KATA = "kata-config-path"
_KEYS = (_CONFIG, _UNITS, _KATA)


class Target(Record):
    """One kind of node. name: of the distribution of Kubernetes, "" for containerd of its own.

    containerd_config: relative to the node's root. units: of them the first that exists is restarted. kata_config: relative
    to the node's root, "" for the runtime's own folder.
    """

    name: str
    containerd_config: str
    units: tuple[str, ...]
    kata_config: str = ""

    @property
    def is_template(self) -> bool:
        """Return whether the configuration is a template, which the distribution renders beside it."""
        return self.containerd_config.endswith(_TEMPLATE_ENDING)

    @property
    def rendered_config(self) -> str:
        """Return the file that containerd reads."""
        return self.containerd_config.removesuffix(_TEMPLATE_ENDING)


def _rancher(name: str, *units: str) -> Target:
    config = f"var/lib/rancher/{name}/agent/etc/containerd/config.toml.tmpl"
    return Target(name=name, containerd_config=config, units=units)


STOCK = Target(
    name="", containerd_config="etc/containerd/config.toml", units=("containerd.service",)
)
TARGETS: tuple[Target, ...] = (
    _rancher("k3s", "k3s.service", "k3s-agent.service"),
    _rancher("rke2", "rke2-server.service", "rke2-agent.service"),
)


def target_of(platform: Platform) -> Target:
    """Return the nodes that a platform's name speaks of."""
    distribution = platform.name.partition("-")[0]
    return next((each for each in TARGETS if each.name == distribution), STOCK)


def configured(target: Target, folder: Path) -> Target:
    """Return the target with what files of the target configuration say; there may be no folder.

    Raises SettingsError for an empty file, an unknown one, and a path that leads out of the node's root.
    """
    values: dict[str, str] = {}
    # A mounted ConfigMap has links whose names begin with two dots.
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".."):
            continue
        if path.name not in _KEYS:
            known = ", ".join(_KEYS)
            raise SettingsError(f"{path.name} is no key of {TARGET_CONFIG}, expected {known}")
        values[path.name] = path.read_text(encoding="utf-8").strip()
        if not values[path.name]:
            raise SettingsError(f"{path.name} cannot be empty")
    units = tuple(values[_UNITS].replace(",", " ").split()) if _UNITS in values else target.units
    return target.replace(
        containerd_config=_inner(_CONFIG, values.get(_CONFIG, target.containerd_config)),
        units=units,
        kata_config=_inner(_KATA, values.get(_KATA, target.kata_config)),
    )


def _inner(key: str, path: str) -> str:
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise SettingsError(f"{key} is {path!r}, expected a path below the node's root")
    return "/".join(parts)
