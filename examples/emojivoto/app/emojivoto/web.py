"""The web front end: an HTTP API over the two services, and a page. Plain HTTP; TLS is added in front.

GET /api/list                   [{"shortcode": ":joy:", "unicode": "..."}, ...]
GET /api/vote?choice=:joy:      empty; 400 without a choice or with an unknown one
GET /api/leaderboard            [{"shortcode", "unicode", "votes": "3"}, ...], most votes first
GET / and /leaderboard          the page; /js, /dist/* and /img/favicon.ico are its parts
"""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from emojivoto import serving
from emojivoto.upstream import Failed, Services, Unavailable

_PAGE = Path(__file__).with_name("page")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
}


def load_files(bundle: str) -> dict[str, tuple[str, bytes]]:
    """Return every path we serve a file at -> (content type, content); requests never touch the disk."""
    script = (_PAGE / bundle).resolve()
    if _PAGE.resolve() not in script.parents or not script.is_file():
        serving.fail(f"INDEX_BUNDLE wants a file below {_PAGE}, found {bundle!r}")
    index = _PAGE / "index.html"
    places = {"/": index, "/leaderboard": index, "/js": script}
    for folder in ("dist", "img"):
        places |= {f"/{folder}/{file.name}": file for file in (_PAGE / folder).iterdir()}
    return {
        path: (_TYPES.get(file.suffix, "application/octet-stream"), file.read_bytes())
        for path, file in places.items()
    }


class Web(serving.Handler):
    """Answers one request; a subclass made in `main` holds the services and the files."""

    services: Services
    files: dict[str, tuple[str, bytes]]

    def do_GET(self) -> None:  # noqa: N802  # http.server's name
        url = urlsplit(self.path)
        if url.path in self.files:
            self.respond(200, *self.files[url.path])
            return
        try:
            self._api(url.path, parse_qs(url.query))
        except Unavailable as error:
            self._json(503, {"error": str(error)})
        except Failed as error:
            self._json(500, {"error": str(error)})

    def _api(self, path: str, query: dict[str, list[str]]) -> None:
        if path == "/api/list":
            every = self.services.list_all()
            self._json(200, [{"shortcode": code, "unicode": text} for code, text in every])
        elif path == "/api/vote":
            self._vote(query.get("choice", [""])[0])
        elif path == "/api/leaderboard":
            self._leaderboard()
        else:
            self._json(404, {"error": "there is nothing here"})

    def _vote(self, choice: str) -> None:
        if not choice:
            self._json(400, {"error": "no choice was made, add ?choice=:shortcode:"})
        elif self.services.vote(choice):
            self.respond(200, "text/plain; charset=utf-8", b"")
        else:
            self._json(400, {"error": f"there is no emoji {choice}"})

    def _leaderboard(self) -> None:
        texts = dict(self.services.list_all())
        ranked = [
            {"shortcode": code, "unicode": texts.get(code, ""), "votes": str(votes)}
            for code, votes in self.services.results()
        ]
        self._json(200, ranked)

    def _json(self, status: int, document: Any) -> None:
        body = json.dumps(document, ensure_ascii=False).encode()
        self.respond(status, "application/json; charset=utf-8", body)


def main() -> None:
    """Serve on WEB_PORT until SIGTERM."""
    serving.block_stop_signals()
    port = serving.port("WEB_PORT", default=8080)
    files = load_files(os.environ.get("INDEX_BUNDLE") or "dist/index_bundle.js")
    emoji_address, voting_address = map(serving.required, ("EMOJISVC_HOST", "VOTINGSVC_HOST"))
    try:
        services = Services(emoji_address, voting_address)
    except ValueError as error:
        serving.fail(str(error))
    handler = type("BoundWeb", (Web,), {"services": services, "files": files})
    with serving.http_server(port, handler):
        serving.say(f"listening on {serving.bind_address()}:{port}")
        serving.wait_for_stop()
    services.close()
