"""Verify over HTTP: the real Coordinator, and a relay in between that changes what it can."""

import base64
import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from contrast_tasks.api.errors import CoordinatorNotReady
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.coordinator import Reach
from contrast_tasks.client.session import NoCoordinator
from contrast_tasks.client.set import run_set
from contrast_tasks.client.verify import VerifyResult, run_verify
from contrast_tasks.errors import (
    CoordinatorUnreachable,
    EvidenceRejected,
    MismatchError,
    UsageError,
)
from contrast_tasks.manifest.keys import generate_workload_owner
from tests.fakes.deployment import COORDINATOR, WEB, Apis, Project, running_apis

OWNER = generate_workload_owner()
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attest") / "processor"
    SimulatedProcessor.load_or_create(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, processor: Path) -> Project:
    project = Project(tmp_path, SimulatedProcessor.load(processor))
    project.write_owner(OWNER)
    return project


@pytest.fixture
def apis(project: Project, processor: Path) -> Iterator[Apis]:
    """Run a Coordinator with the manifest set twice."""
    with running_apis(project, processor=processor) as apis:
        for _ in range(2):
            run_set(project.settings, say=quiet, coordinator=apis.user_api)
        yield apis


def quiet(_line: str) -> None:
    pass


def verify(project: Project, address: str, *, limit_s: float = 0) -> VerifyResult:
    reach = Reach(limit_s=limit_s, clock=lambda: 0.0, pause=lambda _seconds: None)
    return run_verify(project.settings, say=quiet, coordinator=address, reach=reach)


class Relay(HTTPServer):
    """Forwards requests, as whoever terminates TLS in front of a Coordinator does, and changes the answers."""

    def __init__(self, upstream: str, change: Change) -> None:
        self.upstream, self.change, self.paths = upstream, change, list[str]()
        super().__init__(("127.0.0.1", 0), _Forward)


