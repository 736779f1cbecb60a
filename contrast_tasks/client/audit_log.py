"""The Coordinator's audit log: fetched by an owner, verified, and printed. Source: docs/internals/coordinator.md 14.1.

The hash of the newest entry is kept, so that the next look finds out if the log was put back to an older one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.client.before_set import load_owner_key
from contrast_tasks.client.coordinator import USUAL_REACH, Coordinator, Reach
from contrast_tasks.client.deployed import Given
from contrast_tasks.client.input_files import load_manifest
from contrast_tasks.client.session import Session
from contrast_tasks.client.verify import FOLDER
from contrast_tasks.errors import MismatchError
from contrast_tasks.files import write_atomic
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings

if TYPE_CHECKING:
    from contrast_tasks.api.audit_log import AuditEntry
    from contrast_tasks.api.extension import AuditLog, CoordinatorStatus

# In the folder of `verify`: number of the newest entry and its SHA-256 in hex.
NEWEST_FILE = "latest-audit-entry"
# Signs transitions and the log; an archive of the Coordinator's store can be verified by it.
KEY_FILE = "transaction-key.pem"
_HEAD = ("time", "event")
_LINKS = ("number", "previous")
_SHORT = 12
_DIGEST_DIGITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLogResult:
    """The verified log as text, the number of its entries, and the number of events that are not written yet."""

    coordinator: str
    text: str
    entries: int
    unwritten: int


def run_audit_log(
    settings: Settings,
    *,
    say: Callable[[str], None],
    coordinator: Given = None,
    manifest: Path | None = None,
    owner_key: Path | None = None,
    owner_key_name: str = "",
    reach: Reach = USUAL_REACH,
) -> AuditLogResult:
    """Return the audit log of a Coordinator that attests itself by the manifest; arguments as of `run_set`.

    Raises MismatchError for a log that does not hold together, is not signed, or is older than one seen before; NotAuthorised unless the key is an owner's; EvidenceRejected, CoordinatorUnreachable.
    """
    given = load_manifest(settings, manifest)
    given.warn_if_simulated(say)
    key, _ = load_owner_key(settings, owner_key, owner_key_name)
    target = Coordinator.find(settings, coordinator, say=say, reach=reach)

    def fetch(session: Session) -> "tuple[CoordinatorStatus, AuditLog]":
        return session.get_status(), session.get_audit_log()

    status, log = target.ask(given.manifest, fetch, key)
    key_pem = verify_log(log, target.subject)
    folder = settings.root / FOLDER
    _refuse_older(log.entries, folder / NEWEST_FILE, target.subject)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / KEY_FILE, key_pem)
    if log.entries:
        newest = log.entries[-1]
        write_atomic(folder / NEWEST_FILE, f"{newest.number} {newest.digest.hex()}\n".encode())
    lines = [*_status_lines(status, target.subject), "", *log_lines(log)]
    return AuditLogResult(
        coordinator=target.address,
        # Reasons and addresses come from peers and must not control the auditor's terminal.
        text="".join(
            f"{''.join(char if char.isprintable() else '?' for char in line)}\n" for line in lines
        ),
        entries=len(log.entries),
        unwritten=len(log.unwritten),
    )


def verify_log(log: "AuditLog", subject: str) -> bytes:
    """Return the key in PEM form; raise MismatchError unless each entry follows the one before, and the key signed the newest."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_der_public_key,
    )

    from contrast_tasks.api.audit_log import first_break

    if (number := first_break(log.entries)) is not None:
        raise MismatchError(
            f"{subject}: entry {number} of its audit log does not follow the one before"
        )
    try:
        key = load_der_public_key(log.transaction_key_spki)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise MismatchError(f"{subject} names no key for its audit log")
    if log.entries and not log.entries[-1].is_signed_by(key):
        raise MismatchError(f"{subject}: the newest entry of its audit log is not signed")
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def log_lines(log: "AuditLog") -> Iterator[str]:
    """Yield a line for each entry, oldest first."""
    from contrast_tasks.api.audit_log import oldest_kept

    if log.entries and (first := log.entries[0].number):
        is_usual = first <= oldest_kept(log.entries[-1].number)
        fate = (
            "were written over"
            if is_usual
            else "are missing: somebody removed or changed them in the store"
        )
        yield f"(entries before {first} {fate})"
    for entry in log.entries:
        yield _line(entry.members)
    for members in log.unwritten:
        yield f"{_line(members)}  (not written to its store yet)"


def _line(members: Mapping[str, Any]) -> str:
    more = (
        f"{name}={_shown(value)}"
        for name, value in members.items()
        if name not in (*_HEAD, *_LINKS)
    )
    return "  ".join([str(members.get("time", "")), str(members.get("event", "")), *more])


def _shown(value: object) -> str:
    text = str(value)
    return text[:_SHORT] if len(text) == _DIGEST_DIGITS else text


def _status_lines(status: "CoordinatorStatus", subject: str) -> Iterator[str]:
    yield f"audit log of {subject}, version {status.version}, {status.state}, manifest {status.generation}"
    if status.root_ca_not_after is not None and status.mesh_ca_not_after is not None:
        root, mesh = (
            each.strftime("%Y-%m-%d")
            for each in (status.root_ca_not_after, status.mesh_ca_not_after)
        )
        yield f"  root CA good until {root}, mesh CA until {mesh}"
    if status.peers_serving is not None:
        yield f"  others that serve: {status.peers_serving}"


def _refuse_older(entries: "Sequence[AuditEntry]", kept: Path, subject: str) -> None:
    if not kept.is_file():
        return
    number_text, _, digest_hex = kept.read_text().strip().partition(" ")
    found = {str(entry.number): entry.digest.hex() for entry in entries}
    oldest = entries[0].number if entries else 0
    if number_text.isdecimal() and int(number_text) < oldest:
        return  # written over since
    if found.get(number_text) != digest_hex:
        raise MismatchError(
            f"{subject}: its audit log lacks entry {number_text}, which was seen before: it may have been put back to an older one",
            hint=f"if the coordinator began a new history, move {FOLDER}/ away and '{command('verify')}'",
        )
