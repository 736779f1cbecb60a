"""The runtime in containerd's configuration: lines at its end, so that taking them out restores every byte.

Whatever else the file says stays as it is, comments included. TOML allows a table to be added at the end unless the one around
it is written in one line; that, and everything else that a reader of TOML would understand in another way than the file with
one runtime more, is refused. Source: docs/internals/runtime.md 4.4.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from contrast_tasks.errors import ClusterError
from contrast_tasks.records import Record

MADE = "# This file was made by the node installer of contrast-tasks, and goes with the last runtime.\n"
"""First line of a configuration that was not there before."""
_NEW = f"{MADE}version = 2\n"
_FIRST_WITH_RUNTIME_PLUGIN = 3
_OF_PLUGIN = {
    True: "io.containerd.cri.v1.runtime",
    False: "io.containerd.grpc.v1.cri",
}
_JOINED = ", after a line without an end"


class Runtime(Record):
    """What containerd has to know. folder: of the runtime on the node, as `/opt/edgeless/<handler>`.

    snapshotter: whether the node has a snapshotter of its own for it (AKS). passes_devices: annotations of GPUs too.
    """

    handler: str
    folder: str
    kata_config: str
    snapshotter: bool = False
    passes_devices: bool = False

    def values(self, plugin: str) -> dict[str, Any]:
        """Return the tables to add, as TOML reads them."""
        annotations = ["io.katacontainers.*", *(["cdi.k8s.io/*"] if self.passes_devices else [])]
        table: dict[str, Any] = {
            "runtime_type": "io.containerd.contrast-cc.v2",
            "runtime_path": f"{self.folder}/bin/containerd-shim-contrast-cc-v2",
            "pod_annotations": annotations,
            "privileged_without_host_devices": True,
        }
        if self.snapshotter:
            table["snapshotter"] = f"tardev-{self.handler}"
        table["options"] = {"ConfigPath": self.kata_config}
        added: dict[str, Any] = {
            "plugins": {plugin: {"containerd": {"runtimes": {self.handler: table}}}}
        }
        if self.snapshotter:
            address = f"/run/containerd/tardev-snapshotter-{self.handler}.sock"
            added["proxy_plugins"] = {
                f"tardev-{self.handler}": {"type": "snapshot", "address": address}
            }
        return added


def with_runtime(text: str | None, runtime: Runtime, *, rendered: str | None = None) -> str:
    """Return a configuration with the runtime; None: there is no file.

    rendered: what a template becomes, and then `text` is the template, which is not read as TOML; without one it is made of
    what is rendered. Raises ClusterError if the result would not be the same configuration with one runtime more.
    """
    base = _NEW if text is None else _without(text, runtime.handler)
    source = base
    if rendered is not None:
        source = _without(rendered, runtime.handler)
        if text is None:
            base = source if source.startswith(MADE) else f"{MADE}{source}"
    before = _parsed(source)
    added = runtime.values(_plugin(before))
    if _find(before, added) is not None:
        # Another installer has written the same, as far as it is the same.
        if _merged(before, added) == before:
            return text if text is not None else base
        raise ClusterError(
            f"containerd's configuration has another runtime {runtime.handler} already",
            hint="remove its table, or take the installer that wrote it",
        )
    if _parsed(source + _block(source, runtime.handler, added)) != _merged(before, added):
        raise _cannot_edit()
    return base + _block(base, runtime.handler, added)


def without_runtime(text: str | None, handler: str) -> str | None:
    """Return a configuration without the runtime's lines, None where no file is left to have."""
    if text is None:
        return None
    rest = _without(text, handler)
    return None if rest.startswith(MADE) and not _lines_of("").search(rest) else rest


def _without(text: str, handler: str) -> str:
    found = _lines_of(handler).search(text)
    if found is None:
        return text
    before, after = text[: found.start()], text[found.end() :]
    if found["joined"] and not after:
        before = before.removesuffix("\n")
    elif found["joined"]:
        after = _rejoined(after)
    return before + after


def _rejoined(after: str) -> str:
    """Return what follows lines that began after a line without an end; the next runtime's lines follow that line now."""
    first, newline, rest = after.partition("\n")
    return f"{first}{_JOINED}{newline}{rest}" if first.startswith("# contrast-tasks: ") else after


def _begin(handler: str, *, is_joined: bool) -> str:
    return f"# contrast-tasks: runtime {handler}{_JOINED if is_joined else ''}\n"


def _end(handler: str) -> str:
    return f"# contrast-tasks: end of runtime {handler}\n"


def _lines_of(handler: str) -> re.Pattern[str]:
    """Return the pattern of the lines of one runtime, "" for any."""
    name = re.escape(handler) if handler else r"[a-z0-9-]+"
    return re.compile(
        rf"^# contrast-tasks: runtime (?P<name>{name})(?P<joined>{_JOINED})?\n.*?^# contrast-tasks: end of runtime (?P=name)\n",
        re.DOTALL | re.MULTILINE,
    )


def _block(text: str, handler: str, added: Mapping[str, Any]) -> str:
    is_joined = bool(text) and not text.endswith("\n")
    lines = [_begin(handler, is_joined=is_joined), *_tables(added, ()), _end(handler)]
    return ("\n" if is_joined else "") + "".join(lines)


def _tables(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """Return the lines of tables: those of a table with values of its own begin with its header."""
    values = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = []
    if values:
        lines.append(f"[{'.'.join(map(_key, path))}]\n")
        lines += [f"{_key(key)} = {json.dumps(value)}\n" for key, value in values.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _tables(value, (*path, key))
    return lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _plugin(document: Mapping[str, Any]) -> str:
    version = document.get("version", 1)
    if not isinstance(version, int) or version < 2:  # noqa: PLR2004  # the first with plugins' whole names
        raise ClusterError(
            f"containerd's configuration has version {version}, expected 2 or later",
            hint="write version = 2 at its top, and names of plugins as 'containerd config default' has them",
        )
    plugin = _OF_PLUGIN[version >= _FIRST_WITH_RUNTIME_PLUGIN]
    off = document.get("disabled_plugins", [])
    if isinstance(off, list) and {"cri", plugin} & set(map(str, off)):
        raise ClusterError(
            "containerd's configuration turns the CRI plugin off, without which Kubernetes has no pods",
            hint="take it out of disabled_plugins",
        )
    return plugin


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise _cannot_edit(str(err)) from err


def _cannot_edit(reason: str = "") -> ClusterError:
    return ClusterError(
        "the runtime cannot be added to containerd's configuration"
        + (f", which is not TOML then: {reason}" if reason else ""),
        hint="write plugins and runtimes as tables with headers of their own, as 'containerd config default' does",
    )


def _merged(before: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for key, value in added.items():
        present = merged.get(key)
        both = isinstance(value, dict) and isinstance(present, dict)
        merged[key] = _merged(present, value) if both and present is not None else value
    return merged


def _find(document: Any, added: Mapping[str, Any]) -> Any:
    """Return what a document has where the runtime's table goes, None for nothing."""
    (plugin, tables) = next(iter(added["plugins"].items()))
    (handler,) = tables["containerd"]["runtimes"]
    for key in ("plugins", plugin, "containerd", "runtimes", handler):
        document = document.get(key) if isinstance(document, dict) else None
    return document
