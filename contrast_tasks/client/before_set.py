"""The checks before a set sends anything: manifest, deployment and owner key must belong together."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from contrast_tasks.annotations import POD_ROLE
from contrast_tasks.client.input_files import read_input
from contrast_tasks.errors import MismatchError, NotAuthorised, UsageError
from contrast_tasks.files import norm_path, sha256_hex
from contrast_tasks.kube.annotated import (
    Annotated,
    WorkloadRecord,
    annotated_files,
    deployment_places,
    is_plainly_fit,
    load_records,
    no_objects,
    policies_of,
    read_annotated,
    refuse_unfit,
)
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.project import Paths

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from contrast_tasks.manifest.model import Manifest


class DeployedYaml(NamedTuple):
    """What is deployed: the policies' documents of all pods by their key in the manifest, and the objects of files that were parsed.

    The Coordinator is always among the objects.
    """

    policies: Mapping[str, bytes]
    objects: Sequence[Annotated]


def read_deployed(
    settings: Settings,
    paths: Sequence[Path],
    say: Callable[[str], None],
    written: Iterable[Mapping[str, str]] = (),
) -> DeployedYaml:
    """Return what the annotated YAML has; for paths of source files, what generate's output has.

    written: of each source the SHA-256 hex of all that generate wrote for it, by path, the annotated YAML first. A file that
    is as it was written is not parsed: its policies are the documents written with it, each hashed again.
    Raises UsageError for a confidential pod without policy, or with one that does not fit the release.
    """
    # Outside of a project no channel is expected.
    recorded = {
        next(iter(outputs)): outputs for outputs in written if outputs and settings.platform
    }
    policies, objects = _read(settings, paths, recorded)
    built = deployment_places(settings)
    if paths and built and not policies and not any(item.carried for item in objects):
        names, others = (
            ", ".join(norm_path(path, settings.root) for path in each) for each in (paths, built)
        )
        say(f"{names} has no policies, those of {others} are taken")
        policies, objects = _read(settings, (), recorded)
    refuse_unfit(objects, settings)
    return DeployedYaml(policies | policies_of(objects), objects)


def _read(
    settings: Settings, paths: Sequence[Path], recorded: Mapping[str, Mapping[str, str]]
) -> tuple[dict[str, bytes], Sequence[Annotated]]:
    """Return the policies of the files that need not be parsed, and the objects of the others."""
    files = annotated_files(settings, paths)
    policies: dict[str, bytes] = {}
    others: list[Path] = []
    for path in files:
        outputs = recorded.get(norm_path(path, settings.root))
        found = None if outputs is None else _policies_as_written(path, outputs, settings)
        if found is None:
            others.append(path)
        else:
            policies |= found
    objects = read_annotated(settings, others)
    if not objects and len(others) == len(files):
        raise no_objects(settings, paths)
    return policies, objects


def _policies_as_written(
    path: Path, outputs: Mapping[str, str], settings: Settings
) -> dict[str, bytes] | None:
    """Return the documents that generate wrote with a file, by their hash; None if anything differs, or it has to be parsed."""
    paths = Paths(build=settings.build_dir, manifest=settings.manifest, channel=settings.channel)
    file, *_ = outputs
    pods = paths.workloads_among(outputs)
    # A release with another channel was chosen since, or an earlier version of ours wrote it.
    if paths.outputs(file, pods) != [*outputs]:
        return None
    try:
        content = path.read_bytes()
        is_same = sha256_hex(content) == outputs[file]
        if not is_same or POD_ROLE.encode() in content:
            return None
        if not is_plainly_fit(content, len(pods), settings):
            return None
        documents = {
            sha256_hex(document): document
            for document in ((settings.root / paths.document(pod)).read_bytes() for pod in pods)
        }
    except OSError:
        return None
    return documents if documents.keys() == {outputs[paths.document(pod)] for pod in pods} else None


def check_policies(manifest: "Manifest", policies: Mapping[str, bytes], name: str) -> None:
    """Raise MismatchError unless the manifest names exactly the policies of the deployment."""
    missing = sorted(manifest.policies.keys() - policies.keys())
    unknown = sorted(policies.keys() - manifest.policies.keys())
    if not missing and not unknown:
        return
    lines = [
        f"  {name} names {policy} ({', '.join(manifest.policies[policy].sans)}), "
        "no deployed pod has this policy"
        for policy in missing
    ]
    lines += [
        f"  a deployed pod has policy {policy}, {name} does not name it" for policy in unknown
    ]
    raise MismatchError(
        "manifest and deployment do not have the same policies\n" + "\n".join(lines),
        hint=f"generate, deploy and set belong together: '{command('deploy set')}'",
    )


def differences_from_generated(manifest: "Manifest", settings: Settings, name: str) -> list[str]:
    """Return the differences between the manifest's entries and what was generated: allowed, but rarely intended."""
    by_policy: dict[str, list[WorkloadRecord]] = {}
    for record in load_records(settings).values():
        by_policy.setdefault(record.policy_sha256, []).append(record)
    differences: list[str] = []
    for policy, records in by_policy.items():
        entry = manifest.policies.get(policy)
        if entry is None:
            continue
        # Workloads with the same policy share one entry, which has the names of all.
        sans = {san for record in records for san in record.sans}
        secret_ids = {record.workload_secret_id for record in records}
        keys = ", ".join(record.key for record in records)
        if set(entry.sans) != sans:
            here, there = " ".join(entry.sans), " ".join(records[0].sans)
            differences.append(f"{name} has SANs {here} for {keys}, generated was {there}")
        if entry.workload_secret_id not in secret_ids:
            here, there = entry.workload_secret_id, records[0].workload_secret_id
            differences.append(
                f"{name} has WorkloadSecretID {here} for {keys}, generated was {there}"
            )
    return differences


