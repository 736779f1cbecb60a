"""An owner signs, with a security module or with sign; somebody without the key sets, at the real Coordinator."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from contrast_tasks.api.errors import CoordinatorNotReady
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.plan import running_difference
from contrast_tasks.client.set import run_set
from contrast_tasks.client.sign import run_sign
from contrast_tasks.client.transitions import expected_transition
from contrast_tasks.client.verify import FOLDER, run_verify
from contrast_tasks.errors import NotAuthorised
from contrast_tasks.manifest.hashes import NO_TRANSITION
from contrast_tasks.manifest.keys import generate_workload_owner, workload_owner_digest
from contrast_tasks.releases.table import V1_21
from tests.fakes.deployment import (
    COORDINATOR_POLICY,
    SETTINGS,
    WEB_POLICY,
    Project,
    running_coordinator,
)

OWNER = generate_workload_owner()
PARTNER = generate_workload_owner()
STRANGER = generate_workload_owner()


def public_pem(pem: bytes) -> bytes:
    public = load_pem_private_key(pem, password=None).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def spki_hex(pem: bytes) -> str:
    public = load_pem_private_key(pem, password=None).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signed") / "processor"
    SimulatedProcessor.load_or_create(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, processor: Path) -> Project:
    """Return a project without any key, whose manifest lists the owner's full key."""
    project = Project(tmp_path / "project", SimulatedProcessor.load(processor))
    project.release = V1_21
    project.owner_digests = None
    project.owner_keys = (spki_hex(OWNER),)
    project.write_manifest()
    return project


@pytest.fixture
def coordinator(project: Project, processor: Path) -> Iterator[str]:
    """Run a Coordinator that has its first manifest, and verify it."""
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)
        run_verify(project.settings, say=quiet, coordinator=address)
        yield address


def quiet(_line: str) -> None:
    pass


def signed(project: Project, pem: bytes = OWNER, *, previous: bytes | None = None) -> bytes:
    """Return an owner's signature, made in another folder than the project."""
    key = project.root.parent / "owner.pem"
    key.write_bytes(pem)
    out = project.root.parent / "signature"
    run_sign(
        project.settings,
        say=quiet,
        out=out,
        out_name="signature",
        previous=expected_transition(project.settings, None, FOLDER)
        if previous is None
        else previous,
        owner_key=key,
    )
    return out.read_bytes()


def test_what_an_owner_signed_is_set_without_the_key(project: Project, coordinator: str) -> None:
    said: list[str] = []

    done = run_set(
        project.settings, say=said.append, coordinator=coordinator, signatures=[signed(project)]
    )

    assert done.generation == 2
    assert not any("owner key is here" in line for line in said)


def test_a_security_module_signs_what_was_prepared(project: Project, coordinator: str) -> None:
    folder = project.root.parent
    (folder / "module.pem").write_bytes(OWNER)
    run_sign(
        project.settings,
        say=quiet,
        out=folder / "next-transition",
        out_name="next-transition",
        previous=expected_transition(project.settings, None, FOLDER),
        prepare=True,
    )
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-digest", "sha256"]
    files = ["-inkey", "module.pem", "-in", "next-transition", "-out", "manifest.sig"]
    subprocess.run([*command, *files], cwd=folder, check=True)

    done = run_set(
        project.settings,
        say=quiet,
        coordinator=coordinator,
        signatures=[(folder / "manifest.sig").read_bytes()],
        expected=expected_transition(project.settings, None, FOLDER),
    )

    assert done.generation == 2


def test_a_signature_serves_once(project: Project, coordinator: str) -> None:
    signature = signed(project)
    run_set(project.settings, say=quiet, coordinator=coordinator, signatures=[signature])

    with pytest.raises(NotAuthorised, match="validating manifest signature") as caught:
        run_set(project.settings, say=quiet, coordinator=coordinator, signatures=[signature])

    assert caught.value.exit_code == 43
    assert "verify" in caught.value.hint
    assert "sign" in caught.value.hint
    with pytest.raises(CoordinatorNotReady, match="another latest transition"):
        run_set(
            project.settings,
            say=quiet,
            coordinator=coordinator,
            signatures=[signature],
            expected=NO_TRANSITION,
        )


def test_after_another_verify_the_next_update_can_be_signed(
    project: Project, coordinator: str
) -> None:
    run_set(project.settings, say=quiet, coordinator=coordinator, signatures=[signed(project)])
    run_verify(project.settings, say=quiet, coordinator=coordinator)

    done = run_set(
        project.settings,
        say=quiet,
        coordinator=coordinator,
        signatures=[signed(project)],
        expected=expected_transition(project.settings, None, FOLDER),
    )

    assert done.generation == 3


def test_a_strangers_signature_is_denied(project: Project, coordinator: str) -> None:
    with pytest.raises(NotAuthorised, match="validating manifest signature"):
        run_set(
            project.settings,
            say=quiet,
            coordinator=coordinator,
            signatures=[signed(project, STRANGER)],
        )


def test_the_first_manifest_may_be_signed_too(project: Project, processor: Path) -> None:
    with running_coordinator(project, processor=processor) as address:
        done = run_set(
            project.settings,
            say=quiet,
            coordinator=address,
            signatures=[signed(project, previous=bytes(32))],
            expected=bytes(32),
        )

    assert done.generation == 1


def test_without_a_signature_nobody_without_the_key_may_update(
    project: Project, coordinator: str
) -> None:
    with pytest.raises(NotAuthorised, match="no client certificate"):
        run_set(project.settings, say=quiet, coordinator=coordinator)


def test_two_owners_approve_what_neither_may_set_alone(project: Project, processor: Path) -> None:
    project.owner_keys = (spki_hex(OWNER), spki_hex(PARTNER))
    project.approvals = 2
    project.write_manifest()
    wanted = [workload_owner_digest(pem) for pem in (OWNER, PARTNER)]
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)
        project.approvals = 1
        planned = project.write_manifest()
        (project.root / "contrast.toml").write_text(f'{SETTINGS}owners.workload = ["ben.pem"]\n')
        (project.root / "ben.pem").write_bytes(public_pem(PARTNER))
        said: list[str] = []
        mine, theirs = signed(project), signed(project, PARTNER)
        running_difference(
            project.settings,
            planned,
            say=said.append,
            policies=lambda: [COORDINATOR_POLICY, WEB_POLICY],
            coordinator=address,
            signatures=[mine],
        )
        with pytest.raises(NotAuthorised) as caught:
            run_set(project.settings, say=quiet, coordinator=address, signatures=[mine])
        done = run_set(project.settings, say=quiet, coordinator=address, signatures=[mine, theirs])

    assert done.generation == 2
    assert caught.value.reason == "approvals_missing"
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(": too few owners approve")
    assert lines[1:] == ["  found   1", "  wanted  2", f"  missing {wanted[1]} (ben.pem)"]
    assert "--signature FILE" in caught.value.hint
    name = f"coordinator {address}"
    assert f"{name}: 1 of 2 approvals are there: {wanted[0]}" in said
    assert f"{name}: the manifest after the planned one needs the approval of 1 owner" in said
    assert any(
        line.endswith(f"{wanted[1]} (ben.pem)") and "can approve it" in line for line in said
    )
