"""Set and verify against a Coordinator that behaves on the wire as the reference product's does.

It has the later spelling of the service only, sends no reason codes and no latest transition, does not know the expected
previous transition, and issues its root certificate anew with every manifest. Source: docs/internals/coordinator.md 2.1, 2.3, 5.4.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from contrast_tasks.api import userapi
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.errors import CoordinatorNotReady
from contrast_tasks.atls.server import Registry, serve
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.set import run_set
from contrast_tasks.client.verify import run_verify
from contrast_tasks.errors import ContrastError, MismatchError
from contrast_tasks.manifest.codec import parse_manifest
from contrast_tasks.manifest.keys import generate_workload_owner
from coordinator.history import History
from coordinator.refusal import refusal_from
from coordinator.state import Guard
from coordinator.store.memory import MemoryStore
from coordinator.userapi import get_manifests, set_manifest
from tests.fakes.deployment import COORDINATOR, Project
from tests.fakes.liar import new_authority

OWNER = generate_workload_owner()


class Reference:
    """The reference product's user API, as far as the wire shows it."""

    def __init__(self) -> None:
        self.guard = Guard(
            History(MemoryStore()), parse=parse_manifest, now=lambda: datetime.now(UTC)
        )
        self.roots = 0

    def register(self, server: grpc.Server, registry: Registry) -> None:
        """Add the methods under the later spelling."""
        methods: dict[str, tuple[Any, Callable[..., Any]]] = {
            "SetManifest": (pb.SetManifestRequest, self.set_manifest),
            "GetManifests": (pb.GetManifestsRequest, self.get_manifests),
        }

        def handler(request_class: Any, method: Callable[..., Any]) -> Any:
            def call(content: bytes, context: grpc.ServicerContext) -> Any:
                try:
                    return method(request_class.FromString(content), registry.require(context))
                except ContrastError as err:
                    refusal = refusal_from(err)
                    context.abort(refusal.code, str(refusal))

            return grpc.unary_unary_rpc_method_handler(
                call, response_serializer=lambda answer: answer.SerializeToString()
            )

        handlers = {name: handler(*entry) for name, entry in methods.items()}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(userapi.SERVICES[-1], handlers),)
        )

    def set_manifest(self, request: Any, identity: Any) -> Any:
        """Set, whatever the manifest was meant to follow."""
        request.ClearField("PreviousTransitionHash")
        self.roots += 1
        answer = set_manifest(request, identity, self.guard)
        answer.RootCA = self.root()
        return answer

    def get_manifests(self, request: Any, identity: Any) -> Any:
        """Return the history without its newest transition."""
        content = get_manifests(request, identity, self.guard)
        answer = pb.GetManifestsResponse.FromString(content)
        answer.ClearField("LatestTransition")
        answer.RootCA = self.root()
        return answer

    def root(self) -> bytes:
        """Return a root certificate of this generation, with the same key in all."""
        return new_authority(issued_at=MOMENT - timedelta(seconds=self.roots)).root_ca_pem


MOMENT = datetime.now(UTC)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("foreign") / "processor")


@pytest.fixture
def project(tmp_path: Path, simulated: SimulatedProcessor) -> Project:
    project = Project(tmp_path, simulated)
    project.write_owner(OWNER)
    return project


@pytest.fixture
def coordinator(simulated: SimulatedProcessor) -> Iterator[str]:
    issuer = simulated.issuer(bytes.fromhex(COORDINATOR))
    with serve(Reference().register, listen=("127.0.0.1", 0), issuer=issuer) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def said() -> list[str]:
    return []


def test_the_reference_products_coordinator_can_be_set_updated_and_verified(
    project: Project, coordinator: str, said: list[str]
) -> None:
    first = run_set(project.settings, say=said.append, coordinator=coordinator)
    seen = run_verify(project.settings, say=said.append, coordinator=coordinator)
    second = run_set(project.settings, say=said.append, coordinator=coordinator)

    again = run_verify(project.settings, say=said.append, coordinator=coordinator)

    assert (first.generation, second.generation, again.generations) == (1, 2, 2)
    assert first.files == ("coordinator-root-ca.pem", "mesh-ca.pem", "verify/latest-transition")
    assert seen.root_ca_sha256 != again.root_ca_sha256
    assert again.mesh_ca_sha256 == second.mesh_ca_sha256


def test_a_rollback_shows_although_its_root_certificate_is_issued_anew(
    project: Project, coordinator: str, said: list[str], simulated: SimulatedProcessor
) -> None:
    for _ in range(2):
        run_set(project.settings, say=said.append, coordinator=coordinator)
    run_verify(project.settings, say=said.append, coordinator=coordinator)
    issuer = simulated.issuer(bytes.fromhex(COORDINATOR))

    with serve(Reference().register, listen=("127.0.0.1", 0), issuer=issuer) as server:
        older = f"127.0.0.1:{server.port}"
        run_set(project.settings, say=said.append, coordinator=older)
        with pytest.raises(MismatchError, match="may have been rolled back"):
            run_verify(project.settings, say=said.append, coordinator=older)


def test_an_expected_transition_is_compared_here_if_the_coordinator_does_not_know_it(
    project: Project, coordinator: str, said: list[str]
) -> None:
    run_set(project.settings, say=said.append, coordinator=coordinator, expected=bytes(32))
    first = transition_after(project.manifest.read_bytes(), bytes(32))

    with pytest.raises(CoordinatorNotReady, match="another latest transition") as caught:
        run_set(project.settings, say=said.append, coordinator=coordinator, expected=bytes(32))

    assert caught.value.exit_code == 40
    assert f"expected  {'00' * 32}" in str(caught.value)
    assert f"presented {first.hex()}" in str(caught.value)
    done = run_set(project.settings, say=said.append, coordinator=coordinator, expected=first)
    assert done.generation == 2
    assert "release that tells no latest transition" in "".join(said)


def transition_after(manifest: bytes, previous: bytes) -> bytes:
    """Return a transition hash. Source: docs/internals/coordinator.md 8.1."""
    return hashlib.sha256(hashlib.sha256(manifest).digest() + previous).digest()
