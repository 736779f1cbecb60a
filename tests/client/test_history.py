"""What verify makes of a Coordinator that is genuine and lies."""

import hashlib
import ssl
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.pki.forms import pem_to_der
from contrast_tasks.client.coordinator import Reach
from contrast_tasks.client.verify import run_verify
from contrast_tasks.errors import MismatchError
from contrast_tasks.files import sha256_hex
from coordinator.seedengine import SeedEngine
from tests.fakes.deployment import COORDINATOR_POLICY, WEB, WEB_POLICY, Project
from tests.fakes.liar import AUTHORITY, SIGNATURE, Liar, new_authority


def with_bytes(pem: bytes, old_hex: str, new_hex: str) -> bytes:
    """Return a certificate with some of its DER exchanged."""
    (der,) = pem_to_der(pem)
    changed = der.replace(bytes.fromhex(old_hex), bytes.fromhex(new_hex))
    assert changed != der
    return ssl.DER_cert_to_PEM_cert(changed).encode()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("history") / "processor")


@pytest.fixture
def project(tmp_path: Path, simulated: SimulatedProcessor) -> Project:
    return Project(tmp_path, simulated)


@pytest.fixture
def said() -> list[str]:
    return []


def test_a_history_that_does_not_hold_together_leaves_the_cas_too(
    project: Project, said: list[str]
) -> None:
    verify = project.root / "verify"
    verify.mkdir()
    (verify / "mesh-ca.pem").write_text("accepted")
    liar = Liar(manifests=(project.manifest.read_bytes(),), policies=(COORDINATOR_POLICY,))

    with pytest.raises(MismatchError):
        run_verify(
            project.settings,
            say=said.append,
            coordinator="host:1",
            reach=Reach(connect=liar.connect),
        )

    assert (verify / "mesh-ca.pem").read_text() == "accepted"
    assert not (verify / "coordinator-root-ca.pem").exists()


def test_a_history_without_a_named_policy_is_refused(project: Project, said: list[str]) -> None:
    liar = Liar(manifests=(project.manifest.read_bytes(),), policies=(COORDINATOR_POLICY,))

    with pytest.raises(MismatchError, match=f"names policy {WEB} in manifest 0 and does not"):
        run_verify(
            project.settings,
            say=said.append,
            coordinator="host:1",
            reach=Reach(connect=liar.connect),
        )


def test_a_policy_that_no_manifest_names_is_refused(project: Project, said: list[str]) -> None:
    liar = Liar(
        manifests=(project.manifest.read_bytes(),),
        policies=(COORDINATOR_POLICY, WEB_POLICY, b"package other\n"),
    )

    with pytest.raises(
        MismatchError, match=f"policy {sha256_hex(b'package other' + bytes([10]))}, which no"
    ):
        run_verify(
            project.settings,
            say=said.append,
            coordinator="host:1",
            reach=Reach(connect=liar.connect),
        )


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b'{"Policies": null}', b'{"Policies": [1]}', b"[" * 100_000],
)  # fmt: skip
def test_a_manifest_of_the_history_that_is_none_is_refused(
    project: Project, said: list[str], content: bytes
) -> None:
    liar = Liar(
        manifests=(content, project.manifest.read_bytes()),
        policies=(COORDINATOR_POLICY, WEB_POLICY),
    )

    with pytest.raises(MismatchError, match="presents a manifest 0 that is not a manifest"):
        run_verify(
            project.settings,
            say=said.append,
            coordinator="host:1",
            reach=Reach(connect=liar.connect),
        )


