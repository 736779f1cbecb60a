"""The reference values of a platform: its defaults, overridden by a file of measurements, overridden by the settings.

The measurements of the reference product are not published as a list, so hardware platforms take theirs from a file: that of
a runtime release, or one calculated by `measure`. A value in neither file nor settings
stays missing and is reported. Source: docs/internals/manifest.md 3, 9.4.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from contrast_tasks.declare.documents import to_json, to_record
from contrast_tasks.declare.problems import Problem, dotted, problems
from contrast_tasks.declare.shapes import List, Table, measurable
from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.json_text import JsonText, NotJson, read_json
from contrast_tasks.manifest.forms import members_of
from contrast_tasks.platforms import (
    HANDLER_PREFIX,
    INSECURE_CLASS,
    SIMULATED_MEASUREMENT,
    Platform,
    platform_of_handler,
)
from contrast_tasks.platforms import platform as find_platform
from contrast_tasks.pointers import to_pointer
from contrast_tasks.records import Member, Record
from contrast_tasks.releases.choose import newest_with, releases_with
from contrast_tasks.releases.table import ManifestForm, Release
from contrast_tasks.settings.model import ReferenceOverrides
from contrast_tasks.trusted_guests import (
    GuestPolicy,
    PlatformInfo,
    ReferenceValues,
    SimulatedReference,
    SnpReference,
    SnpTcb,
    TdxReference,
)

# Source: docs/internals/manifest.md 3. Our simulated processor reports no lower ones.
AKS_TCB = SnpTcb(bootloader=3, tee=0, snp=8, microcode=115)
# SEPT_VE_DISABLE, bit 28, little-endian.
TD_ATTRIBUTES = "0000001000000000"
XFAM = "e702060000000000"
_AKS_ABI_MINOR = 31
_NO_OVERRIDES = ReferenceOverrides()


class ProvidedValues(Record):
    """The entries of a file of reference values for one platform: partial, in the manifest's spelling.

    _pointer: of the table that has the lists. _locate: returns the place of a pointer in the file.
    """

    snp: tuple[Mapping[str, Any], ...] = ()
    tdx: tuple[Mapping[str, Any], ...] = ()
    _pointer: str = ""
    _locate: Callable[[str], Location] = lambda pointer: Location(file="", pointer=pointer)

    def place(self, path: Iterable[str | int]) -> Location:
        """Return the place of a value, whose members have the manifest's spelling."""
        return self._locate(self._pointer + to_pointer(path))


_RECORDS: Mapping[str, type[Record]] = {"snp": SnpReference, "tdx": TdxReference}
FILE_ENTRY = Table(
    {
        name: Member(
            name=name,
            shape=List(measurable(record), least=1),
            meaning=f"entries of the manifest's ReferenceValues.{name}",
            default=None,
            absent=None,
        )
        for name, record in _RECORDS.items()
    }
)
"""What a file of reference values holds for one platform, or for all."""


class _File(Record, kw_only=False):
    name: str
    parsed: JsonText

    def place(self, pointer: str) -> Location:
        line = self.parsed.line(self._spelled(pointer))
        return Location(file=self.name, line=line, pointer=pointer)

    def _spelled(self, pointer: str) -> str:
        """Return a pointer with the members in the capitals of the file."""
        spelled = {name.lower(): name for name in self.parsed.places.lines}
        return spelled.get(pointer.lower(), pointer)

    def refused(self, message: str, pointer: str = "", hint: str = "") -> SettingsError:
        return SettingsError(message, hint=hint, where=self.place(pointer))


def parse_reference_values(
    content: bytes, *, file: str, platform: Platform | str, release: Release | None = None
) -> ProvidedValues:
    """Return the values for a platform in the file named by `[reference_values] file`.

    release: the one of the runtime; None: the newest that has the platform.

    The file has the lists `snp` and `tdx`, either for all platforms or in one object per platform name or runtime handler.
    k3s, rke2 and metal platforms of one kind share measurements, so each may use the others' entries.
    Member names may be in any case. Raises SettingsError with file and line.
    """
    wanted = find_platform(platform) if isinstance(platform, str) else platform
    try:
        parsed = read_json(content)
    except NotJson as err:
        where = Location(file=file, line=err.line, column=err.column)
        raise SettingsError(str(err), where=where) from err
    source = _File(file, parsed)
    document = parsed.document
    if not isinstance(document, dict):
        raise source.refused("is not a JSON object")
    normal = _normal_document(source, document)
    for problem in problems_of_values(normal):
        raise source.refused(problem.message, to_pointer(problem.path), problem.hint)
    key = None if _is_flat(normal) else _chosen(source, normal, wanted, release)
    values = normal if key is None else normal[key]
    pointer = "" if key is None else to_pointer((key,))
    for kind in _RECORDS:
        for index, entry in enumerate(values.get(kind, ())):
            _check_platform(source, entry, wanted, f"{pointer}/{kind}/{index}/Platform")
    return ProvidedValues(
        snp=tuple(values.get("snp", ())),
        tdx=tuple(values.get("tdx", ())),
        _pointer=pointer,
        _locate=source.place,
    )


