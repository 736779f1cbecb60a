"""A real kube-apiserver over etcd on loopback, with the face of our fake; docs/internals/coordinator.md 8.3.

It runs where KUBEBUILDER_ASSETS names a folder with both programs, which `./doitw api_server` builds. It has no controllers:
Deployments make no pods, what an object owned stays, and namespaces that are deleted have to be finalised.
"""

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from tests.fakes.kube.access import ADMIN, Reached
from tests.fakes.kube.cluster import NAMESPACES, Event, Key, Object
from tests.fakes.kube.kinds import RESOURCES, Resource
from tests.fakes.kube.pki import make_pki
from tests.fakes.kube.status import Failure

ASSETS = os.environ.get("KUBEBUILDER_ASSETS", "")
PROGRAMS = ("etcd", "kube-apiserver")
_OWN: Mapping[str, Collection[str]] = defaultdict(
    tuple,
    Namespace=("default", "kube-system", "kube-public", "kube-node-lease"),
    Service=("kubernetes",),
    Endpoints=("kubernetes",),
    ConfigMap=("extension-apiserver-authentication",),
)
_BOOTSTRAP = "kubernetes.io/bootstrapping"
_MERGE, _APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
_LIMIT_S, _LOOK_S = 20.0, 0.5


def is_there() -> bool:
    """Return whether the folder has both programs."""
    return bool(ASSETS) and all(shutil.which(each, path=ASSETS) for each in PROGRAMS)


