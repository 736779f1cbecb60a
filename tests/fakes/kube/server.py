"""A fake Kubernetes API server on loopback, over TLS, for kubectl and for clients of ours.

    with KubeServer() as server:
        server.cluster.create(...)
        server.write_kubeconfig(path)

It answers as the recordings of a real API server 1.36 say: docs/internals/coordinator.md 8.3.
"""

import json
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.fakes.kube.access import ADMIN, Reached
from tests.fakes.kube.cluster import Cluster, Event, Key, Object
from tests.fakes.kube.discovery import DISCOVERY
from tests.fakes.kube.fields import merge_patch, strategic_patch
from tests.fakes.kube.forwarding import Connect, PortForward
from tests.fakes.kube.kinds import Resource, find, kind
from tests.fakes.kube.pki import make_pki
from tests.fakes.kube.status import Failure, invalid

Rules = Sequence[Mapping[str, Any]]
_EVERYWHERE = "at the cluster scope"
_ROLES, _ROLE_BINDINGS = kind("Role"), kind("RoleBinding")


class Account(NamedTuple):
    """Who a token belongs to. rules: of a Role in its namespace; None: everything is allowed."""

    name: str
    namespace: str = ""
    rules: Rules | None = None


class Place(NamedTuple):
    """What a path names."""

    resource: Resource
    namespace: str
    name: str
    sub: str