def test_an_earlier_manifest_need_not_satisfy_the_rules_of_today(
    project: Project, said: list[str]
) -> None:
    old = b'{"Policies": {"%b": {}}, "Member": "of another version"}' % WEB.encode()
    liar = Liar(
        manifests=(old, project.manifest.read_bytes()), policies=(COORDINATOR_POLICY, WEB_POLICY)
    )

    found = run_verify(
        project.settings, say=said.append, coordinator="host:1", reach=Reach(connect=liar.connect)
    )

    assert found.generations == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"root_ca_pem": b""}, "root ca .* not one certificate in PEM form", id="empty"
        ),
        pytest.param(
            {"mesh_ca_pem": AUTHORITY.mesh_ca_pem.replace(b"MII", b"AAA", 1)},
            "mesh ca .* not one certificate in PEM form",
            id="damaged",
        ),
        pytest.param(
            # The curve's identifier, 1.3.132.0.34, becomes one that nobody has.
            {"mesh_ca_pem": with_bytes(AUTHORITY.mesh_ca_pem, "2b81040022", "2b8104007e")},
            "mesh ca .* not one certificate in PEM form",
            id="key of another kind",
        ),
        pytest.param(
            {"root_ca_pem": with_bytes(AUTHORITY.root_ca_pem, "a003020102", "a003020107")},
            "root ca .* not one certificate in PEM form",
            id="version of another kind",
        ),
        pytest.param(
            {"mesh_ca_pem": AUTHORITY.mesh_ca_pem + AUTHORITY.root_ca_pem},
            "mesh ca .* not one certificate in PEM form",
            id="two certificates",
        ),
        pytest.param(
            {"mesh_ca_pem": AUTHORITY.intermediate_pem},
            "mesh ca .* not signed by its own key",
            id="not self-signed",
        ),
        pytest.param(
            {"mesh_ca_pem": AUTHORITY.root_ca_pem},
            "mesh ca .* of CN=system:coordinator:root, expected CN=system:coordinator:intermediate",
            id="exchanged",
        ),
    ],
)
def test_a_ca_that_cannot_be_one_is_refused_and_not_written(
    project: Project, said: list[str], changes: dict[str, bytes], message: str
) -> None:
    liar = Liar(
        manifests=(project.manifest.read_bytes(),),
        policies=(COORDINATOR_POLICY, WEB_POLICY),
        **changes,
    )

    with pytest.raises(MismatchError, match=message):
        run_verify(
            project.settings,
            say=said.append,
            coordinator="host:1",
            reach=Reach(connect=liar.connect),
        )

    assert [path.name for path in (project.root / "verify").glob("*.pem")] == []


def test_the_folder_of_a_refused_history_is_named_as_given(
    project: Project, said: list[str]
) -> None:
    liar = Liar(
        manifests=(project.manifest.read_bytes() + b"\n",),
        policies=(COORDINATOR_POLICY, WEB_POLICY),
    )

    with pytest.raises(MismatchError, match=r"elsewhere/manifest\.0\.json") as caught:
        run_verify(
            project.settings,
            say=said.append,
            coordinator="host:1",
            folder=project.root / "elsewhere",
            folder_name="elsewhere/",
            reach=Reach(connect=liar.connect),
        )

    assert caught.value.exit_code == 42


def test_a_history_that_does_not_lead_to_its_transition_is_refused(
    project: Project, said: list[str]
) -> None:
    content = project.manifest.read_bytes()
    liar = Liar(
        manifests=(content,), policies=(COORDINATOR_POLICY, WEB_POLICY), transition=b"\1" * 32
    )

    with pytest.raises(MismatchError, match=f"presented {'01' * 32}"):
        run_verify(
            project.settings,
            say=said.append,
            coordinator="host:1",
            reach=Reach(connect=liar.connect),
        )


def transition_of(content: bytes) -> bytes:
    """Return the hash of the first transition. Source: docs/internals/coordinator.md 8.1."""
    return hashlib.sha256(hashlib.sha256(content).digest() + bytes(32)).digest()


@pytest.mark.parametrize("is_told", [True, False])
def test_the_latest_transition_is_kept_whether_or_not_the_coordinator_tells_it(
    project: Project, said: list[str], is_told: bool
) -> None:
    content = project.manifest.read_bytes()
    wanted = transition_of(content)
    liar = Liar(
        manifests=(content,),
        policies=(COORDINATOR_POLICY, WEB_POLICY),
        transition=wanted if is_told else None,
    )

    run_verify(
        project.settings, say=said.append, coordinator="host:1", reach=Reach(connect=liar.connect)
    )

    kept = (project.root / "verify" / "latest-transition").read_bytes()
    assert kept == wanted.hex().encode()


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"signature", id="text"),
        pytest.param(SIGNATURE + b"\0", id="a byte too many"),
        pytest.param(bytes.fromhex("3006020100020101"), id="a zero"),
        pytest.param(bytes.fromhex("30060201ff020101"), id="a negative number"),
    ],
)
def test_a_latest_transition_without_a_signature_is_refused(
    project: Project, said: list[str], signature: bytes
) -> None:
    content = project.manifest.read_bytes()
    liar = Liar(
        manifests=(content,),
        policies=(COORDINATOR_POLICY, WEB_POLICY),
        transition=transition_of(content),
        signature=signature,
    )

    with pytest.raises(MismatchError, match="without a signature"):
        run_verify(
            project.settings,
            say=said.append,
            coordinator="host:1",
            reach=Reach(connect=liar.connect),
        )

    assert not (project.root / "verify" / "mesh-ca.pem").exists()