class RealServer(Reached):
    """The running server; folder: for its data, keys and logs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = _free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca_pem, self._chain = make_pki()
        self.cluster = RealCluster(self.url, self.ca_pem)
        self._processes: list[subprocess.Popen[str]] = []
        self._log: _Log | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        if self._log is not None:
            self._log.close()

    def log_in(self, folder: Path, account: str, namespace: str) -> str:
        """Write the files of a service account, and return its token; what it may do, Roles and RoleBindings say."""
        place = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token: str = self.cluster.ask("POST", place, body)["status"]["token"]
        self.write_account(folder, namespace, token)
        return token

    def _start(self) -> None:
        folder, (client, peer) = self._folder, (_free_port(), _free_port())
        chain, public, tokens = folder / "chain.pem", folder / "public.pem", folder / "tokens"
        key = load_pem_private_key(self._chain, None)
        info = PublicFormat.SubjectPublicKeyInfo
        for path, content in (
            (chain, self._chain),
            (public, key.public_key().public_bytes(Encoding.PEM, info)),
            (tokens, f'{ADMIN},admin,admin,"system:masters"\n'.encode()),
        ):
            path.touch(0o600)
            path.write_bytes(content)
        etcd = f"http://127.0.0.1:{client}"
        with (folder / "etcd.log").open("w") as log:
            self._run(
                "etcd",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                "--unsafe-no-fsync",
                stderr=log,
            )
        server = self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={folder}",
            f"--tls-cert-file={chain}",
            f"--tls-private-key-file={chain}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            # Its accounts `default` are made by a controller.
            "--disable-admission-plugins=ServiceAccount",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--service-account-issuer={self.url}",
            f"--service-account-key-file={public}",
            f"--service-account-signing-key-file={chain}",
            "--v=2",
            stderr=subprocess.PIPE,
        )
        self._log = _Log(server)
        while not self.cluster.is_ready():
            self._log.wait_for_more()

    def _run(self, program: str, *words: str, stderr: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(Path(ASSETS) / program), *words],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
        )
        self._processes.append(process)
        return process


class _Log:
    """The server's messages, read so that it never waits for a reader; after each it may have become ready."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._told = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            for line in stderr:
                self._lines.append(line)
                self._told.release()
        self._told.release()

    def wait_for_more(self) -> None:
        """Wait for a message. Raises RuntimeError if the server has ended, or says nothing more."""
        if not self._told.acquire(timeout=_LIMIT_S) or self._process.poll() is not None:
            raise RuntimeError(f"kube-apiserver did not start: {''.join(self._lines[-20:])}")

    def close(self) -> None:
        """Wait for the end of the server that was killed."""
        self._thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RealCluster:
    """The objects of a real server, with the words of the fake's."""

    def __init__(self, url: str, ca_pem: bytes) -> None:
        self._url = url
        self._context = ssl.create_default_context(cadata=ca_pem.decode())

    def is_ready(self) -> bool:
        """Return whether the server says that it is."""
        try:
            with self._open("GET", "/readyz", timeout_s=_LOOK_S):
                return True
        except (OSError, Failure):
            return False

    def ask(self, method: str, path: str, body: object = None, kind: str = "") -> Any:
        """Return the answer to a request. Raises Failure."""
        with self._open(method, path, body, kind) as answer:
            return json.load(answer)

    def get(self, key: Key) -> Object:
        """Return an object. Raises Failure."""
        return self._object("GET", _path(key))

    def list(
        self,
        resource: Resource,
        namespace: str = "",
        matches: Callable[[Object], bool] = lambda _: True,
    ) -> tuple[int, list[Object]]:
        """Return the version of the list, and the objects of a namespace ("": of all) in the order of their names."""
        found = self.ask("GET", _path(Key(resource, namespace, "")))
        objects = [
            {**one, **_kind(resource)} for one in found["items"] if not _is_own(resource, one)
        ]
        return int(found["metadata"]["resourceVersion"]), [one for one in objects if matches(one)]

    def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Object:
        """Store a new object, with its status. Raises Failure."""
        path = _path(Key(resource, namespace, ""))
        made = self._object("POST", path, {**body, **_kind(resource)})
        if "status" in body:
            key = Key(resource, namespace, made["metadata"]["name"])
            made = self.set_status(key, body["status"])
        return made

    def patch(self, key: Key, change: Callable[[Object], Object]) -> Object:
        """Store what `change` makes of an object. Raises Failure."""
        return self._object("PUT", _path(key), change(self.get(key)))

    def set_status(self, key: Key, status: Mapping[str, Any]) -> Object:
        """Let a controller tell an object's state."""
        return self._object("PATCH", f"{_path(key)}/status", {"status": status}, _MERGE)

    def apply(
        self, key: Key, body: Mapping[str, Any], *, manager: str, force: bool
    ) -> tuple[bool, Object]:
        """Apply server-side; return whether the object is new, and it. Raises Failure."""
        is_new = key.name not in {one["metadata"]["name"] for one in self.list(*key[:2])[1]}
        query = f"?fieldManager={manager}&force={'true' if force else 'false'}"
        content = {**body, **_kind(key.resource)}
        content["metadata"] = {**content.get("metadata", {}), "name": key.name}
        return is_new, self._object("PATCH", _path(key) + query, content, _APPLY)

    def delete(self, key: Key) -> None:
        """Remove an object, of namespaces empty ones. Raises Failure."""
        self.ask("DELETE", _path(key))
        if key.resource == NAMESPACES:
            body = {**_kind(NAMESPACES), "metadata": {"name": key.name}, "spec": {"finalizers": []}}
            self.ask("PUT", f"{_path(key)}/finalize", body)

    def events_of(self, key: Key, since: int, timeout_s: float) -> Iterator[Event]:
        """Yield the events of an object after a version."""
        query = f"?watch=true&resourceVersion={since}&timeoutSeconds={timeout_s:.0f}"
        query += f"&fieldSelector=metadata.name={key.name}"
        with self._open("GET", _path(key._replace(name="")) + query) as lines:
            for line in lines:
                event = json.loads(line)
                version = int(event["object"]["metadata"]["resourceVersion"])
                yield Event(version, event["type"], key, event["object"])

    def close(self) -> None:
        """Do nothing: watches end by themselves."""

    def versions(self) -> dict[Key, str]:
        """Return all objects with their versions."""
        return {
            Key(resource, one["metadata"].get("namespace", ""), one["metadata"]["name"]): one[
                "metadata"
            ]["resourceVersion"]
            for resource in RESOURCES
            for one in self.list(resource)[1]
        }

    def reset(self) -> None:
        """Remove whatever tests made."""
        for key in self.versions():
            if key.resource != NAMESPACES:
                self.ask("DELETE", _path(key))
        for one in self.list(NAMESPACES)[1]:
            self.delete(Key(NAMESPACES, "", one["metadata"]["name"]))

    def _object(self, method: str, path: str, body: object = None, kind: str = "") -> Object:
        found: Object = self.ask(method, path, body, kind)
        # The fake has no such record.
        found["metadata"].pop("managedFields", None)
        return found

    def _open(
        self,
        method: str,
        path: str,
        body: object = None,
        kind: str = "",
        *,
        timeout_s: float = _LIMIT_S,
    ) -> Any:
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": kind or "application/json",
                "Authorization": f"Bearer {ADMIN}",
            },
        )
        try:
            return urllib.request.urlopen(request, context=self._context, timeout=timeout_s)
        except urllib.error.HTTPError as err:
            with err:
                content = err.read()
            try:
                told = json.loads(content)
            except ValueError:
                told = {"message": content.decode(errors="replace")}
            raise Failure(
                HTTPStatus(err.code),
                str(told.get("reason", "")),
                str(told.get("message", "")),
                details=told.get("details"),
            ) from err


def _path(key: Key) -> str:
    resource, namespace, name = key
    base = f"/apis/{resource.group}" if resource.group else "/api"
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"{base}/{resource.version}{place}/{resource.plural}{f'/{name}' if name else ''}"


def _kind(resource: Resource) -> dict[str, str]:
    return {"apiVersion": resource.api_version, "kind": resource.kind}


def _is_own(resource: Resource, one: Object) -> bool:
    """Return whether the server itself made an object."""
    metadata = one["metadata"]
    return _BOOTSTRAP in (metadata.get("labels") or {}) or metadata["name"] in _OWN[resource.kind]
