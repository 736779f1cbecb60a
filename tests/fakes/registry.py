"""A registry on loopback that keeps images in memory and misbehaves on request."""

import base64
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from contrast_tasks.images.documents import MANIFEST_TYPES, digest_of
from tests.fakes.images import MadeImage


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    peer: tuple[str, int]

    @property
    def authorization(self) -> str | None:
        return self.headers.get("Authorization")


@dataclass(kw_only=True)
class Mischief:
    """What goes wrong; everything off makes an honest registry.

    fail_first: (status, headers) answered to the first requests of the API, one after the other.
    get_token_status: the answer to GET at the token service, which POST still works at. fail_with: status and body of every
    answer of the API. truncate_first: so many blob answers end half way. password: wanted of user `me`, at the token service or as
    Basic. challenges: several headers instead of one, `{realm}` stands for the token service; challenges_for_bearer: those
    of an answer to a token. redirect_blobs_to: base address that blob requests are sent to. Others replace one part of an answer.
    """

    fail_first: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    truncate_first: int = 0
    wants_token: bool = False
    wants_basic: bool = False
    password: str | None = None
    realm: str | None = None
    token_answer: bytes | None = None
    token_status: int = 200
    get_token_status: int = 200
    fail_with: tuple[int, bytes] | None = None
    say_nothing: bool = False
    challenge: str | None = None
    challenges: Sequence[str] = ()
    challenges_for_bearer: Sequence[str] = ()
    redirect_blobs_to: str | None = None
    replace_blob: bytes | None = None
    replace_manifest: bytes | None = None
    state_digest: str | None = None
    upload_at: str | None = None