class Request(NamedTuple):
    """One request: method, path, query with the last value of each name, headers, body."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class KubeServer(Reached):
    """The running server. requests: what was asked, in order; fail: called first, may raise Failure to break a request.

    inside: by the name of a pod, what listens in it. written: by pod and container, what it wrote; others are still to start.
    """

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.accounts: dict[str, Account] = {ADMIN: Account("admin")}
        self.requests: list[Request] = []
        self.fail: Callable[[Request], None] = lambda _request: None
        self.inside: dict[str, Connect] = {}
        self.written: dict[tuple[str, str], str] = {}
        self.ca_pem, chain = make_pki()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(chain)
            file.flush()
            context.load_cert_chain(file.name)
        self._http.socket = context.wrap_socket(
            self._http.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port: int = self._http.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.cluster.close()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def log_in(self, folder: Path, account: str, namespace: str) -> str:
        """Write the files of a service account, and return its token; what it may do, Roles and RoleBindings say."""
        token = f"{account}-token"
        self.accounts[token] = Account(account, namespace, self._rules_of(account, namespace))
        self.write_account(folder, namespace, token)
        return token

    def _rules_of(self, account: str, namespace: str) -> Rules:
        _, bindings = self.cluster.list(_ROLE_BINDINGS, namespace)
        return [
            rule
            for binding in bindings
            for subject in binding["subjects"]
            if (subject["kind"], subject["name"]) == ("ServiceAccount", account)
            and subject.get("namespace", namespace) == namespace
            for rule in self.cluster.get(Key(_ROLES, namespace, binding["roleRef"]["name"]))[
                "rules"
            ]
        ]

    def answer(self, request: Request) -> tuple[HTTPStatus, Any]:
        """Return status and JSON document of a request that is no watch. Raises Failure."""
        found = DISCOVERY.get(request.path.rstrip("/"))
        if found is not None:
            return HTTPStatus.OK, found
        place = parse_place(request.path)
        if place is None:
            raise LookupError(request.path)
        self._authorise(request, place)
        dry = request.query.get("dryRun") == "All"
        key = Key(place.resource, place.namespace, place.name)
        match request.method:
            case "GET" if place.name:
                answer = HTTPStatus.OK, self.cluster.get(key)
            case "GET":
                version, items = self.cluster.list(
                    place.resource, place.namespace, selected(request.query)
                )
                is_short = "as=PartialObjectMetadataList" in request.headers.get("accept", "")
                made = _names if is_short else _list
                answer = HTTPStatus.OK, made(place.resource, version, items)
            case "POST":
                body = _body(request)
                made = self.cluster.create(place.resource, place.namespace, body, dry=dry)
                answer = HTTPStatus.CREATED, made
            case "PUT":
                answer = HTTPStatus.OK, self.cluster.replace(key, _body(request), dry=dry)
            case "PATCH":
                answer = self._patch(key, request, dry=dry)
            case _:
                answer = HTTPStatus.OK, self.cluster.delete(key, dry=dry)
        return answer

    def _patch(self, key: Key, request: Request, *, dry: bool) -> tuple[HTTPStatus, Object]:
        kind = request.headers.get("content-type", "")
        body = _body(request)
        if kind == "application/apply-patch+yaml":
            manager = request.query.get("fieldManager", "")
            if not manager:
                cause = ("fieldManager", "Required value: is required for apply patch")
                refused = invalid("PatchOptions.meta.k8s.io", "", [cause])
                del refused.details["name"]
                refused.details |= {"group": "meta.k8s.io", "kind": "PatchOptions"}
                raise refused
            force = request.query.get("force") == "true"
            is_new, stored = self.cluster.apply(key, body, manager=manager, force=force, dry=dry)
            return HTTPStatus.CREATED if is_new else HTTPStatus.OK, stored
        change = strategic_patch if kind.startswith("application/strategic") else merge_patch
        return HTTPStatus.OK, self.cluster.patch(key, lambda live: change(live, body), dry=dry)

    def account_of(self, request: Request) -> Account | None:
        """Return whose token a request has."""
        return self.accounts.get(request.headers.get("authorization", "").removeprefix("Bearer "))

    def _authorise(self, request: Request, place: Place) -> None:
        account = self.account_of(request)
        verb = _verb(request, place)
        what = f"{place.resource.plural}/{place.sub}" if place.sub else place.resource.plural
        if account is not None and account.rules is None:
            return
        allowed = (
            account is not None
            and place.namespace == account.namespace
            and any(
                place.resource.group in rule["apiGroups"]
                and what in rule["resources"]
                and verb in rule["verbs"]
                and (not rule.get("resourceNames") or place.name in rule["resourceNames"])
                for rule in account.rules or ()
            )
        )
        if not allowed:
            user = (
                "system:anonymous"
                if account is None
                else f"system:serviceaccount:{account.namespace}:{account.name}"
            )
            where = f'in the namespace "{place.namespace}"' if place.namespace else _EVERYWHERE
            raise Failure(
                HTTPStatus.FORBIDDEN,
                "Forbidden",
                f'{place.resource.plural} is forbidden: User "{user}" cannot {verb} resource "{what}" in API '
                f'group "{place.resource.group}" {where}',
                details={"kind": place.resource.plural},
            )

    def log(self, request: Request) -> str:
        """Return what a container wrote. Raises Failure."""
        place = parse_place(request.path)
        assert place is not None
        self._authorise(request, place)
        self.cluster.get(Key(place.resource, place.namespace, place.name))
        container = request.query.get("container", "")
        try:
            return self.written[place.name, container]
        except KeyError as err:
            told = f'container "{container}" in pod "{place.name}" is waiting to start: ContainerCreating'
            raise Failure(HTTPStatus.BAD_REQUEST, "BadRequest", told) from err

    def forward(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        """Pass bytes between kubectl and a pod, until one of them ends. Raises Failure."""
        place = parse_place(request.path)
        assert place is not None
        assert place.sub == "portforward"
        self._authorise(request, place)
        self.cluster.get(Key(place.resource, place.namespace, place.name))
        handler.send_response(HTTPStatus.SWITCHING_PROTOCOLS)
        handler.send_header("Connection", "Upgrade")
        handler.send_header("Upgrade", "SPDY/3.1")
        handler.send_header("X-Stream-Protocol-Version", "portforward.k8s.io")
        handler.end_headers()
        handler.close_connection = True
        assert isinstance(handler.connection, ssl.SSLSocket)
        with suppress(OSError):
            PortForward(handler.connection, self.inside[place.name]).serve()

    def watch(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        """Tell of events until the time is over. Raises Failure."""
        matches = self.events(request)
        since = int(request.query.get("resourceVersion") or 0)
        timeout_s = float(request.query.get("timeoutSeconds") or 3600)
        handler.send_response(HTTPStatus.OK)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        with suppress(OSError):
            for kind, told in self._initial(request) if since == 0 else ():
                _send_line(handler, kind, told)
                since = int(told["metadata"]["resourceVersion"])
            for event in self.cluster.watch(since, matches, timeout_s):
                _send_line(handler, event.type, event.object)
            handler.wfile.write(b"0\r\n\r\n")

    def _initial(self, request: Request) -> Iterator[tuple[str, Object]]:
        """Yield what is there, and a bookmark behind it, if the watch asks for it."""
        if request.query.get("sendInitialEvents") != "true":
            return
        place = parse_place(request.path)
        assert place is not None
        found = self.cluster.list(place.resource, place.namespace, selected(request.query))
        for one in found[1]:
            yield "ADDED", one
        metadata = {
            "resourceVersion": str(found[0]),
            "annotations": {"k8s.io/initial-events-end": "true"},
        }
        kind = {"apiVersion": place.resource.api_version, "kind": place.resource.kind}
        yield "BOOKMARK", {**kind, "metadata": metadata}

    def events(self, request: Request) -> Callable[[Event], bool]:
        """Return which events a watch tells. Raises Failure."""
        place = parse_place(request.path)
        assert place is not None
        self._authorise(request, place)
        is_selected = selected(request.query)
        return lambda event: (
            event.key.resource == place.resource
            and place.namespace in {"", event.key.namespace}
            and is_selected(event.object)
        )


def _send_line(handler: BaseHTTPRequestHandler, kind: str, told: Object) -> None:
    line = json.dumps({"type": kind, "object": told}).encode() + b"\n"
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))


def _list(resource: Resource, version: int, items: Sequence[Object]) -> Object:
    return {
        "apiVersion": resource.api_version,
        "kind": f"{resource.kind}List",
        "metadata": {"resourceVersion": str(version)},
        "items": list(items),
    }


def _names(_resource: Resource, version: int, items: Sequence[Object]) -> Object:
    """Return the list of metadata alone, which has null where it is empty."""
    return {
        "apiVersion": "meta.k8s.io/v1",
        "kind": "PartialObjectMetadataList",
        "metadata": {"resourceVersion": str(version)},
        "items": [
            {
                "apiVersion": "meta.k8s.io/v1",
                "kind": "PartialObjectMetadata",
                "metadata": one["metadata"],
            }
            for one in items
        ]
        or None,
    }


def parse_place(path: str) -> Place | None:
    """Return what a path names, None if it names nothing."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"]:
        group, version, rest = "", parts[1] if len(parts) > 1 else "", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 2:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
        namespace, rest = rest[1], rest[2:]
    resource = find(group, version, rest[0]) if rest else None
    if resource is None:
        return None
    return Place(resource, namespace, rest[1] if len(rest) > 1 else "", "/".join(rest[2:]))


