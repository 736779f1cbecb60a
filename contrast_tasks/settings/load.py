"""The settings of one project: contrast.toml, CONTRAST_* variables and flags, merged, each value with its origin.

Precedence: flag, environment, file, default. Everything here runs on every start, so it uses the standard library
only. Source: docs/internals/graph.md 4.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.pointers import to_pointer
from contrast_tasks.settings import layers
from contrast_tasks.settings.layers import InvalidSettings
from contrast_tasks.settings.outputs import output_problems
from contrast_tasks.settings.shape import Problem, workload_key

__all__ = [
    "FILE_NAME",
    "OBSERVED_NAME",
    "ComponentSettings",
    "InvalidSettings",
    "ReferenceOverrides",
    "Settings",
    "SnpOverrides",
    "TdxOverrides",
    "WorkloadSettings",
    "load_settings",
    "observed_values",
    "validate_settings_schema",
    "workload_key",
]

FILE_NAME = "contrast.toml"
# What `probe` observed and somebody confirmed; contrast.toml wins over it.
OBSERVED_NAME = "observed.toml"
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSettings:
    """What contrast.toml declares for one workload; None is not declared.

    ingress, egress: annotation values; admin_port: Envoy's; env: added to every main container.
    sans: added after the name and `*`; memory: request and limit of containers without one.
    where: of the table; keys_at: of one of its keys.
    """

    where: Location
    ingress: str | None = None
    egress: str | None = None
    admin_port: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    sans: tuple[str, ...] = ()
    memory: str | None = None
    runtime_class: bool | None = None
    secret_id: str | None = None
    keys_at: Callable[[str], Location] | None = field(default=None, compare=False, repr=False)

    def place(self, key: str) -> Location:
        """Return where a key of the table stands; its pointer is of the settings file."""
        return self.where if self.keys_at is None else self.keys_at(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSettings:
    """Image references of our own containers."""

    initializer: str = "contrast-tasks/initializer:0.1.0"
    service_mesh: str = "contrast-tasks/service-mesh:0.1.0"
    coordinator: str = "contrast-tasks/coordinator:0.1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpOverrides:
    """Reference values of one SEV-SNP product; hex is lower case, an empty or None member is not declared."""

    trusted_measurement_hex: str = ""
    minimum_tcb: Mapping[str, int] = field(default_factory=dict)
    platform_info: Mapping[str, bool] = field(default_factory=dict)
    allowed_chip_ids: tuple[str, ...] | None = None
    allow_vlek: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxOverrides:
    """Reference values of TDX guests; hex is lower case, an empty or None member is not declared."""

    mr_td_hex: str = ""
    rtmrs_hex: tuple[str, ...] = ()
    mr_seam_hex: str = ""
    minimum_tee_tcb_svn_hex: str = ""
    minimum_qe_svn: int | None = None
    minimum_pce_svn: int | None = None
    xfam_hex: str = ""
    td_attributes_hex: str = ""
    allowed_piids: tuple[str, ...] | None = None
    memory_integrity: bool | None = None
    allow_quote_v5: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceOverrides:
    """The [reference_values] table without its file; products None keeps the platform's, snp is by product."""

    products: tuple[str, ...] | None = None
    snp: Mapping[str, SnpOverrides] = field(default_factory=dict)
    tdx: TdxOverrides = field(default_factory=TdxOverrides)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything effective, in one value; paths are relative to `root` as written.

    workloads: by "<Kind>/<name>" or "<namespace>/<Kind>/<name>", without the namespace when it is `default`.
    mirrors: vendors' address prefix to the one asked in its place; proxy: what they are asked through, in the environment's place. reference_values: file with reference values, or None. digest: SHA-256 hex over all values (not their origins,
    not the contents of named files). origins: dotted key to "flag", "environment CONTRAST_X", "contrast.toml:7" or
    "default".
    """

    root: Path
    platform: str
    sources: tuple[str, ...]
    file: str = FILE_NAME
    build_dir: str = "build"
    manifest: str = "manifest.json"
    lock: str = "contrast.lock"
    runtime_class: bool = True
    memory: str | None = None
    initializer: bool = True
    service_mesh: bool = True
    workloads: Mapping[str, WorkloadSettings] = field(default_factory=dict)
    image_layouts: tuple[str, ...] = ()
    components: ComponentSettings = field(default_factory=ComponentSettings)
    include_coordinator: bool = True
    workload_owner_keys: tuple[str, ...] = ("workload-owner.pem",)
    seedshare_owner_keys: tuple[str, ...] = ("seedshare-owner.pem",)
    disable_updates: bool = False
    reference_values: str | None = None
    reference_overrides: ReferenceOverrides = field(default_factory=ReferenceOverrides)
    mirrors: Mapping[str, str] = field(default_factory=dict)
    proxy: str = ""
    digest: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def packed_layout(self) -> str:
        """Return the image layout that images are packed into."""
        return f"{self.build_dir}/images"

    @property
    def layouts(self) -> tuple[str, ...]:
        """Return the image layouts to look into; on platform `local` the packed one comes last if it is not declared."""
        packed = (self.packed_layout,) if self.platform == "local" else ()
        return tuple(dict.fromkeys((*self.image_layouts, *packed)))

    def workload(self, key: str) -> WorkloadSettings | None:
        """Return what is declared for a workload; either spelling of the namespace `default` finds it."""
        return self.workloads.get(workload_key(key))

    def where(self, key: str) -> Location:
        """Return the place a dotted key was set at; the settings file, without a line, for a default."""
        origin = self.origins.get(key, "default")
        file, colon, line = origin.rpartition(":")
        if colon and line.isdecimal():
            return Location(file=file, line=int(line))
        return Location(file=self.file if origin == "default" else origin)


# Settings with a place in the file but a default of their own; the rest is absent unless declared.
_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "build_dir": "build",
        "manifest": "manifest.json",
        "lock": "contrast.lock",
        "defaults.runtime_class": True,
        "defaults.initializer": True,
        "defaults.service_mesh": True,
        "images.layouts": [],
        "components.initializer": ComponentSettings().initializer,
        "components.service_mesh": ComponentSettings().service_mesh,
        "components.coordinator": ComponentSettings().coordinator,
        "coordinator.include": True,
        "owners.workload": ["workload-owner.pem"],
        "owners.seedshare": ["seedshare-owner.pem"],
        "owners.disable_updates": False,
    }
)


def load_settings(
    root: Path,
    *,
    environ: Mapping[str, str],
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] = _EMPTY,
    is_project: bool = True,
) -> Settings:
    """Return the effective settings of the project in `root`; a missing contrast.toml counts as an empty one.

    Reference values that `probe` observed stand in a file of their own beside it, and are read like lines of contrast.toml.
    overrides: lines of TOML, from `--set`; flags: dotted key to value, None is a flag that was not given.
    is_project: False for what works outside of a project too: then platform may be "" and sources may be empty.
    Raises SettingsError, and InvalidSettings with every problem of all sources, each with its place.
    """
    ordered = []
    content = _content_of(root, FILE_NAME)
    if content is not None:
        observed = _content_of(root, OBSERVED_NAME)
        if observed is not None:
            ordered.append(layers.observed_layer(observed, OBSERVED_NAME))
        ordered.append(layers.file_layer(content, FILE_NAME))
    ordered.append(layers.environment_layer(environ))
    ordered.extend(layers.override_layer(line) for line in overrides)
    ordered.append(layers.flag_layer(flags))
    problems = [problem for layer in ordered for problem in layers.problems(layer)]
    if problems:
        raise InvalidSettings(problems)
    document, origins, places = layers.merge(ordered)
    if not is_project and content is None:
        document = {"platform": "", "sources": [], **document}
    found = list(_missing(document, has_file=content is not None))
    for key, value in _DEFAULTS.items():
        if key not in origins:
            _put_default(document, key, value)
            origins[key] = "default"
    for problem in output_problems(root, document):
        where = places.get(problem.path, Location(file=FILE_NAME))
        found.append((where, problem))
    if found:
        raise InvalidSettings(found)
    return _build(root, document, origins, places)


def observed_values(content: bytes, file: str) -> Mapping[str, Any]:
    """Return the tables below [reference_values] that `probe` wrote to a file; raises SettingsError for any other content."""
    layer = layers.observed_layer(content, file)
    if problems := layers.problems(layer):
        raise InvalidSettings(problems)
    found: Mapping[str, Any] = layer.document.get("reference_values", {})
    return found


def _content_of(root: Path, name: str) -> bytes | None:
    try:
        return (root / name).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as err:
        raise SettingsError(f"cannot be read: {err.strerror}", where=Location(file=name)) from err


def _put_default(document: dict[str, Any], key: str, value: Any) -> None:
    *tables, last = key.split(".")
    for table in tables:
        document = document.setdefault(table, {})
    document[last] = value


def _missing(document: Mapping[str, Any], *, has_file: bool) -> Iterator[tuple[Location, Problem]]:
    """Yield what is absent and has no default."""
    for key, example in (("platform", '"local"'), ("sources", '["deployment"]')):
        if key not in document:
            hint = "" if has_file else f"create {FILE_NAME} in the project's folder"
            message = f"no {key} is set, expected as in {key} = {example}"
            yield Location(file=FILE_NAME), Problem(path=(key,), message=message, hint=hint)


def _build(
    root: Path,
    document: dict[str, Any],
    origins: dict[str, str],
    places: Mapping[tuple[str | int, ...], Location],
) -> Settings:
    defaults, owners = document["defaults"], document["owners"]
    reference = document.get("reference_values", {})
    disable_updates = owners["disable_updates"]
    document["platform"] = document["platform"].lower()
    return Settings(
        root=root,
        platform=document["platform"],
        sources=tuple(document["sources"]),
        build_dir=document["build_dir"],
        manifest=document["manifest"],
        lock=document["lock"],
        runtime_class=defaults["runtime_class"],
        memory=defaults.get("memory"),
        initializer=defaults["initializer"],
        service_mesh=defaults["service_mesh"],
        workloads={
            key: _workload(entry, ("workloads", key), places)
            for key, entry in document.get("workloads", {}).items()
        },
        image_layouts=tuple(document["images"]["layouts"]),
        components=ComponentSettings(**document["components"]),
        include_coordinator=document["coordinator"]["include"],
        workload_owner_keys=() if disable_updates else tuple(owners["workload"]),
        seedshare_owner_keys=tuple(owners["seedshare"]),
        disable_updates=disable_updates,
        reference_values=reference.get("file"),
        reference_overrides=_reference_overrides(reference),
        mirrors=dict(document.get("endorsements", {}).get("mirrors", {})),
        proxy=document.get("endorsements", {}).get("proxy", ""),
        digest=sha256_hex(canonical_json(document)),
        origins=origins,
    )


def _workload(
    entry: Mapping[str, Any],
    path: tuple[str, str],
    places: Mapping[tuple[str | int, ...], Location],
) -> WorkloadSettings:
    values = {**entry, "sans": tuple(entry.get("sans", ())), "env": dict(entry.get("env", {}))}
    return WorkloadSettings(where=places[path], keys_at=partial(_key_place, places, path), **values)


def _key_place(
    places: Mapping[tuple[str | int, ...], Location], path: tuple[str, str], key: str
) -> Location:
    found = places.get((*path, key), places[path])
    return replace(found, pointer=to_pointer((*path, key)))


def _lower(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(value.lower() for value in values)


def _reference_overrides(table: Mapping[str, Any]) -> ReferenceOverrides:
    products = table.get("products")
    tdx = table.get("tdx", {})
    return ReferenceOverrides(
        products=None if products is None else tuple(products),
        snp={
            product: SnpOverrides(
                trusted_measurement_hex=entry.get("trusted_measurement", "").lower(),
                minimum_tcb=dict(entry.get("minimum_tcb", {})),
                platform_info=dict(entry.get("platform_info", {})),
                allowed_chip_ids=_lower(entry.get("allowed_chip_ids")),
                allow_vlek=entry.get("allow_vlek"),
            )
            for product, entry in table.get("snp", {}).items()
        },
        tdx=TdxOverrides(
            mr_td_hex=tdx.get("mr_td", "").lower(),
            rtmrs_hex=_lower(tdx.get("rtmrs")) or (),
            mr_seam_hex=tdx.get("mr_seam", "").lower(),
            minimum_tee_tcb_svn_hex=tdx.get("minimum_tee_tcb_svn", "").lower(),
            minimum_qe_svn=tdx.get("minimum_qe_svn"),
            minimum_pce_svn=tdx.get("minimum_pce_svn"),
            xfam_hex=tdx.get("xfam", "").lower(),
            td_attributes_hex=tdx.get("td_attributes", "").lower(),
            allowed_piids=_lower(tdx.get("allowed_piids")),
            memory_integrity=tdx.get("memory_integrity"),
            allow_quote_v5=tdx.get("allow_quote_v5"),
        ),
    )


def validate_settings_schema(document: object) -> list[tuple[str, str]]:
    """Return (JSON pointer, message) for whatever schemas/settings.schema.json says about a parsed settings file."""
    from contrast_tasks.schema import validate

    return validate(document, "settings")
