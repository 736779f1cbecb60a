"""The environment of a container, as the kubelet and containerd compute it (docs/internals/policy.md 4.3)."""

import re
from collections.abc import Mapping

from contrast_tasks import catalogue
from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.expectations import Environment, EnvPattern
from contrast_tasks.policy.fieldrefs import field_value, resource_value
from contrast_tasks.policy.gpus import VARIABLES as GPU_VARIABLES
from contrast_tasks.policy.model import ImageFacts
from contrast_tasks.policy.place import Place
from contrast_tasks.policy.profiles import DEFAULT_PATH
from contrast_tasks.policy.values import (
    API_SERVER_FAMILY,
    NUMBER,
    SERVICE_FAMILY,
    Parts,
    escape,
    expand,
    literal,
    regex_of,
    sample_of,
    service_value,
)

# Keys that envFrom turns into variables: those that every kubelet accepts, and those that kubelets since 1.30 accept.
_ENV_NAME = re.compile(r"(?!\.$|\.\.)[-._a-zA-Z][-._a-zA-Z0-9]*")
_LATER_ENV_NAME = re.compile(r"[ -<>-~]+")
JOB_INDEX = "JOB_COMPLETION_INDEX"
_GPU_FAMILY = f"|{GPU_VARIABLES}"
# Every possible pattern of variables that neither pod nor image defines.
KNOWN_FAMILIES = frozenset(
    {
        *(SERVICE_FAMILY, API_SERVER_FAMILY),
        *(SERVICE_FAMILY + _GPU_FAMILY, API_SERVER_FAMILY + _GPU_FAMILY),
    }
)


