"""The contrast.toml of a new project: what must be set, and as comments what most deployments set next."""

import json
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from contrast_tasks.settings.layers import as_toml
from contrast_tasks.settings.model import fixed_members

SCHEMA = ".contrast/settings.schema.json"
# What a project keeps for itself: private keys and shares of the seed, and what is made anew from what is kept.
IGNORED = (
    "/.contrast/",
    "/build/",
    "/verify/",
    "/workload-owner.pem",
    "/seedshare-owner.pem",
    "/seed-shares.json",
    "/seed-shares.json.backup",
)
_WIDTH = 100
# Keys that are shown, with an example where the default would not show what to write.
_SHOWN: tuple[tuple[str, object], ...] = (
    ("runtime.release", None),
    ("defaults.runtime_class", None),
    ("defaults.memory", "700Mi"),
    ("defaults.fit_memory", True),
    ("defaults.cpu_limits", False),
    ("images.layouts", ("layout",)),
    ("owners.workload", None),
    ("owners.seedshare", None),
    ("cluster.context", "production"),
    ("cluster.namespace", "shop"),
)
_WORKLOAD = """
# One workload, or a pattern such as "*", "shop/*" or "StatefulSet/*", can have settings of its own.
# [workloads."Deployment/web"]
# ingress = ""              # mutual TLS on every port
# sans = ["web.example.org"]  # further names in its certificate
"""


def starter(platform: str, sources: Sequence[str], release: str) -> str:
    """Return the text of contrast.toml; release: of the runtime, shown as what is chosen by default."""
    meanings = {".".join(path): entry for path, entry in fixed_members()}
    lines = [
        f"#:schema {SCHEMA}",
        "# Settings of contrast-tasks; 'contrast-tasks config show --origin' prints the effective ones.",
    ]
    required: tuple[tuple[str, object], ...] = (("platform", platform), ("sources", list(sources)))
    for key, value in required:
        lines += ["", *_comment(meanings[key].meaning), f"{key} = {_toml(value)}"]
    table = ""
    for key, example in _SHOWN:
        name, _, last = key.rpartition(".")
        entry = meanings[key]
        value = (
            release if key == "runtime.release" else entry.default if example is None else example
        )
        lines += ["", f"[{name}]"] if name != table else []
        lines += [*_comment(entry.meaning), f"# {last} = {_toml(value)}"]
        table = name
    return "\n".join(lines) + "\n" + _WORKLOAD


def _comment(text: str) -> list[str]:
    return wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    """Return a string, switch or array of strings, which TOML and JSON write alike."""
    return json.dumps(as_toml(value), ensure_ascii=False)