def _check_platform(
    source: _File, entry: Mapping[str, Any], wanted: Platform, pointer: str
) -> None:
    """Refuse an entry that says to be for another platform; the chosen one is named in the manifest."""
    found = entry.get("Platform") or wanted.canonical
    if found.lower() != wanted.name:
        raise source.refused(
            f"is for platform '{found}', expected '{wanted.canonical}'",
            pointer,
            "give values in one object per platform",
        )


def _normal_document(source: _File, document: Mapping[str, Any]) -> dict[str, Any]:
    if _is_flat(document):
        normal: dict[str, Any] = _normal_values(source, document, "")
        return normal
    # Guests without evidence have no values.
    return {
        key: _normal_values(source, value, f"/{key}")
        for key, value in document.items()
        if not key.lower().startswith(INSECURE_CLASS)
    }


def _normal_values(source: _File, values: Any, pointer: str) -> Any:
    if not isinstance(values, dict):
        return values
    return {
        name: [
            _normal(source, entry, _RECORDS[name], f"{pointer}/{name}/{index}")
            for index, entry in enumerate(entries)
        ]
        if isinstance(entries, list) and name in _RECORDS
        else entries
        for name, entries in values.items()
    }


def _normal(source: _File, entry: Any, record: type[Record], pointer: str) -> Any:
    """Return an entry with its members, and those of its parts, in the manifest's spelling."""
    if not isinstance(entry, dict):
        return entry
    known = {name.lower(): each for each in record.members for name in (each.name, *each.old)}
    normal: dict[str, Any] = {}
    for name, value in entry.items():
        member = known.get(name.lower())
        spelled = name if member is None else member.name
        if spelled in normal:
            raise source.refused(f"has '{spelled}' in two spellings", f"{pointer}/{name}")
        if member is not None and isinstance(member.shape, type):
            value = _normal(source, value, member.shape, f"{pointer}/{name}")  # noqa: PLW2901
        normal[spelled] = value
    return normal


