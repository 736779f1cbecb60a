"""The environment of a container, as the kubelet and containerd compute it (docs/internals/policy.md 4.3)."""

import re
from collections.abc import Mapping

from contrast_tasks import catalogue
from contrast_tasks.pods.elsewhere import keys_wanted
from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.expectations import Environment, EnvPattern, FirstVariable
from contrast_tasks.policy.gpus import VARIABLES as GPU_VARIABLES
from contrast_tasks.policy.model import Elsewhere, ImageFacts
from contrast_tasks.policy.place import Place
from contrast_tasks.policy.profiles import DEFAULT_PATH
from contrast_tasks.policy.values import (
    API_SERVER_FAMILY,
    FREE,
    FREE_WORD,
    HOSTNAME,
    NUMBER,
    SERVICE_FAMILY,
    Parts,
    Unknown,
    escape,
    expand,
    is_identity,
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

    given: those that the pod defines, in order of definition.
    maybe_absent: names of given variables that may be missing.
    """

    def __init__(self, context: PodContext, container: Place, image: ImageFacts) -> None:
        self._context = context
        self._container = container
        self._image = image.env
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

    def lookup_of_command(self, name: str) -> Parts | None:
        """Return the value as `lookup` does, for what is executed: a part that the host chooses is a word there."""
        found = self.lookup(name)
        return found and tuple(FREE_WORD if part is FREE else part for part in found)

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
        """Return the expected environment of the process.

        A variable of the pod takes the place of containerd's own, and follows that of the image, which stays.
        """
        head = _Head(tty=tty)
        head.add(self._image)
        fixed: dict[str, str] = {}
        optional: dict[str, tuple[str, ...]] = {}
        patterns: dict[str, EnvPattern] = {}
        for name, parts in self.given.items():
            known, required = literal(parts), name not in self.maybe_absent
            if name in head.own:
                entry = _pattern(name, parts) if known is None else f"{name}={known}"
                head.replace(name, entry, required=required)
            elif known is None:
                patterns[name] = _pattern(name, parts, required=required)
            elif required:
                fixed[name] = known
            else:
                optional[name] = (known,)
        family = SERVICE_FAMILY if self._context.service_links else API_SERVER_FAMILY
        if gpus:
            family += _GPU_FAMILY
        return Environment(
            head=head.entries(), fixed=fixed, optional=optional, patterns=patterns, family=family
        )

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
            if not _LATER_ENV_NAME.fullmatch(name):
                continue
            self._check_text(reference, f"{kind} {reference.text('name')}", key, entries[key], kind)
            _refuse_free(reference, name, value)
            if value is not None:
                optional = reference.flag("optional") or not _ENV_NAME.fullmatch(name)
                self._set(name, (value,) if value else (), optional=optional)

    def _read_env(self) -> None:
        for entry in self._container.entries("env"):
            name = entry.text("name")
            if not name or "=" in name or not name.isprintable():
                entry.at("name").report(catalogue.ENV_NAME, f"{name!r} is not a name of a variable")
                continue
            value = entry.text("value")
            if "\0" in value:
                entry.at("value").report(
                    catalogue.CONFIG_VALUE,
                    f"the value of {name} has a NUL character, so the container does not start",
                    "remove it",
                )
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
                _refuse_free(reference, name, value)
                if value is not None:
                    self._set(name, (value,) if value else (), optional=reference.flag("optional"))
                return
        if source.has("fieldRef"):
            from contrast_tasks.policy.fieldrefs import field_value

            self._set(name, field_value(self._context, source.mapping("fieldRef")))
        elif source.has("resourceFieldRef"):
            from contrast_tasks.policy.fieldrefs import resource_value

            reference = source.mapping("resourceFieldRef")
            self._set(name, resource_value(self._context, self._container, reference))
        else:
            source.report(
                catalogue.UNKNOWN_FIELD,
                f"the value of {name} comes from an unknown source",
                "use configMapKeyRef, secretKeyRef, fieldRef or resourceFieldRef",
            )

    def _key_value(self, reference: Place, kind: str) -> str | Unknown | None:
        entries = self._config(reference, kind)
        if entries is None:
            return None
        key = reference.text("key")
        value = _env_text(entries[key], kind) if key in entries else None
        if key in entries and self._check_text(
            reference, f"{kind} {reference.text('name')}", key, entries[key], kind
        ):
            return None
        if value is None and not reference.flag("optional"):
            known = ", ".join(sorted(entries)) or "no key"
            reference.report(
                catalogue.CONFIG_VALUE,
                f"{kind} {reference.text('name')} has no text under the key {key!r}",
                f"it has {known}; correct the key or set optional: true",
            )
        return value

    def _config(self, reference: Place, kind: str) -> Mapping[str, str | bytes | Unknown] | None:
        name = reference.text("name")
        entries: Mapping[str, str | bytes | Unknown] | None = self._context.config(kind, name)
        if entries is None and (made := self._context.elsewhere(kind, name)) is not None:
            return _made_elsewhere(reference, kind, made, self._context.given.owner.namespace)
        if entries is None and not reference.flag("optional"):
            reference.report(
                catalogue.CONFIG_ABSENT,
                f"{kind} {name!r} is not among the sources",
                f"add the {kind} to the deployment files, because its values are part of the policy",
            )
        if entries is not None and kind == "Secret":
            reference.report(
                catalogue.SECRET_IN_POLICY,
                f"values of Secret {name} become part of the policy, which the host can read",
            )
        return entries

    def _check_text(
        self, reference: Place, where: str, key: str, value: str | bytes | Unknown, kind: str
    ) -> bool:
        """Report a value that no variable can have; binary data of a ConfigMap is none (docs/internals/reality.md 1.6)."""
        if isinstance(value, Unknown) or (isinstance(value, bytes) and kind == "ConfigMap"):
            return False
        if _env_text(value, kind) is None:
            fault = "is not UTF-8 text, so the policy cannot know what becomes of it"
        elif "\0" in str(_env_text(value, kind)):
            fault = "has a NUL character, so the container does not start"
        else:
            return False
        reference.report(
            catalogue.CONFIG_VALUE,
            f"the value {key!r} of {where} {fault}",
            "mount it as a file instead of a variable",
        )
        return True

    def _set(self, name: str, parts: Parts, *, optional: bool = False) -> None:
        self.given[name] = parts
        if optional:
            self.maybe_absent.add(name)
        else:
            self.maybe_absent.discard(name)


def image_environment(image: ImageFacts) -> Environment:
    """Return the environment of the pause container, which has only the image's variables."""
    head = _Head(tty=False, hostname=False)
    head.add(image.env)
    return Environment(head=head.entries())


class _Head:
    """The variables at the beginning: containerd's own, in which others take places, then those of the image.

    own: entries by name, the accepted ones for each; none if the image takes the variable away.
    Source: docs/internals/reality.md 1.1.
    """

    def __init__(self, *, tty: bool, hostname: bool = True) -> None:
        self.own: dict[str, tuple[str | EnvPattern, ...]] = {"PATH": (DEFAULT_PATH,)}
        if tty:
            self.own["TERM"] = ("TERM=xterm",)
        if hostname:
            self.own["HOSTNAME"] = (_pattern("HOSTNAME", (HOSTNAME,)),)
        self._rest: list[FirstVariable] = []

    def add(self, image: tuple[str, ...]) -> None:
        """Add the entries of an image; without `=` an entry only takes away one of containerd's own."""
        for entry in image:
            name, has_value, _ = entry.partition("=")
            if name in self.own:
                self.own[name] = (entry,) if has_value else ()
            elif has_value:
                self._rest.append(FirstVariable(name=name, choices=(entry,)))

    def replace(self, name: str, entry: str | EnvPattern, *, required: bool) -> None:
        """Put the pod's variable in the place of containerd's own, or beside it if it may be absent."""
        self.own[name] = (entry,) if required else (*self.own[name], entry)

    def entries(self) -> tuple[FirstVariable, ...]:
        own = (FirstVariable(name=name, choices=each) for name, each in self.own.items() if each)
        return (*own, *self._rest)


def _made_elsewhere(
    reference: Place, kind: str, made: Elsewhere, namespace: str | None
) -> Mapping[str, str | bytes | Unknown]:
    """Return the entries of an object that is made elsewhere; report what the host chooses of it."""
    name, key = reference.text("name"), reference.text("key")
    if not key and not made.keys and not made.values:
        reference.report(
            catalogue.CONFIG_VALUE,
            f"all keys of the {kind} {name} become variables, and it is made elsewhere: its keys are not known",
            f"write to contrast.toml {keys_wanted(namespace, kind, name)}",
        )
    is_known = bool(made.keys or made.values)
    keys = made.keys if is_known or not key else (key,)
    entries: dict[str, str | bytes | Unknown] = {**dict.fromkeys(keys, FREE), **made.values}
    free = [each for each, value in entries.items() if value is FREE and key in ("", each)]
    if free:
        reference.report(
            catalogue.FREE_VALUE,
            f"the {kind} {name} is made elsewhere, so the host chooses the values of {', '.join(free)}",
        )
    if kind == "Secret" and any(key in ("", each) for each in made.values):
        reference.report(
            catalogue.SECRET_IN_POLICY,
            f"values of Secret {name} become part of the policy, which the host can read",
        )
    return entries


def _refuse_free(reference: Place, name: str, value: str | Unknown | None) -> None:
    """Report a variable by which the loader of programs chooses what runs, with a value that the host chooses."""
    if value is FREE and (name == "PATH" or name.startswith("LD_")):
        reference.report(
            catalogue.CONFIG_VALUE,
            f"the value of {name} is made elsewhere, so the host could choose what runs",
            "give the value under [elsewhere] in contrast.toml",
        )


def _env_text(value: str | bytes | Unknown, kind: str) -> str | Unknown | None:
    """Return the value of a variable, None for binary data of a ConfigMap and for other encodings than UTF-8."""
    if isinstance(value, str | Unknown):
        return value
    if kind == "ConfigMap":
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _pattern(name: str, parts: Parts, *, required: bool = True) -> EnvPattern:
    return EnvPattern(
        regex=f"^{escape(name)}={regex_of(parts)}$",
        sample=f"{name}={sample_of(parts)}",
        is_text=is_identity((name, *parts)),
        required=required,
    )
