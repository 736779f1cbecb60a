"""The files of verify/ that hold policies, named by their key in the manifest.

    policy.<hash>.rego      the policy as text; what is hashed too, unless there is a file in gzip beside it
    policy.<hash>.rego.gz   gzip that is hashed; the text beside it is what is in it
    initdata.<hash>.toml    initdata that is hashed, the policy in it

Source: docs/internals/releases.md 2.6.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from contrast_tasks.errors import Location, MismatchError
from contrast_tasks.files import sha256_hex
from contrast_tasks.manifest.policy_document import DocumentError, channel_of, parse_document
from contrast_tasks.report.hints import command

_TEXT = re.compile(r"policy\.([0-9a-f]{64})\.rego")
_GZIP = re.compile(r"policy\.([0-9a-f]{64})\.rego\.gz")
_INITDATA = re.compile(r"initdata\.([0-9a-f]{64})\.toml")


def policy_key_of(name: str) -> str:
    """Return the key of the policy that a file of verify/ holds by its name, "" if it holds none."""
    matches = (form.fullmatch(name) for form in (_TEXT, _GZIP, _INITDATA))
    return next((match[1] for match in matches if match is not None), "")


def policy_files(documents: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files for policies from a Coordinator, by key, which are not judged."""
    for key, document in documents:
        match channel_of(document):
            case "initdata":
                yield f"initdata.{key}.toml", document
            case "gzip":
                yield f"policy.{key}.rego", parse_document(document).policy
                yield f"policy.{key}.rego.gz", document
            case _:
                yield f"policy.{key}.rego", document


def load_policies(folder: Path) -> dict[str, bytes]:
    """Return the documents in a folder by their key. Raises MismatchError for one that was changed."""
    texts, documents = {}, {}
    for path in sorted(folder.iterdir()):
        if match := _TEXT.fullmatch(path.name):
            texts[match[1]] = path
        elif match := _GZIP.fullmatch(path.name) or _INITDATA.fullmatch(path.name):
            documents[match[1]] = path
    found = {key: _read(path, key) for key, path in documents.items()}
    for key, path in texts.items():
        if key not in found:
            found[key] = _read(path, key)
        elif path.read_bytes() != _text_in(found[key], documents[key]):
            raise _changed(path, f"the policy is not the one in {documents[key].name}")
    return found


def _read(path: Path, key: str) -> bytes:
    content = path.read_bytes()
    found = sha256_hex(content)
    if found != key:
        raise _changed(path, f"the policy has hash {found}, its name says {key}")
    return content


def _text_in(document: bytes, path: Path) -> bytes:
    try:
        return parse_document(document).policy
    except DocumentError as err:
        raise _changed(path, str(err)) from err


def _changed(path: Path, message: str) -> MismatchError:
    # A file that another tool unpacked looks the same: without the gzip there is nothing to hash.
    return MismatchError(
        message,
        where=Location(file=f"{path.parent.name}/{path.name}"),
        hint=f"the file was changed, or unpacked by another tool: run '{command('verify')}' again",
    )