def problems_of_values(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with a file whose members have the manifest's spelling; platform names are not looked at."""
    tables = {(): document} if _is_flat(document) else {(key,): document[key] for key in document}
    for path, values in tables.items():
        if values == {}:
            yield Problem(path, f"{dotted(path)} is empty, expected snp or tdx")
        yield from problems(values, FILE_ENTRY, path, complete=True)
    if not tables:
        yield Problem((), "the document is empty, expected snp or tdx")


def _is_flat(document: Mapping[str, Any]) -> bool:
    """Return whether the values hold for every platform."""
    return not _RECORDS.keys().isdisjoint(document)


def _platform_of(source: _File, key: str) -> str:
    name = key.lower()
    find = platform_of_handler if name.startswith(HANDLER_PREFIX) else find_platform
    try:
        return find(name).name
    except SettingsError as err:
        message = f"'{key}' is neither a platform nor a runtime handler"
        raise source.refused(message, f"/{key}", err.hint) from err


def _family(name: str) -> str:
    """Return a platform's name without its kind of cluster: platforms of one family share measurements."""
    return name.partition("-")[2]


def _chosen(
    source: _File, document: Mapping[str, Any], wanted: Platform, release: Release | None
) -> str:
    """Return the key of a platform's values."""
    names = {key: _platform_of(source, key) for key in document}
    if release:
        for key, name in names.items():
            _check_handler(source, key, name, release)
    exact = [key for key, name in names.items() if name == wanted.name]
    keys = exact or [key for key, name in names.items() if _family(name) == _family(wanted.name)]
    if not keys:
        message = f"has no values for platform '{wanted.name}', only for {', '.join(document)}"
        raise source.refused(message)
    if any(document[key] != document[keys[0]] for key in keys):
        message = f"has different values for platform '{wanted.name}': {', '.join(keys)}"
        raise source.refused(message, f"/{keys[-1]}")
    return keys[0]


def _check_handler(source: _File, key: str, name: str, release: Release) -> None:
    """Refuse the runtime handler of a platform that the release does not have: its values are those of another release."""
    if key.lower().startswith(HANDLER_PREFIX) and name not in release.platforms:
        raise source.refused(
            f"'{key}' is a runtime handler of platform '{name}', which release {release.name} does not have",
            f"/{key}",
            f"take the reference values of {release.name}, or set runtime.release in contrast.toml: "
            f"{', '.join(releases_with(name))} have the platform",
        )


def defaults_for(
    platform: Platform | str,
    *,
    release: Release | None = None,
    overrides: ReferenceOverrides | None = None,
    local_root_sha256_hex: str | None = None,
    provided: ProvidedValues | None = None,
) -> ReferenceValues:
    """Return the reference values of a platform; an unknown value is missing (None or "").

    release: the one of the runtime, None for the newest that has the platform. Members that it does not have get no value.
    overrides: the settings' [reference_values]. provided: the values of its file. local_root_sha256_hex: SHA-256 of the
    simulated processor's root certificate; platform `local` needs it, and nothing else changes its entry.
    Raises ValueError for `local` without it, SettingsError if settings name a product that the platform does not have.
    """
    wanted = find_platform(platform) if isinstance(platform, str) else platform
    overrides = overrides or _NO_OVERRIDES
    provided = provided or ProvidedValues()
    if wanted.tee == "simulated":
        if not local_root_sha256_hex:
            raise ValueError("the local platform needs the simulated processor's root")
        return ReferenceValues(simulated=(simulated_reference(local_root_sha256_hex),))
    form = (release or newest_with(wanted.name)).manifest
    if wanted.tee == "tdx":
        entries = provided.tdx or ({},)
        return ReferenceValues(tdx=tuple(_tdx(wanted, form, overrides, entry) for entry in entries))
    chosen = _products(wanted, overrides, provided)
    # In the file's order, in which a release lists the numbers of processors and their products.
    known = [entry for entry in provided.snp if entry["ProductName"] in chosen]
    named = {entry["ProductName"] for entry in known}
    blank = [{"ProductName": product} for product in chosen if product not in named]
    return ReferenceValues(
        snp=tuple(_snp(wanted, form, overrides, entry) for entry in (*known, *blank))
    )


def simulated_reference(root_sha256_hex: str) -> SimulatedReference:
    """Return the entry that accepts guests of the simulated processor with this root."""
    return SimulatedReference(
        root_sha256_hex=root_sha256_hex,
        trusted_measurement_hex=SIMULATED_MEASUREMENT,
        minimum_tcb=AKS_TCB,
        guest_policy=GuestPolicy(),
    )


def _products(
    wanted: Platform, overrides: ReferenceOverrides, provided: ProvidedValues
) -> tuple[str, ...]:
    """Return the products that get an entry: those of the settings, else of the file, else of the platform."""
    for product in overrides.products or ():
        if product not in wanted.products:
            known = " and ".join(wanted.products)
            message = (
                f"reference_values.products has {product}, "
                f"but platform '{wanted.name}' knows {known} only"
            )
            raise SettingsError(message)
    named = {entry["ProductName"] for entry in provided.snp}
    chosen = set(overrides.products or named or wanted.products)
    return tuple(product for product in wanted.products if product in chosen)


def _snp(
    wanted: Platform, form: ManifestForm, overrides: ReferenceOverrides, entry: Mapping[str, Any]
) -> SnpReference:
    is_aks, product = wanted.name.startswith("aks-"), entry["ProductName"]
    tcb = to_json(AKS_TCB if is_aks else SnpTcb())
    document = {
        "TrustedMeasurement": "",
        # A measurement that says nothing of processors is that of a guest with one.
        "CPUs": 1,
        "MinimumMitigationVector": 0,
        **_known(entry),
        "Platform": wanted.canonical,
        "MinimumTCB": tcb | _known(entry.get("MinimumTCB")),
        "GuestPolicy": to_json(GuestPolicy(abi_minor=_AKS_ABI_MINOR if is_aks else 0))
        | _known(entry.get("GuestPolicy")),
        "PlatformInfo": to_json(PlatformInfo()) | _known(entry.get("PlatformInfo")),
    }
    document = _declared(SnpReference, document, overrides.snp.get(product, {}))
    return to_record(SnpReference, _of_release(SnpReference, document, form))


def _tdx(
    wanted: Platform, form: ManifestForm, overrides: ReferenceOverrides, entry: Mapping[str, Any]
) -> TdxReference:
    document = {
        "MinTCBEvaluationDataNumber": 0,
        "MrTd": "",
        # RTMR3 is never extended.
        "Rtmrs": ["", "", "", "0" * 96],
        "MinimumQeSvn": 0,
        "MinimumPceSvn": 0,
        "MinimumTeeTcbSvn": "",
        "MrSeam": "",
        "TdAttributes": TD_ATTRIBUTES,
        "Xfam": XFAM,
        "MemoryIntegrity": False,
        "SMTDisabled": False,
        "StaticPlatform": False,
        **_known(entry),
        "Platform": wanted.canonical,
    }
    # An empty list keeps the values of the file.
    declared = {key: value for key, value in overrides.tdx.items() if value != ()}
    document = _declared(TdxReference, document, declared)
    return to_record(TdxReference, _of_release(TdxReference, document, form))


def _of_release(
    record: type[Record], document: Mapping[str, Any], form: ManifestForm
) -> dict[str, Any]:
    """Return the members that a release has; `unread` reports those of others that somebody set."""
    read = {entry.name for entry in members_of(record, form).values()}
    return {name: value for name, value in document.items() if name in read}


def _declared(
    record: type[Record], document: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a document with the values that contrast.toml declares for members of it."""
    changed = dict(document)
    for member in record.members:
        if member.settable and member.key in values:
            value = values[member.key]
            is_part = isinstance(member.shape, type)
            changed[member.name] = (
                _declared(member.shape, document[member.name], value) if is_part else value
            )
    return changed


def _known(members: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the members with a value; a file may write null or "" for values that it does not set."""
    return {name: value for name, value in (members or {}).items() if value not in (None, "")}
