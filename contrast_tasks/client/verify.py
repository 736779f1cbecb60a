"""Verify: attest the Coordinator, write its history to verify/, then compare with the given manifest.

Source: docs/internals/coordinator.md 13.2. Manifests and policies are written before the comparison, so that the user can
inspect a difference. The CA certificates, which clients are told to trust, are written only after it succeeded.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks.client.attest import history_over_http, is_url
from contrast_tasks.client.coordinator import USUAL_REACH, Coordinator, Reach
from contrast_tasks.client.deployed import Given
from contrast_tasks.client.history import (
    MESH_CA_FILE,
    ROOT_CA_FILE,
    certificate_sha256,
    check_certificates,
    check_history,
    is_same_key,
    lost_lines,
    newest_transition,
)
from contrast_tasks.client.input_files import load_manifest
from contrast_tasks.client.policy_files import policy_files, policy_key_of
from contrast_tasks.client.transitions import LATEST_FILE
from contrast_tasks.errors import MismatchError
from contrast_tasks.files import sha256_hex, write_atomic
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings

if TYPE_CHECKING:
    from contrast_tasks.api.userapi import ManifestHistory

FOLDER = "verify"
# File names below verify/; group 1 is the number (0: the oldest) or the SHA-256 hex.
MANIFEST = re.compile(r"manifest\.(0|[1-9][0-9]*)\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What was verified. folder: of the history, for an audit; files: the changed ones in it."""

    coordinator: str
    folder: Path
    files: tuple[str, ...]
    generations: int
    manifest_sha256: str
    root_ca_sha256: str
    mesh_ca_sha256: str


def run_verify(
    settings: Settings,
    *,
    say: Callable[[str], None],
    coordinator: Given = None,
    manifest: Path | None = None,
    folder: Path | None = None,
    folder_name: str = "",
    accept_rollback: bool = False,
    reach: Reach = USUAL_REACH,
) -> VerifyResult:
    """Verify that a genuine Coordinator has exactly the given manifest in force.

    coordinator: host:port of its user API, or the URL under which its HTTP attestation is; None: the local deployment's.
    manifest: by default the project's own. folder: for the history, called `folder_name` in messages; by default verify/
    of the project. accept_rollback: replace the kept history by an older one.
    Raises EvidenceRejected (41), MismatchError (42), CoordinatorUnreachable (40).
    """
    given = load_manifest(settings, manifest)
    given.warn_if_simulated(say)
    if isinstance(coordinator, str) and is_url(coordinator):
        address = coordinator
        history = history_over_http(address, given.manifest, say=say, reach=reach)
    else:
        target = Coordinator.find(settings, coordinator, say=say, reach=reach)
        address = target.address
        history = target.ask(given.manifest, lambda session: session.get_manifests())
    subject = f"coordinator {address}"
    place = settings.root / FOLDER if folder is None else folder
    shown = FOLDER if folder is None else (folder_name or str(folder)).rstrip("/")
    if _is_of_other_root(place, history):
        say(f"{subject} has another root CA than the one in {shown}/: it began a new history")
    elif not accept_rollback:
        refuse_rollback(history, place, subject=subject, folder=shown)
    changed = write_history(place, history)
    for line in lost_lines(history, subject):
        say(line)
    check_history(history, subject)
    compare(history, given.content, name=given.name, subject=subject, folder=shown)
    check_certificates(history.root_ca_pem, history.mesh_ca_pem, subject, datetime.now(UTC))
    changed += write_certificates(place, history)
    return VerifyResult(
        coordinator=address,
        folder=place,
        files=changed,
        generations=len(history.manifests),
        manifest_sha256=sha256_hex(given.content),
        root_ca_sha256=certificate_sha256(history.root_ca_pem),
        mesh_ca_sha256=certificate_sha256(history.mesh_ca_pem),
    )


def _is_of_other_root(kept_in: Path, history: "ManifestHistory") -> bool:
    """Return whether the history verified before has a root CA with another key."""
    root_ca = kept_in / ROOT_CA_FILE
    return root_ca.is_file() and not is_same_key(root_ca.read_bytes(), history.root_ca_pem)


