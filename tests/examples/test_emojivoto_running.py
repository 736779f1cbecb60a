"""The stand-in as processes, from its packed and unpacked images, with the environment of the deployment."""

import http.server
import json
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.layout import Layout
from contrast_tasks.images.packing import pack
from contrast_tasks.images.unpack import unpack
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.settings.model import Settings
from tests.fakes.application import Program, get, loopback

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "emojivoto"
EMOJI, VOTING, WEB, FRONT = (loopback(number) for number in (1, 2, 3, 4))
EMOJI_ENV = {"BIND_ADDRESS": EMOJI, "GRPC_PORT": "8080", "PROM_PORT": "8801"}
VOTING_ENV = {"BIND_ADDRESS": VOTING, "GRPC_PORT": "8080", "PROM_PORT": "8801"}
WEB_ENV = {
    "BIND_ADDRESS": WEB,
    "WEB_PORT": "8080",
    "EMOJISVC_HOST": f"{EMOJI}:8080",
    "VOTINGSVC_HOST": f"{VOTING}:8080",
    "INDEX_BUNDLE": "dist/index_bundle.js",
}


@dataclass(frozen=True, kw_only=True)
class Image:
    rootfs: Path
    config: ImageConfig


Start = Callable[..., Program]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(EXAMPLE, root / "emojivoto", ignore=shutil.ignore_patterns("__pycache__"))
    settings = Settings(root=root, platform="local", sources=("emojivoto/deployment",))
    pack(settings)
    layout = Layout(root / settings.packed_layout)
    found = {}
    for name in ("emoji-svc", "voting-svc", "web"):
        image = layout.image(parse_reference(f"emojivoto/{name}:v11"))
        unpack(image, root / name)
        found[name] = Image(rootfs=root / name, config=image.config)
    return found


@contextmanager
def starter(images: dict[str, Image], folder: Path) -> Iterator[Start]:
    """Give a function that starts programs; all are stopped at the end."""
    running: list[Program] = []

    def start(name: str, environ: dict[str, str], *command: str) -> Program:
        image = images[name]
        errors = folder / f"{name}.{len(running)}.err"
        program = Program.start(image.rootfs, image.config, environ, command=command, errors=errors)
        running.append(program)
        return program

    try:
        yield start
    finally:
        for program in running:
            program.__exit__()