class FakeRegistry:
    """Serves on a free port of 127.0.0.1 between `with` and its end; `seen` is everything it was asked."""

    def __init__(self) -> None:
        self.mischief = Mischief()
        self.seen: list[Seen] = []
        self._manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._blobs: dict[str, bytes] = {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Header and body are two segments; the second is not to wait for the first one's acknowledgement.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                _Answer(registry, self).get()

            def do_POST(self) -> None:
                _Answer(registry, self).get()

            def do_HEAD(self) -> None:
                _Answer(registry, self).get()

            def do_PUT(self) -> None:
                _Answer(registry, self).get()

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def address(self) -> str:
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, repository: str, tag: str, image: MadeImage) -> str:
        """Put an image there; return its reference with the tag."""
        self._blobs |= image.blobs
        self._manifests[repository, tag] = (image.media_type, image.manifest)
        for digest, content in image.blobs.items():
            try:
                media_type = json.loads(content).get("mediaType", "")
            except (ValueError, AttributeError):
                continue
            if media_type in MANIFEST_TYPES:
                self._manifests[repository, digest] = (media_type, content)
        return f"{self.host}/{repository}:{tag}"

    def manifest(self, repository: str, name: str) -> tuple[str, bytes] | None:
        return self._manifests.get((repository, name))

    def keep(self, repository: str, name: str, media_type: str, content: bytes) -> None:
        for key in (name, digest_of(content)):
            self._manifests[repository, key] = (media_type, content)

    def keep_blob(self, digest: str, content: bytes) -> None:
        self._blobs[digest] = content

    def blob(self, digest: str) -> bytes | None:
        return self._blobs.get(digest)

    def paths(self) -> list[str]:
        return [seen.path.partition("?")[0] for seen in self.seen]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients under test hang up on purpose."""


class _Answer:
    def __init__(self, registry: FakeRegistry, handler: BaseHTTPRequestHandler) -> None:
        self._registry = registry
        self._handler = handler
        self._mischief = registry.mischief

    def get(self) -> None:
        handler = self._handler
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        self._registry.seen.append(
            Seen(
                method=handler.command,
                path=handler.path,
                headers=dict(handler.headers.items()),
                body=body,
                peer=handler.client_address,
            )
        )
        path = urlsplit(handler.path).path
        if path == "/token":
            self._token(body)
        elif path.startswith("/v2/"):
            self._api(path.removeprefix("/v2/"))
        else:
            self._send(404, b"")

    def _api(self, path: str) -> None:
        mischief = self._mischief
        if mischief.fail_first:
            status, headers = mischief.fail_first.pop(0)
            self._send(status, b"", headers)
            return
        if mischief.fail_with is not None:
            self._send(*mischief.fail_with)
            return
        if (mischief.wants_token or mischief.wants_basic) and not self._is_authorised():
            errors = {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]}
            body = b"" if mischief.say_nothing else json.dumps(errors).encode()
            self._send(401, body, self._challenges(path))
            return
        if self._handler.command in {"POST", "PUT"}:
            self._push(path)
            return
        repository, kind, name = path.rsplit("/", 2)
        if kind == "manifests":
            self._manifest(repository, name)
        else:
            self._blob(path, name)

    def _manifest(self, repository: str, name: str) -> None:
        found = self._registry.manifest(repository, name)
        accepted = self._handler.headers.get("Accept", "")
        if found is None or found[0] not in accepted:
            errors = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]}
            self._send(404, json.dumps(errors).encode())
            return
        media_type, content = found
        content = self._mischief.replace_manifest or content
        stated = self._mischief.state_digest or digest_of(content)
        self._send(200, content, {"Content-Type": media_type, "Docker-Content-Digest": stated})

    def _blob(self, path: str, digest: str) -> None:
        mischief = self._mischief
        content = self._registry.blob(digest)
        if mischief.redirect_blobs_to is not None:
            self._send(307, b"", {"Location": f"{mischief.redirect_blobs_to}/v2/{path}"})
        elif content is None:
            self._send(404, b"")
        elif mischief.truncate_first > 0:
            mischief.truncate_first -= 1
            self._send(200, content, cut=len(content) // 2)
        else:
            self._send(200, content if mischief.replace_blob is None else mischief.replace_blob)

    def _push(self, path: str) -> None:
        """Take what is pushed: an upload, a blob at the place that was given for it, a manifest."""
        seen = self._registry.seen[-1]
        query = parse_qs(urlsplit(seen.path).query)
        repository, kind, name = path.rsplit("/", 2)
        if seen.method == "POST":
            place = self._mischief.upload_at or f"/v2/{repository}/uploads/1?state=x"
            self._send(202, b"", {"Location": place})
        elif kind == "manifests":
            media_type = seen.headers["Content-Type"]
            self._registry.keep(repository, name, media_type, seen.body)
            self._send(201, b"")
        else:
            digest = query.get("digest", [""])[0]
            is_it = digest_of(seen.body) == digest and query.get("state") == ["x"]
            if is_it:
                self._registry.keep_blob(digest, seen.body)
            self._send(201 if is_it else 400, b"")

    def _challenges(self, path: str) -> list[tuple[str, str]]:
        mischief = self._mischief
        given = self._handler.headers.get("Authorization", "")
        several = mischief.challenges
        if given.startswith("Bearer") and mischief.challenges_for_bearer:
            several = mischief.challenges_for_bearer
        realm = f"{self._registry.address}/token"
        texts = [text.replace("{realm}", realm) for text in several] or [self._challenge(path)]
        return [("WWW-Authenticate", text) for text in texts]

    def _challenge(self, path: str) -> str:
        mischief = self._mischief
        if mischief.challenge is not None:
            return mischief.challenge
        if mischief.wants_basic:
            return 'Basic realm="here"'
        realm = mischief.realm or f"{self._registry.address}/token"
        scope = f"repository:{path.rsplit('/', 2)[0]}:pull"
        return f'Bearer realm="{realm}",service="fake",scope="{scope}"'

    def _is_authorised(self) -> bool:
        given = self._handler.headers.get("Authorization", "")
        if self._mischief.wants_basic:
            return given == self._basic()
        return given == "Bearer the-token"

    def _basic(self) -> str:
        return f"Basic {base64.b64encode(f'me:{self._mischief.password}'.encode()).decode()}"

    def _token(self, body: bytes) -> None:
        mischief = self._mischief
        query = parse_qs(urlsplit(self._handler.path).query) | parse_qs(body.decode())
        asked_well = query.get("service") == ["fake"] and "scope" in query
        given = self._handler.headers.get("Authorization", "")
        if mischief.get_token_status != 200 and self._handler.command == "GET":
            self._send(mischief.get_token_status, b"")
            return
        by_password = (query.get("username"), query.get("password")) == (
            ["me"],
            [mischief.password],
        )
        by_token = by_password or query.get("refresh_token") == [mischief.password or ""]
        if mischief.password is not None and given != self._basic() and not by_token:
            self._send(401, b"")
        elif not asked_well:
            self._send(400, b"")
        else:
            answer = mischief.token_answer or b'{"token": "the-token"}'
            self._send(mischief.token_status, answer)

    def _send(
        self,
        status: int,
        content: bytes,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        *,
        cut: int | None = None,
    ) -> None:
        handler = self._handler
        handler.send_response_only(status)  # no date but the test's
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content[:cut])
        if cut is not None:
            handler.close_connection = True