def refuse_rollback(
    history: "ManifestHistory", kept_in: Path, *, subject: str, folder: str
) -> None:
    """Raise MismatchError if the presented history lacks or changes a manifest that an earlier verify saw.

    An attacker with access to the Coordinator's store can restore an older, validly signed state; only a client that
    remembers the newer one can detect this. Source: docs/internals/coordinator.md 8.5.
    """
    if not (kept_in / ROOT_CA_FILE).is_file():
        return
    now = [
        history.lost_manifests[number].hex()
        if number in history.lost_manifests
        else sha256_hex(content)
        for number, content in enumerate(history.manifests)
    ]
    for number, kept in _kept_manifests(kept_in).items():
        presented = now[number] if number < len(now) else "none"
        if sha256_hex(kept) != presented:
            raise MismatchError(
                f"{subject} presents another history than before, it may have been rolled back\n"
                f"  expected  {sha256_hex(kept)}   {folder}/manifest.{number}.json\n"
                f"  presented {presented}",
                hint=f"if this is intended, move {folder}/ away",
            )


def _kept_manifests(folder: Path) -> dict[int, bytes]:
    """Return the manifests of an earlier verify by number; those that the Coordinator had lost may be missing."""
    found = ((MANIFEST.fullmatch(path.name), path) for path in folder.iterdir())
    numbered = sorted((int(match[1]), path) for match, path in found if match is not None)
    return {number: path.read_bytes() for number, path in numbered if path.is_file()}


def history_files(history: "ManifestHistory") -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file.

    Manifests are numbered from 0 (the oldest), policies named by their hash; the hash of the latest transition, in hex without
    a newline, is what the next update follows.
    """
    for number, text in enumerate(history.manifests):
        if number not in history.lost_manifests:
            yield f"manifest.{number}.json", text
    yield from policy_files(history.policies_by_hash())
    yield LATEST_FILE, newest_transition(history).hex().encode()


def write_history(folder: Path, history: "ManifestHistory") -> tuple[str, ...]:
    """Write the files, remove other manifests and policies, and return the names of the changed files.

    What the Coordinator lost stays where it is kept from an earlier time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names, changed = set[str](), list[str]()
    for name, content in history_files(history):
        names.add(name)
        # Whoever reads a policy checks its hash.
        if write_atomic(folder / name, content, is_synced=not policy_key_of(name)):
            changed.append(name)
    for path in folder.iterdir():
        if path.name not in names and _is_outdated(path.name, history):
            path.unlink()
    return tuple(changed)


def _is_outdated(name: str, history: "ManifestHistory") -> bool:
    """Return whether a file of a manifest or policy belongs to another history."""
    if match := MANIFEST.fullmatch(name):
        return int(match[1]) not in history.lost_manifests
    key = policy_key_of(name)
    return bool(key) and key not in history.lost_policies


def write_certificates(folder: Path, history: "ManifestHistory") -> tuple[str, ...]:
    """Write both CA certificates, and return the names of the changed files."""
    files = {ROOT_CA_FILE: history.root_ca_pem, MESH_CA_FILE: history.mesh_ca_pem}
    return tuple(name for name, text in files.items() if write_atomic(folder / name, text))


def compare(
    history: "ManifestHistory", content: bytes, *, name: str, subject: str, folder: str
) -> None:
    """Raise MismatchError unless the manifest in force equals the given one byte for byte.

    name, subject, folder: how messages name the given manifest, the Coordinator, and the history's folder.
    """
    if not history.manifests:
        raise MismatchError(
            f"{subject} has no manifest in force", hint=f"run '{command('set')}' first"
        )
    active = history.manifests[-1]
    if active == content:
        return
    raise MismatchError(
        f"{subject} has another manifest in force\n"
        f"  expected  {sha256_hex(content)}   {name}\n"
        f"  presented {sha256_hex(active)}   {folder}/manifest.{len(history.manifests) - 1}.json\n"
        f"  first difference in line {_first_difference(content, active)}",
        hint=f"compare the two files; if {name} is the right one, set it again",
    )


def _first_difference(ours: bytes, theirs: bytes) -> int:
    rows = zip(ours.split(b"\n"), theirs.split(b"\n"), strict=False)
    number = 0
    for number, (left, right) in enumerate(rows, start=1):
        if left != right:
            return number
    return number + 1