class _Forward(BaseHTTPRequestHandler):
    server: Relay

    def do_POST(self) -> None:
        self.server.paths.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = urllib.request.Request(
            f"http://{self.server.upstream}/attest",
            data=body,
            headers={"Content-Type": self.headers["Content-Type"]},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            document = json.loads(answer.read())
        self.server.change(document)
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def relayed(upstream: str, change: Change) -> Iterator[Relay]:
    relay = Relay(upstream, change)
    thread = Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield relay
    finally:
        relay.shutdown()
        thread.join()
        relay.server_close()


def nothing(_document: dict[str, Any]) -> None:
    pass


def test_the_verdict_and_the_files_are_those_of_attested_tls(project: Project, apis: Apis) -> None:
    folder = project.root / "verify"
    (folder / "latest-transition").unlink()  # of set, so that both write all files
    over_tls = verify(project, apis.user_api)
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()

    over_http = verify(project, f"http://{apis.http_api}")

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept
    assert over_http.coordinator == f"http://{apis.http_api}"
    assert asdict(over_http) == {**asdict(over_tls), "coordinator": over_http.coordinator}
    assert over_http.generations == 2


def test_what_curl_receives_is_what_the_documentation_says(
    project: Project, apis: Apis, tmp_path: Path
) -> None:
    nonce = base64.b64encode(bytes(32)).decode()
    command = ["curl", "-sSf", "--noproxy", "*", "-H", "Content-Type: application/json"]
    body = json.dumps({"nonce": nonce})

    done = subprocess.run(
        [*command, "-d", body, f"http://{apis.http_api}/attest"], capture_output=True, check=True
    )

    document = json.loads(done.stdout)
    assert set(document) == {
        "version",
        "attestation_type",
        "raw_attestation_doc",
        "manifests",
        "policies",
        "root_ca",
        "mesh_ca",
    }
    assert base64.b64decode(document["manifests"][-1]) == project.manifest.read_bytes()
    assert (project.root / "mesh-ca.pem").read_bytes() == base64.b64decode(document["mesh_ca"])


@pytest.mark.first(2)
@pytest.mark.parametrize("path", ["", "/", "/attest", "/contrast", "/contrast/attest/"])
def test_a_proxy_may_stand_in_between_at_any_path(project: Project, apis: Apis, path: str) -> None:
    with relayed(apis.http_api, nothing) as relay:
        verify(project, f"http://127.0.0.1:{relay.server_port}{path}")

    assert relay.paths == [f"{path.rstrip('/').removesuffix('/attest')}/attest"]


def replace(name: str, value: Any) -> Change:
    def change(document: dict[str, Any]) -> None:
        document[name] = value

    return change


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def flip(name: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        content = bytearray(base64.b64decode(document[name]))
        content[len(content) // 2] ^= 1
        document[name] = encoded(bytes(content))

    return change


def drop_last(name: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        document[name].pop()

    return change


def swap_cas(document: dict[str, Any]) -> None:
    document["root_ca"], document["mesh_ca"] = document["mesh_ca"], document["root_ca"]


def add_manifest(document: dict[str, Any]) -> None:
    document["manifests"].insert(0, encoded(b"{}"))


def add_policy(document: dict[str, Any]) -> None:
    document["policies"].append(encoded(b"package evil\n"))


@pytest.mark.first(3)
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        pytest.param(flip("root_ca"), EvidenceRejected, id="root ca"),
        pytest.param(flip("mesh_ca"), EvidenceRejected, id="mesh ca"),
        pytest.param(swap_cas, EvidenceRejected, id="cas swapped"),
        pytest.param(drop_last("manifests"), EvidenceRejected, id="an update less"),
        pytest.param(add_manifest, EvidenceRejected, id="a manifest more"),
        pytest.param(replace("manifests", []), EvidenceRejected, id="no manifests"),
        pytest.param(flip("raw_attestation_doc"), EvidenceRejected, id="evidence"),
        pytest.param(replace("raw_attestation_doc", ""), EvidenceRejected, id="no evidence"),
        pytest.param(
            replace("attestation_type", [1, 3, 9901, 2, 3]), EvidenceRejected, id="insecure"
        ),
        pytest.param(replace("attestation_type", [1, 3, 9901, 2, 2]), EvidenceRejected, id="tdx"),
        pytest.param(drop_last("policies"), MismatchError, id="a policy less"),
        pytest.param(add_policy, MismatchError, id="a policy more"),
        pytest.param(replace("root_ca", 1), NoCoordinator, id="a number"),
        pytest.param(replace("mesh_ca", "%"), NoCoordinator, id="no base64"),
        pytest.param(replace("attestation_type", "snp"), NoCoordinator, id="type as text"),
        pytest.param(dict.clear, NoCoordinator, id="nothing"),
    ],
)
def test_whatever_is_changed_on_the_way_is_refused(
    project: Project, apis: Apis, change: Change, kind: type[Exception]
) -> None:
    with (
        relayed(apis.http_api, change) as relay,
        pytest.raises(kind),
    ):
        verify(project, f"http://127.0.0.1:{relay.server_port}")

    assert not (project.root / "verify" / "mesh-ca.pem").exists()


def test_an_old_answer_is_refused(project: Project, apis: Apis) -> None:
    recorded: list[dict[str, Any]] = []

    def replay(document: dict[str, Any]) -> None:
        recorded.append(dict(document))
        document.update(recorded[0])

    with relayed(apis.http_api, replay) as relay:
        address = f"http://127.0.0.1:{relay.server_port}"
        verify(project, address)
        with pytest.raises(EvidenceRejected) as caught:
            verify(project, address)

    assert caught.value.exit_code == 41


def test_members_that_are_missing_or_not_known_do_no_harm(project: Project, apis: Apis) -> None:
    def change(document: dict[str, Any]) -> None:
        del document["attestation_type"], document["version"]
        document["later"] = {"capabilities": []}

    with relayed(apis.http_api, change) as relay:
        assert verify(project, f"http://127.0.0.1:{relay.server_port}").generations == 2


def test_another_manifest_in_force_is_a_mismatch(project: Project, apis: Apis) -> None:
    content = project.manifest.read_bytes()
    project.manifest.write_bytes(content.rstrip(b"\n"))

    with pytest.raises(MismatchError, match="another manifest in force") as caught:
        verify(project, f"http://{apis.http_api}")

    assert caught.value.exit_code == 42


def test_a_guest_with_another_policy_is_refused_as_over_attested_tls(
    project: Project, processor: Path
) -> None:
    with running_apis(project, host_data=WEB, processor=processor) as apis:
        project.entries[WEB] = project.entries[WEB].replace(role="coordinator")
        project.entries[COORDINATOR] = project.entries[COORDINATOR].replace(role="")
        project.write_manifest()
        run_set(project.settings, say=quiet, coordinator=apis.user_api)
        project.entries[WEB] = project.entries[WEB].replace(role="")
        project.entries[COORDINATOR] = project.entries[COORDINATOR].replace(role="coordinator")
        project.write_manifest()
        errors = []
        for address in (apis.user_api, f"http://{apis.http_api}"):
            with pytest.raises(MismatchError) as caught:
                verify(project, address)
            errors.append(str(caught.value).replace(address, "ADDRESS"))

    assert errors[0] == errors[1]


def test_without_a_manifest_the_way_out_is_told(project: Project, processor: Path) -> None:
    with (
        running_apis(project, processor=processor) as apis,
        pytest.raises(CoordinatorNotReady, match="no manifest configured") as caught,
    ):
        verify(project, f"http://{apis.http_api}", limit_s=100)

    assert caught.value.exit_code == 40
    assert caught.value.hint == "set a manifest first"


def test_a_restarted_one_is_in_recovery_mode(project: Project, processor: Path) -> None:
    with running_apis(project, processor=processor) as apis:
        run_set(project.settings, say=quiet, coordinator=apis.user_api)
    with (
        running_apis(project, processor=processor) as apis,
        pytest.raises(CoordinatorNotReady, match="in recovery mode") as caught,
    ):
        verify(project, f"http://{apis.http_api}", limit_s=100)

    assert "recover" in caught.value.hint


def test_a_port_that_speaks_something_else_is_not_waited_for(project: Project, apis: Apis) -> None:
    address = f"http://{apis.user_api}"

    with pytest.raises(CoordinatorUnreachable, match=f"{address} speaks TLS") as caught:
        verify(project, address, limit_s=100)

    assert not caught.value.is_passing
    assert f"name it without http://, as -c {apis.user_api}" in caught.value.hint
    assert "1314" in caught.value.hint


@pytest.mark.parametrize(
    "address",
    ["http://", "https:///x", "http://host/?x=1", "http://host/#x"],
)
def test_an_address_that_cannot_be_asked_is_refused(project: Project, address: str) -> None:
    with pytest.raises(UsageError, match="wanted http:// or https:// with a host"):
        verify(project, address)


def test_a_password_in_an_address_is_not_repeated(project: Project) -> None:
    with pytest.raises(UsageError, match="has a user, wanted none") as caught:
        verify(project, "http://user:word@host")

    assert "word" not in str(caught.value)
