"""Recover: give a restarted Coordinator its seed back from one owner's share. Source: docs/internals/coordinator.md 13.3.

The Coordinator is attested against the manifest first, because all secrets of the deployment derive from the seed.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from contrast_tasks.addresses import USER_API_PORT
from contrast_tasks.client.coordinator import USUAL_REACH, Coordinator, Reach
from contrast_tasks.client.deployed import Given
from contrast_tasks.client.history import MESH_CA_FILE, ROOT_CA_FILE, check_certificates
from contrast_tasks.client.input_files import load_manifest
from contrast_tasks.client.seed_shares import (
    are_same_seed,
    load_seedshare_owner_key,
    open_share,
    write_shares,
)
from contrast_tasks.client.transitions import known_transition
from contrast_tasks.client.verify import (
    FOLDER,
    run_verify,
    write_certificates,
)
from contrast_tasks.errors import ContrastError, CoordinatorUnreachable, UsageError
from contrast_tasks.files import write_atomic
from contrast_tasks.kube.annotated import load_records
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.outputs import SEED_SHARES_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverResult:
    """A recovered Coordinator. restart: workloads that still have certificates of the earlier mesh CA.

    files: the changed ones, relative to the project: the history below verify/, and the CA files of `set`.
    """

    coordinator: str
    generation: int
    manifest_sha256: str
    mesh_ca_sha256: str
    files: tuple[str, ...]
    restart: tuple[str, ...]


def run_recover(
    settings: Settings,
    *,
    say: Callable[[str], None],
    coordinator: Given = None,
    manifest: Path | None = None,
    owner_key: Path | None = None,
    seed_shares: Path | None = None,
    force: bool = False,
    accept_rollback: bool = False,
    reach: Reach = USUAL_REACH,
) -> RecoverResult:
    """Recover the Coordinator, then verify that the manifest in force is the given one.

    owner_key: RSA key of a seed share owner, by default the first of the settings; seed_shares: by default
    seed-shares.json. force: recover even if recovered peers exist. accept_rollback: even if the Coordinator's history
    does not come after what the last `set` or `verify` saw. Raises UsageError if no share is for the key,
    NotAuthorised, EvidenceRejected, MismatchError, CoordinatorUnreachable.
    """
    from contrast_tasks.api.errors import REASON_RECOVERED

    given = load_manifest(settings, manifest)
    given.warn_if_simulated(say)
    key, key_file = load_seedshare_owner_key(settings, owner_key)
    seed, salt = open_share(seed_shares or settings.root / SEED_SHARES_FILE, key, key_file)
    target = Coordinator.find(settings, coordinator, say=say, reach=reach)
    known = b"" if accept_rollback else known_transition(settings, FOLDER)
    try:
        target.ask(
            given.manifest,
            lambda session: session.recover(seed=seed, salt=salt, force=force, known=known),
            key,
        )
    except CoordinatorUnreachable as err:
        if err.reason != REASON_RECOVERED:
            raise
        raise UsageError(
            f"{target.subject} is not in recovery mode, there is nothing to recover",
            hint=f"see what it has in force with '{command('verify')}'",
        ) from err
    try:
        verified = run_verify(
            settings,
            say=lambda _line: None,
            coordinator=target.address,
            manifest=manifest,
            accept_rollback=accept_rollback,
            reach=reach,
        )
    except ContrastError:
        say(f"{target.subject} has its seed again, but does not serve what was expected")
        raise
    return RecoverResult(
        coordinator=target.address,
        generation=verified.generations,
        manifest_sha256=verified.manifest_sha256,
        mesh_ca_sha256=verified.mesh_ca_sha256,
        files=(
            *(f"{FOLDER}/{file}" for file in verified.files),
            *_copy_certificates(verified.folder, settings.root),
        ),
        restart=tuple(record.key for record in load_records(settings).values() if not record.role),
    )


def fetch_shares(
    settings: Settings,
    *,
    say: Callable[[str], None],
    coordinator: Given = None,
    manifest: Path | None = None,
    owner_key: Path | None = None,
    reach: Reach = USUAL_REACH,
) -> tuple[str, ...]:
    """Write seed-shares.json again, from a Coordinator that serves; return the names of the changed files.

    Arguments and errors are those of `run_recover`.
    """
    given = load_manifest(settings, manifest)
    given.warn_if_simulated(say)
    key, key_file = load_seedshare_owner_key(settings, owner_key)
    target = Coordinator.find(settings, coordinator, say=say, reach=reach)
    shares = target.ask(given.manifest, lambda session: session.get_seed_shares(), key)
    if are_same_seed(settings.root, shares):
        # A damaged share opens nothing.
        with contextlib.suppress(UsageError):
            open_share(settings.root / SEED_SHARES_FILE, key, key_file)
            return ()
    return write_shares(settings.root, shares)


def _copy_certificates(verified: Path, root: Path) -> tuple[str, ...]:
    """Replace the CA files of `set`, and return the names of those that changed."""
    names = (ROOT_CA_FILE, MESH_CA_FILE)
    return tuple(
        name for name in names if write_atomic(root / name, (verified / name).read_bytes())
    )


def recover_local(
    settings: Settings, *, host: str, say: Callable[[str], None], timeout_s: float
) -> str:
    """Recover the local deployment's Coordinator with the project's own share and key; return their names.

    The manifest in force may differ from the project's, which a later `set` puts in force; if it is the same, the CA
    files of `set` are replaced. Raises UsageError if share or key are missing or do not match, and as `run_recover`.
    """
    given = load_manifest(settings, None)
    key, key_file = load_seedshare_owner_key(settings, None)
    seed, salt = open_share(settings.root / SEED_SHARES_FILE, key, key_file)
    target = Coordinator(
        host=host,
        port=USER_API_PORT,
        project=settings.root,
        say=say,
        reach=Reach(limit_s=timeout_s),
    )
    known = known_transition(settings, FOLDER)
    target.ask(
        given.manifest,
        lambda session: session.recover(seed=seed, salt=salt, force=False, known=known),
        key,
    )
    history = target.ask(given.manifest, lambda session: session.get_manifests())
    if history.manifests[-1:] == (given.content,):
        root_ca, mesh_ca = history.root_ca_pem, history.mesh_ca_pem
        check_certificates(root_ca, mesh_ca, target.subject, datetime.now(UTC))
        for name in write_certificates(settings.root, history):
            say(f"wrote {name}")
    return f"{SEED_SHARES_FILE} and {key_file}"
