"""The initdata document: TOML with the files that a guest measures before its agent starts, the policy among them.

Source: docs/internals/releases.md 1.3.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from contrast_tasks.records import Record

POLICY_FILE = "policy.rego"
VERSION = "0.1.0"
ALGORITHMS = ("sha256", "sha384", "sha512")
_WRITTEN = "sha256"
_BARE = re.compile(rb"[A-Za-z0-9_-]+")
# What no TOML string may hold as it is; tab may stand between single quotes, newline in neither form.
_CONTROL = bytes([*range(0x09), 0x0B, 0x0C, *range(0x0D, 0x20), 0x7F])
_CONTROL_CHARACTER = b"[" + re.escape(_CONTROL) + b"]"
_SHORT = {b"\b": rb"\b", b"\f": rb"\f", b"\r": rb"\r"}
_COMMON = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", rb"\n"), (b"\t", rb"\t"))


class Initdata(Record):
    """A document that was read. algorithm: without a dash. data: content of each file by name. digest: over the raw bytes."""

    algorithm: str
    data: Mapping[str, str]
    digest: bytes


def render_initdata(data: Mapping[str, bytes]) -> bytes:
    """Return the document as the reference product writes it, byte for byte; data: content in UTF-8 by file name."""
    lines = [
        b"version = ",
        _quoted(VERSION.encode()),
        b"\nalgorithm = ",
        _quoted(_WRITTEN.encode()),
    ]
    lines.append(b"\n\n[data]\n" if data else b"\n")
    for name, content in sorted((name.encode(), content) for name, content in data.items()):
        key = name if _BARE.fullmatch(name) else _quoted(name)
        lines += [key, b" = ", _quoted(content), b"\n"]
    return b"".join(lines)


def _quoted(text: bytes) -> bytes:
    """Return a string on one line: in single quotes as it is if they can hold it, else in double quotes with escapes."""
    has_control = len(text.translate(None, _CONTROL)) != len(text)
    if not has_control and b"\n" not in text and b"'" not in text:
        return b"'" + text + b"'"
    for character, escaped in _COMMON:
        text = text.replace(character, escaped)
    if has_control:
        text = re.sub(_CONTROL_CHARACTER, _escaped, text)
    return b'"' + text + b'"'


def _escaped(found: re.Match[bytes]) -> bytes:
    return _SHORT.get(found[0]) or b"\\u%04X" % found[0][0]


BEFORE_POLICY = render_initdata({POLICY_FILE: b"\n"}).removesuffix(b'"\\n"\n')
"""What documents begin with that hold a policy and nothing else."""


def parse_initdata(content: bytes) -> Initdata:
    """Return the document. Raises ValueError that says what was found and expected."""
    policy = _policy_as_written(content)
    if policy is not None:
        data: Mapping[str, str] = {POLICY_FILE: policy}
        return Initdata(algorithm=_WRITTEN, data=data, digest=hashlib.sha256(content).digest())
    document = _parse_toml(content)
    if document.get("version") != VERSION:
        raise ValueError(f"found version {_shown(document, 'version')}, expected {VERSION!r}")
    algorithm = str(document.get("algorithm")).replace("-", "", 1)
    if algorithm not in ALGORITHMS:
        found, expected = _shown(document, "algorithm"), ", ".join(ALGORITHMS)
        raise ValueError(f"found algorithm {found}, expected one of {expected}")
    files = document.get("data")
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise ValueError("found no table [data] of strings, expected one with the policy")
    if POLICY_FILE not in files:
        raise ValueError(f"found no '{POLICY_FILE}' in [data], expected the policy there")
    digest = hashlib.new(algorithm, content).digest()
    return Initdata(algorithm=algorithm, data=files, digest=digest)


def _policy_as_written(content: bytes) -> str | None:
    """Return the policy of a document as `render_initdata` writes it, None for any other; a tenth of the parser's time."""
    if not content.startswith(BEFORE_POLICY):
        return None
    try:
        # JSON has all the escapes that are written; rendering again shows whether there were others.
        policy = json.loads(content[len(BEFORE_POLICY) : -1].decode())
        if isinstance(policy, str) and render_initdata({POLICY_FILE: policy.encode()}) == content:
            return policy
    except ValueError:
        pass
    return None


def _parse_toml(content: bytes) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as err:
        raise ValueError(f"found bytes that are not UTF-8 at {err.start}, expected TOML") from err
    except tomllib.TOMLDecodeError as err:
        raise ValueError(f"found no TOML: {err}") from err
    except RecursionError as err:
        raise ValueError("found TOML that is nested too deeply, expected initdata") from err


def _shown(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return "none" if value is None else f"{value!r:.40}" if isinstance(value, str) else "no string"