def selected(query: Mapping[str, str]) -> Callable[[Object], bool]:
    """Return whether an object is selected by a query's labelSelector and fieldSelector (equality only)."""
    labels = _pairs(query.get("labelSelector", ""))
    fields = _pairs(query.get("fieldSelector", ""))

    def is_selected(one: Object) -> bool:
        found = one["metadata"].get("labels") or {}
        return all(found.get(name) == value for name, value in labels) and all(
            _field(one, name) == value for name, value in fields
        )

    return is_selected


def _pairs(text: str) -> list[tuple[str, str]]:
    parts = [part.replace("==", "=").split("=", 1) for part in text.split(",") if part]
    return [(name.strip(), value.strip()) for name, value in parts]


def _field(one: Any, path: str) -> Any:
    for part in path.split("."):
        one = one.get(part) if isinstance(one, Mapping) else None
    return one


def _verb(request: Request, place: Place) -> str:
    match request.method:
        case "GET" if request.query.get("watch") in {"true", "1"}:
            return "watch"
        case "GET":
            return "get" if place.name else "list"
        case method:
            return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[method]


def _body(request: Request) -> dict[str, Any]:
    found = yaml.safe_load(request.body)
    if not isinstance(found, dict):
        raise Failure(HTTPStatus.BAD_REQUEST, "BadRequest", "the object provided is unrecognized")
    return found


def _handler(server: KubeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            request = Request(
                method=self.command,
                path=url.path,
                query={name: values[-1] for name, values in parse_qs(url.query).items()},
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(length),
            )
            server.requests.append(request)
            try:
                server.fail(request)
                if request.query.get("watch") in {"true", "1"}:
                    server.watch(self, request)
                    return
                if request.headers.get("upgrade") == "SPDY/3.1":
                    server.forward(self, request)
                    return
                if url.path.endswith("/log"):
                    self._send(HTTPStatus.OK, server.log(request).encode(), "text/plain")
                    return
                code, document = server.answer(request)
            except Failure as err:
                code, document = int(err.code), err.render()
            except LookupError:
                self._send(
                    HTTPStatus.NOT_FOUND, b"404 page not found\n", "text/plain; charset=utf-8"
                )
                return
            self._send(code, json.dumps(document).encode(), "application/json")

        def _send(self, code: int, content: bytes, kind: str) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            for warning in server.cluster.warnings:
                self.send_header("Warning", f'299 - "{warning}"')
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Say nothing."""

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  # the base class's names

    return Handler