FOREIGN = {"notes.txt", "manifest.prod.json", "manifest.07.json", "policy.draft.rego"}


def test_files_of_an_earlier_verify_are_removed(project: Project, said: list[str]) -> None:
    verify = project.root / "verify"
    verify.mkdir()
    (verify / "manifest.7.json").write_text("{}")
    (verify / f"policy.{'0' * 64}.rego").write_text("old")
    for name in FOREIGN:
        (verify / name).write_text("mine")
    liar = Liar(
        manifests=(project.manifest.read_bytes(),), policies=(COORDINATOR_POLICY, WEB_POLICY)
    )

    run_verify(
        project.settings, say=said.append, coordinator="host:1", reach=Reach(connect=liar.connect)
    )

    names = {path.name for path in verify.iterdir()}
    assert names >= FOREIGN
    assert "manifest.7.json" not in names
    assert f"policy.{'0' * 64}.rego" not in names


def verified(project: Project, said: list[str], *manifests: bytes) -> Liar:
    """Return a Coordinator with these manifests before the project's, after it was verified."""
    liar = Liar(
        manifests=(*manifests, project.manifest.read_bytes()),
        policies=(COORDINATOR_POLICY, WEB_POLICY),
    )
    run_verify(
        project.settings, say=said.append, coordinator="host:1", reach=Reach(connect=liar.connect)
    )
    return liar


def test_a_history_that_was_rolled_back_is_refused_as_often_as_it_is_presented(
    project: Project, said: list[str]
) -> None:
    content = project.manifest.read_bytes()
    liar = verified(project, said, content)
    liar.manifests = (content,)

    for _ in range(2):
        with pytest.raises(MismatchError, match="may have been rolled back") as caught:
            run_verify(
                project.settings,
                say=said.append,
                coordinator="host:1",
                reach=Reach(connect=liar.connect),
            )

    assert f"expected  {sha256_hex(content)}   verify/manifest.1.json" in str(caught.value)
    assert "presented none" in str(caught.value)
    assert (project.root / "verify" / "manifest.1.json").read_bytes() == content


def test_a_history_whose_past_was_exchanged_is_refused(project: Project, said: list[str]) -> None:
    past = b'{"Policies": {}}'
    liar = verified(project, said, past)
    liar.manifests = (past + b" ", *liar.manifests[1:])

    with pytest.raises(MismatchError, match=f"presented {sha256_hex(past + b' ')}"):
        run_verify(
            project.settings,
            say=said.append,
            coordinator="host:1",
            reach=Reach(connect=liar.connect),
        )


def test_a_history_that_went_on_is_accepted(project: Project, said: list[str]) -> None:
    content = project.manifest.read_bytes()
    liar = verified(project, said)
    liar.manifests = (content, content)

    found = run_verify(
        project.settings, say=said.append, coordinator="host:1", reach=Reach(connect=liar.connect)
    )

    assert found.generations == 2


def test_a_coordinator_with_another_root_begins_another_history(
    project: Project, said: list[str]
) -> None:
    content = project.manifest.read_bytes()
    liar = verified(project, said, content, content)
    other = new_authority(SeedEngine(b"1" * 64, bytes(32)))
    liar.manifests = (content,)
    liar.root_ca_pem, liar.mesh_ca_pem = other.root_ca_pem, other.mesh_ca_pem

    found = run_verify(
        project.settings, say=said.append, coordinator="host:1", reach=Reach(connect=liar.connect)
    )

    assert found.generations == 1
    assert not (project.root / "verify" / "manifest.1.json").exists()
    line = "coordinator host:1 has another root CA than the one in verify/: it began a new history"
    assert said[-1] == line