class ContainerEnvironment:
    """The variables of one container.

    given: those that the pod defines, in order of definition; they override those of the image.
    maybe_absent: names of given variables that may be missing.
    """

    def __init__(self, context: PodContext, container: Place, image: ImageFacts) -> None:
        self._context = context
        self._container = container
        self._image = _split(image.env)
        self.given: dict[str, Parts] = {}
        self.maybe_absent: set[str] = set()
        self._read_env_from()
        self._read_env()
        self._add_job_index()

    def lookup(self, name: str) -> Parts | None:
        """Return the value of `$(name)` in command, args and later variables."""
        found = self.given.get(name)
        if found is not None:
            return found
        return service_value(name, links=self._context.service_links)

    def lookup_static(self, name: str) -> Parts | None:
        """Return the value of `$(name)` in an exec probe: the value as written, empty for valueFrom."""
        found: Parts | None = None
        if name == JOB_INDEX and self._context.given.indexed_job:
            found = ()
        for entry in self._container.entries("env"):
            if entry.text("name") == name:
                found = (entry.text("value"),)
        return found

    def expectation(self, *, tty: bool, gpus: int = 0) -> Environment:
        """Return the expected environment of the process; the pod's variables override the image's."""
        fixed = _split((DEFAULT_PATH,)) | self._image
        if tty:
            fixed["TERM"] = "xterm"
        optional: dict[str, tuple[str, ...]] = {}
        patterns: dict[str, EnvPattern] = {}
        for name, parts in self.given.items():
            known = literal(parts)
            if known is None:
                patterns[name] = _pattern(name, parts, required=name not in self.maybe_absent)
                fixed.pop(name, None)
            elif name in self.maybe_absent:
                optional[name] = (known, fixed.pop(name)) if name in fixed else (known,)
            else:
                fixed[name] = known
        family = SERVICE_FAMILY if self._context.service_links else API_SERVER_FAMILY
        if gpus:
            family += _GPU_FAMILY
        return Environment(fixed=fixed, optional=optional, patterns=patterns, family=family)

    def _read_env_from(self) -> None:
        for source in self._container.entries("envFrom"):
            prefix = source.text("prefix")
            for member, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if source.has(member):
                    self._take_all(source.mapping(member), kind, prefix)

    def _add_job_index(self) -> None:
        """Add the variable that the controller of an indexed Job appends unless the container defines it."""
        names = (entry.text("name") for entry in self._container.entries("env"))
        if self._context.given.indexed_job and JOB_INDEX not in names:
            self._set(JOB_INDEX, (NUMBER,))

    def _take_all(self, reference: Place, kind: str, prefix: str) -> None:
        entries = self._config(reference, kind)
        if entries is None:
            return
        for key in sorted(entries):
            value = _env_text(entries[key], kind)
            name = f"{prefix}{key}"
            if value is not None and _LATER_ENV_NAME.fullmatch(name):
                optional = reference.flag("optional") or not _ENV_NAME.fullmatch(name)
                self._set(name, (value,) if value else (), optional=optional)

    def _read_env(self) -> None:
        for entry in self._container.entries("env"):
            name = entry.text("name")
            if not name or "=" in name or not name.isprintable():
                entry.at("name").report(catalogue.ENV_NAME, f"{name!r} is not a name of a variable")
                continue
            value = entry.text("value")
            if value:
                self._set(name, expand(value, self.lookup))
            elif entry.has("valueFrom"):
                self._read_source(name, entry.mapping("valueFrom"))
            else:
                self._set(name, ())

    def _read_source(self, name: str, source: Place) -> None:
        for member, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if source.has(member):
                reference = source.mapping(member)
                value = self._key_value(reference, kind)
                if value is not None:
                    self._set(name, (value,) if value else (), optional=reference.flag("optional"))
                return
        if source.has("fieldRef"):
            self._set(name, field_value(self._context, source.mapping("fieldRef")))
        elif source.has("resourceFieldRef"):
            reference = source.mapping("resourceFieldRef")
            self._set(name, resource_value(self._context, self._container, reference))
        else:
            source.report(
                catalogue.UNKNOWN_FIELD,
                f"the value of {name} comes from an unknown source",
                "use configMapKeyRef, secretKeyRef, fieldRef or resourceFieldRef",
            )

    def _key_value(self, reference: Place, kind: str) -> str | None:
        entries = self._config(reference, kind)
        if entries is None:
            return None
        key = reference.text("key")
        value = _env_text(entries[key], kind) if key in entries else None
        if value is None and not reference.flag("optional"):
            known = ", ".join(sorted(entries)) or "no key"
            reference.report(
                catalogue.CONFIG_VALUE,
                f"{kind} {reference.text('name')} has no text under the key {key!r}",
                f"it has {known}; correct the key or set optional: true",
            )
        return value

    def _config(self, reference: Place, kind: str) -> Mapping[str, str | bytes] | None:
        name = reference.text("name")
        entries = self._context.config(kind, name)
        if entries is None and not reference.flag("optional"):
            reference.report(
                catalogue.CONFIG_VALUE,
                f"{kind} {name!r} is not among the sources",
                f"add the {kind} to the deployment files, because its values are part of the policy",
            )
        if entries is not None and kind == "Secret":
            reference.report(
                catalogue.SECRET_IN_POLICY,
                f"values of Secret {name} become part of the policy, which the host can read",
            )
        return entries

    def _set(self, name: str, parts: Parts, *, optional: bool = False) -> None:
        self.given[name] = parts
        if optional:
            self.maybe_absent.add(name)
        else:
            self.maybe_absent.discard(name)


def image_environment(image: ImageFacts) -> Environment:
    """Return the environment of the pause container, which has only the image's variables."""
    return Environment(fixed=_split((DEFAULT_PATH,)) | _split(image.env))


def _split(entries: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for entry in entries:
        name, _, value = entry.partition("=")
        found[name] = value
    return found


def _env_text(value: str | bytes, kind: str) -> str | None:
    """Return the value of a variable, None for binary data of a ConfigMap and for other encodings than UTF-8."""
    if isinstance(value, str):
        return value
    if kind == "ConfigMap":
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _pattern(name: str, parts: Parts, *, required: bool) -> EnvPattern:
    return EnvPattern(
        regex=f"^{escape(name)}={regex_of(parts)}$",
        sample=f"{name}={sample_of(parts)}",
        required=required,
    )
