import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.api import meshapi_pb2, userapi_pb2

ROOT = Path(__file__).resolve().parents[2]


FLOOR = "protobuf>="
PROTOS = (
    *(f"contrast_tasks/api/{name}" for name in ("userapi", "meshapi", "ext", "status")),
    *(f"contrast_tasks/attestation/proto/{name}" for name in ("sevsnp", "tdx")),
)


def floor() -> str:
    """Return the oldest protobuf that the project declares."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (line,) = (line for line in declared if line.startswith(FLOOR))
    return line.removeprefix(FLOOR)


@pytest.mark.parametrize("proto", PROTOS)
def test_generating_again_gives_the_committed_stubs_for_the_oldest_protobuf(
    proto: str, tmp_path: Path
) -> None:
    """Stubs name the version of their generator, and no older runtime loads them: theirs is the floor's."""
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}"]

    subprocess.run([*command, f"--pyi_out={tmp_path}", f"{proto}.proto"], cwd=ROOT, check=True)

    for suffix in ("_pb2.py", "_pb2.pyi"):
        generated = (tmp_path / f"{proto}{suffix}").read_text()
        committed = (ROOT / f"{proto}{suffix}").read_text()
        assert committed == of_version(generated, floor())


def of_version(stub: str, version: str) -> str:
    """Return a stub as the generator of another version writes it."""
    stub = re.sub(r"(# Protobuf Python Version: )\S+", rf"\g<1>{version}", stub)
    numbers = "".join(f"    {number},\n" for number in version.split("."))
    return re.sub(r"(PUBLIC,\n)(    \d+,\n){3}", rf"\g<1>{numbers}", stub)


def numbers(message: object) -> dict[str, int]:
    fields = message.DESCRIPTOR.fields  # type: ignore[attr-defined]  # every message class has it
    return {field.name: field.number for field in fields}


def test_field_numbers_are_those_of_the_wire_protocol() -> None:
    assert numbers(userapi_pb2.SetManifestRequest) == {
        "Manifest": 1,
        "Policies": 2,
        "PreviousTransitionHash": 3,
        "Signature": 4,
        "Approvals": 100,
    }
    assert numbers(userapi_pb2.SetManifestResponse) == {
        "RootCA": 1,
        "MeshCA": 2,
        "SeedSharesDoc": 3,
    }
    assert numbers(userapi_pb2.SeedShareDocument) == {"SeedShares": 1, "salt": 2}
    assert numbers(userapi_pb2.SeedShare) == {"PublicKey": 1, "EncryptedSeed": 2}
    assert numbers(userapi_pb2.GetManifestsResponse) == {
        "Manifests": 1,
        "Policies": 2,
        "RootCA": 3,
        "MeshCA": 4,
        "LatestTransition": 5,
        "LostManifests": 100,
        "LostPolicies": 101,
        "LostBefore": 102,
    }
    assert numbers(userapi_pb2.RecoverRequest) == {
        "Seed": 1,
        "Salt": 2,
        "Force": 3,
        "KnownTransition": 100,
    }
    assert numbers(meshapi_pb2.NewMeshCertResponse) == {
        "MeshCACert": 1,
        "CertChain": 2,
        "RootCACert": 3,
        "WorkloadSecret": 4,
    }
    assert numbers(meshapi_pb2.RecoverResponse) == {
        "Seed": 1,
        "Salt": 2,
        "MeshCAKey": 3,
        "LatestManifest": 4,
        "TransitionHash": 100,
    }


def test_a_request_has_the_known_bytes_on_the_wire() -> None:
    request = userapi_pb2.SetManifestRequest(Manifest=b"{}", Policies=[b"a", b"b"])

    assert request.SerializeToString() == b"\x0a\x02{}\x12\x01a\x12\x01b"


def test_members_of_an_answer_that_are_not_known_are_ignored() -> None:
    answer = userapi_pb2.GetManifestsResponse(Manifests=[b"{}"], RootCA=b"pem")

    later = answer.SerializeToString() + b"\x32\x02\x08\x01\xc2\x3e\x01x"

    read = userapi_pb2.GetManifestsResponse.FromString(later)
    assert (list(read.Manifests), read.RootCA) == ([b"{}"], b"pem")
    assert not read.HasField("LatestTransition")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (meshapi_pb2.NewMeshCertResponse, "WorkloadSecret"),
        (meshapi_pb2.RecoverResponse, "Seed"),
        (meshapi_pb2.RecoverResponse, "MeshCAKey"),
        (userapi_pb2.RecoverRequest, "Seed"),
    ],
)
def test_secrets_are_marked_to_be_left_out_of_debug_texts(message: Any, field: str) -> None:
    assert message.DESCRIPTOR.fields_by_name[field].GetOptions().debug_redact