@pytest.fixture
def start(images: dict[str, Image], tmp_path: Path) -> Iterator[Start]:
    with starter(images, tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def shared_web(images: dict[str, Image], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the application for tests that leave no trace in it; give the address of its web."""
    emoji, voting, web = (loopback(number) for number in (11, 12, 13))
    hosts = {"EMOJISVC_HOST": f"{emoji}:8080", "VOTINGSVC_HOST": f"{voting}:8080"}
    failing = {"BIND_ADDRESS": voting, "DOUGHNUT_FAILURE_RATE": "1"}
    with starter(images, tmp_path_factory.mktemp("shared")) as start:
        programs = [
            start("emoji-svc", EMOJI_ENV | {"BIND_ADDRESS": emoji}),
            start("voting-svc", VOTING_ENV | failing),
            start("web", WEB_ENV | {"BIND_ADDRESS": web} | hosts),
        ]
        for program in programs:
            program.wait_until_listening()
        yield web


def test_emoji_are_listed_voted_for_and_ranked(start: Start) -> None:
    programs = [
        start("emoji-svc", EMOJI_ENV),
        start("voting-svc", VOTING_ENV),
        start("web", WEB_ENV),
    ]
    for program in programs:
        program.wait_until_listening()

    listed = get(WEB, 8080, "/api/list")
    shortcodes = [emoji["shortcode"] for emoji in listed.json]
    assert ":joy:" in shortcodes
    assert ":doughnut:" in shortcodes
    assert set(listed.json[0]) == {"shortcode", "unicode"}
    assert get(WEB, 8080, "/api/leaderboard").json == []

    for choice in (":joy:", ":heart_eyes:", ":joy:"):
        vote = get(WEB, 8080, f"/api/vote?choice={choice}")
        assert (vote.status, vote.body) == (200, b"")

    assert get(WEB, 8080, "/api/leaderboard").json == [
        {"shortcode": ":joy:", "unicode": "😂", "votes": "2"},
        {"shortcode": ":heart_eyes:", "unicode": "😍", "votes": "1"},
    ]
    metrics = get(VOTING, 8801, "/metrics").body.decode()
    assert 'emojivoto_votes_total{emoji=":joy:"} 2\n' in metrics


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/api/vote", 400, "no choice was made, add ?choice=:shortcode:"),
        ("/api/vote?choice=", 400, "no choice was made, add ?choice=:shortcode:"),
        ("/api/vote?choice=:nothing:", 400, "there is no emoji :nothing:"),
        ("/api/vote?choice=%00%ff", 400, None),
        ("/api/vote?choice=Results", 400, "there is no emoji Results"),
        ("/api/vote?choice=:doughnut:", 500, None),
        ("/api/none", 404, "there is nothing here"),
        ("/../web.py", 404, "there is nothing here"),
        ("/dist/../../web.py", 404, "there is nothing here"),
    ],
)
def test_a_bad_request_is_answered_with_an_error(
    shared_web: str, path: str, status: int, error: str | None
) -> None:
    answer = get(shared_web, 8080, path)

    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert set(answer.json) == {"error"}
    assert error is None or answer.json == {"error": error}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/leaderboard", "text/html; charset=utf-8"),
        ("/js", "text/javascript; charset=utf-8"),
        ("/dist/index_bundle.js", "text/javascript; charset=utf-8"),
        ("/dist/style.css", "text/css; charset=utf-8"),
        ("/img/favicon.ico", "image/x-icon"),
    ],
)
def test_the_page_is_served_and_may_load_nothing_from_elsewhere(
    shared_web: str, path: str, kind: str
) -> None:
    answer = get(shared_web, 8080, path)
    head = get(shared_web, 8080, path, method="HEAD")

    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(answer.body))


def test_a_service_that_goes_away_and_comes_back_is_found_again(start: Start) -> None:
    emoji = start("emoji-svc", EMOJI_ENV).wait_until_listening()
    start("web", WEB_ENV).wait_until_listening()
    assert get(WEB, 8080, "/api/list").status == 200

    assert emoji.stop() == 0
    gone = get(WEB, 8080, "/api/list")
    start("emoji-svc", EMOJI_ENV).wait_until_listening()
    back = get(WEB, 8080, "/api/list")

    assert (gone.status, gone.json) == (503, {"error": "the emoji service does not answer"})
    assert back.status == 200


def test_every_program_ends_with_status_0_when_asked_to_stop(start: Start) -> None:
    programs = [
        start("emoji-svc", EMOJI_ENV),
        start("voting-svc", VOTING_ENV),
        start("web", WEB_ENV),
    ]
    for program in programs:
        program.wait_until_listening()

    assert [program.stop() for program in programs] == [0, 0, 0]


def test_a_port_in_use_is_an_error_that_names_it(start: Start) -> None:
    start("emoji-svc", EMOJI_ENV).wait_until_listening()
    start("web", WEB_ENV).wait_until_listening()

    emoji, web = start("emoji-svc", EMOJI_ENV), start("web", WEB_ENV)

    assert (emoji.process.wait(20), web.process.wait(20)) == (1, 1)
    # Metrics come up first.
    assert f"cannot listen on {EMOJI}:8801: Address already in use" in emoji.errors.read_text()
    assert f"cannot listen on {WEB}:8080: Address already in use" in web.errors.read_text()


@pytest.mark.parametrize(
    ("name", "environ", "command", "problem"),
    [
        ("emoji-svc", {"GRPC_PORT": "http"}, (), "GRPC_PORT wants a port from 1 to 65535"),
        ("voting-svc", {"DOUGHNUT_FAILURE_RATE": "2"}, (), "wants a number from 0 to 1, found '2'"),
        ("web", {}, (), "environment variable EMOJISVC_HOST is not set"),
        ("web", {"EMOJISVC_HOST": "a", "VOTINGSVC_HOST": "b:1"}, (), "found 'a'"),
        ("web", {}, ("emojivoto-vote-bot",), "environment variable WEB_HOST is not set"),
        (
            "web",
            {"WEB_HOST": "a:1", "VOTE_BOT_PAUSE_SECONDS": "-1"},
            ("emojivoto-vote-bot",),
            "found '-1'",
        ),
    ],
)
def test_a_wrong_environment_is_an_error_of_one_line(
    start: Start, name: str, environ: dict[str, str], command: tuple[str, ...], problem: str
) -> None:
    program = start(name, {"BIND_ADDRESS": FRONT} | environ, *command)

    assert program.process.wait(20) == 1
    (line,) = program.errors.read_text().splitlines()
    assert problem in line


class _Front(http.server.BaseHTTPRequestHandler):
    """Stands in for the front end behind TLS; keeps what it was asked."""

    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.headers["Host"], self.path))
        body = json.dumps([{"shortcode": ":joy:", "unicode": ""}]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def tls_front(folder: Path) -> Iterator[list[tuple[str, str]]]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another name")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now - timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = folder / "front.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    asked: list[tuple[str, str]] = []
    handler = type("Front", (_Front,), {"asked": asked})
    server = http.server.ThreadingHTTPServer((FRONT, 8443), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_bot_votes_over_https_whatever_the_certificate(start: Start, tmp_path: Path) -> None:
    environ = {"WEB_HOST": f"{FRONT}:8443", "VOTE_BOT_PAUSE_SECONDS": "0"}
    with tls_front(tmp_path) as asked:
        bot = start("web", environ | {"HOST_OVERRIDE": "emojivoto.example"}, "emojivoto-vote-bot")
        lines = {bot.output.readline() for _ in range(5)}
        assert bot.stop() == 0

    assert lines <= {
        "emojivoto-vote-bot: voted for :joy:\n",
        "emojivoto-vote-bot: voted for :doughnut:\n",
    }
    assert {host for host, _ in asked} == {"emojivoto.example"}
    assert asked[0][1] == "/api/list"
    assert asked[1][1] in {"/api/vote?choice=%3Ajoy%3A", "/api/vote?choice=%3Adoughnut%3A"}


def test_the_bot_goes_on_when_the_front_end_is_away(start: Start, tmp_path: Path) -> None:
    environ = {"WEB_HOST": f"{FRONT}:8444", "VOTE_BOT_PAUSE_SECONDS": "0"}

    bot = start("web", environ, "emojivoto-vote-bot")

    lines = [bot.output.readline() for _ in range(2)]
    assert lines == ["emojivoto-vote-bot: vote failed: [Errno 111] Connection refused\n"] * 2
    assert bot.stop() == 0