def load_owner_key(
    settings: Settings, given: Path | None, given_name: str
) -> "tuple[EllipticCurvePrivateKey | None, str]":
    """Return the owner's private key and its file's name; None if the key is not here.

    given: named on the command line, and must be readable. given_name: as the user wrote it.
    """
    from contrast_tasks.manifest.keys import parse_workload_owner

    names = settings.workload_owner_keys
    path = given or (settings.root / names[0] if names else None)
    if path is None:
        return None, ""
    name = (given_name or str(given)) if given else names[0]
    if given is None and not path.exists():
        return None, name
    hint = "name the private key with --workload-owner-key"
    pem = read_input(path, name, "workload owner key", hint=hint)
    if given is None and b"PRIVATE KEY" not in pem:
        # The settings may list public keys, whose owners work elsewhere.
        return None, name
    return parse_workload_owner(pem, file=name), name


def with_key_files(text: str, settings: Settings) -> str:
    """Return a text with the file's name behind each digest of an owner's key that the settings name; people know files."""
    from contrast_tasks.manifest.keys import workload_owner_digest

    for name in settings.workload_owner_keys:
        with contextlib.suppress(OSError, UsageError):
            digest = workload_owner_digest((settings.root / name).read_bytes(), file=name)
            text = text.replace(digest, f"{digest} ({name})")
    return text


def lock_out_warnings(
    manifest: "Manifest", key: "EllipticCurvePrivateKey | None", *, is_signed: bool = False
) -> list[str]:
    """Return warnings about later updates that this manifest denies to the holder of `key` (None: no key).

    is_signed: an owner signed it elsewhere, so no key is expected here.
    """
    from contrast_tasks.manifest.keys import workload_owner_digest

    listed = manifest.workload_owner_digests
    if not listed:
        return ["the manifest lists no workload owner keys: it can never be updated"]
    if key is None and is_signed:
        return []
    if key is None:
        return ["no workload owner key is here: this project cannot update the manifest later"]
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    digest = workload_owner_digest(pem)
    if digest not in listed:
        return [f"the manifest does not list our owner key {digest}: this locks us out of updates"]
    return []


def denied_hint(
    error: NotAuthorised, key: "EllipticCurvePrivateKey | None", file: str, *, is_signed: bool
) -> str:
    """Return the hint for a set that the Coordinator denied: by its reason; key: ours, None if none was found; file: its name."""
    from contrast_tasks.api.errors import (
        REASON_APPROVALS,
        REASON_NO_KEY,
        REASON_NOT_OWNER,
        REASON_SIGNATURE,
    )

    if error.reason == REASON_APPROVALS:
        return (
            f"more owners must sign it after the latest transition: {_sign_again()}; then set it with '--signature FILE' for each, "
            "where an owner's own key counts too"
        )
    # The reference product's Coordinators give no reason.
    if error.reason == REASON_SIGNATURE or (is_signed and not error.reason):
        return (
            "the signature must be for this manifest after the latest transition, by a key that the manifest in force lists in "
            f"full (WorkloadOwnerPubKeys): {_sign_again()}"
        )
    if error.reason not in ("", REASON_NO_KEY, REASON_NOT_OWNER):
        return error.hint
    if key is None:
        return f"a manifest is in force and needs an owner's key to change; found none{f' at {file}' if file else ''}"
    return f"the manifest in force does not list the key in {file}"


def _sign_again() -> str:
    return f"run '{command('verify')}', then '{command('sign')}' again"
