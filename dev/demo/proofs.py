"""The demo's proofs from the outside, with a user's own tools: HTTPS, curl, openssl, plain sockets.

Each function returns what was proven. Raises DemoFailed with what was found instead.
"""

import contextlib
import http.client
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from contrast_tasks.decode import parse_json
from contrast_tasks.errors import ClusterError

TIMEOUT_S = 15
# Source: curl(1), exit codes: the peer's certificate or name is not acceptable.
CURL_BAD_CERTIFICATE = 60
VOTES = 5
FRONTEND = "web"
FAVOURITE = ":joy:"


class DemoFailed(ClusterError):
    """A step of the demo did not prove what it should."""


class _Frontend(http.client.HTTPSConnection):
    """HTTPS to an address whose certificate must carry another name."""

    def __init__(self, place: tuple[str, int], name: str, mesh_ca: Path) -> None:
        self._tls = ssl.create_default_context(cafile=str(mesh_ca))
        super().__init__(name, 443, timeout=TIMEOUT_S)
        self._place = place

    def connect(self) -> None:
        """Connect to the address, and require the name."""
        raw = socket.create_connection(self._place, TIMEOUT_S)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)


def _get(place: tuple[str, int], path: str, mesh_ca: Path) -> bytes:
    connection = _Frontend(place, FRONTEND, mesh_ca)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as err:
        raise DemoFailed(f"https://{FRONTEND}{path} at {place[0]}:{place[1]}: {err}") from err
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise DemoFailed(f"https://{FRONTEND}{path} answered {answer.status}, wanted 200")
    return body


def _votes(place: tuple[str, int], shortcode: str, mesh_ca: Path) -> int:
    rows = parse_json(_get(place, "/api/leaderboard", mesh_ca)).items()
    counts = {row.at("shortcode").text(): int(row.at("votes").text()) for row in rows}
    return counts.get(shortcode, 0)


def cast_votes(place: tuple[str, int], mesh_ca: Path) -> str:
    """Vote through the front end, and find the votes in the leaderboard of another service."""
    emoji = parse_json(_get(place, "/api/list", mesh_ca)).items()
    listed = [row.at("shortcode").text() for row in emoji]
    if FAVOURITE not in listed:
        raise DemoFailed(f"the front end lists {len(listed)} emoji, {FAVOURITE} is not among them")
    before = _votes(place, FAVOURITE, mesh_ca)
    for _ in range(VOTES):
        _get(place, f"/api/vote?choice={quote(FAVOURITE)}", mesh_ca)
    after = _votes(place, FAVOURITE, mesh_ca)
    # The bot may vote for it too.
    if after < before + VOTES:
        raise DemoFailed(f"{FAVOURITE} has {after} votes, wanted at least {before + VOTES}")
    return f"{VOTES} votes for {FAVOURITE} went through web, emoji and voting: {after} in the leaderboard"


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(argv),
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=TIMEOUT_S + 5,
        stdin=subprocess.DEVNULL,
    )


def _curl(mesh_ca: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # Without the user's settings and proxy, so that only the certificate decides.
    fixed = ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", str(TIMEOUT_S)]
    return _run([*fixed, "--cacert", str(mesh_ca), *arguments])


def curl_by_name(place: tuple[str, int], mesh_ca: Path) -> str:
    """Fetch the page under the name in the certificate."""
    target = f"{FRONTEND}:443:{place[0]}:{place[1]}"
    done = _curl(mesh_ca, ["--connect-to", target, f"https://{FRONTEND}/"])
    if done.returncode != 0 or "<html" not in done.stdout.lower():
        raise DemoFailed(f"curl by name ended with {done.returncode}: {_first_line(done.stderr)}")
    return f"curl --cacert {mesh_ca.parent.name}/{mesh_ca.name} accepts https://{FRONTEND}/"


def curl_by_address(place: tuple[str, int], mesh_ca: Path) -> str:
    """Fetch the page under its address."""
    done = _curl(mesh_ca, [f"https://{place[0]}:{place[1]}/"])
    if done.returncode != 0 or "<html" not in done.stdout.lower():
        raise DemoFailed(
            f"curl by address ended with {done.returncode}: {_first_line(done.stderr)}"
        )
    return f"curl accepts https://{place[0]}:{place[1]}/ now that the certificate names the address"


def curl_refuses(place: tuple[str, int], mesh_ca: Path, why: str) -> str:
    """Expect curl to refuse the certificate."""
    done = _curl(mesh_ca, [f"https://{place[0]}:{place[1]}/"])
    if done.returncode != CURL_BAD_CERTIFICATE:
        raise DemoFailed(
            f"curl ended with {done.returncode}, wanted {CURL_BAD_CERTIFICATE}: {_first_line(done.stderr)}"
        )
    return f"curl refuses https://{place[0]}:{place[1]}/ {why}: {_first_line(done.stderr)}"


def openssl_accepts(place: tuple[str, int], mesh_ca: Path) -> str:
    """Verify the certificate chain as the documentation does."""
    done = _run(
        [
            *("openssl", "s_client", "-CAfile", str(mesh_ca), "-verify_return_error"),
            *("-connect", f"{place[0]}:{place[1]}"),
        ]
    )
    if done.returncode != 0 or "Verification: OK" not in done.stdout:
        raise DemoFailed(f"openssl ended with {done.returncode}: {_first_line(done.stderr)}")
    return "openssl s_client -verify_return_error says Verification: OK"


def plain_refused(place: tuple[str, int]) -> str:
    """Expect nothing from a protected port without TLS."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection(place, TIMEOUT_S) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = client.recv(100)
    if answer:
        raise DemoFailed(f"{place[0]}:{place[1]} answered a plain connection with {answer[:20]!r}")
    return f"emoji at {place[0]}:{place[1]} closes a plain connection without a byte"


def anonymous_refused(place: tuple[str, int], mesh_ca: Path) -> str:
    """Expect an alert from a protected port for a client that has no certificate."""
    context = ssl.create_default_context(cafile=str(mesh_ca))
    context.check_hostname = False
    try:
        with (
            socket.create_connection(place, TIMEOUT_S) as raw,
            context.wrap_socket(raw) as client,
        ):
            # In TLS 1.3 the client sees the refusal only when it reads.
            answer = client.recv(100)
    except ssl.SSLError as err:
        reason = str(err.reason or err).lower().replace("_", " ")
        if "certificate required" in reason or "handshake failure" in reason:
            return f"emoji refuses tls without a client certificate: {reason}"
        raise DemoFailed(f"emoji refused an anonymous client for another reason: {reason}") from err
    except OSError as err:
        raise DemoFailed(f"emoji cannot be reached: {err}") from err
    raise DemoFailed(f"emoji talked to an anonymous client: {answer[:20]!r}")


def missing_tools() -> list[str]:
    """Return the tools that are not installed."""
    return [tool for tool in ("curl", "openssl") if shutil.which(tool) is None]


def _first_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return re.sub(r"^curl: ", "", lines[0]) if lines else "(no message)"


def shell_denied(execute: Callable[[Sequence[str]], int]) -> str:
    """Expect the front end's policy to deny a shell; execute: runs a command in its container, as a cluster would."""
    try:
        execute(["sh", "-c", "id"])
    except ClusterError as err:
        found = re.search(r"DENY ExecProcessRequest .*", str(err))
        if found is None:
            raise
        return f"the policy of {FRONTEND} denies a shell inside of it: {found[0]}"
    raise DemoFailed(f"the policy of {FRONTEND} let a shell run inside of it")
