"""What OpenSSL, curl, Go and Chromium accept of the certificates of both CAs, and what they refuse.

The servers are OpenSSL's, in strict mode too. All of them look at this machine's clock, so the certificates are of today.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from coordinator.ca import LEAF_LIFETIME, CertificateAuthority
from coordinator.seedengine import SeedEngine

pytestmark = pytest.mark.e2e

ENGINE = SeedEngine(bytes(range(64)), bytes(range(32)))
OTHER = SeedEngine(bytes(64), bytes(32))
NAMES = ("web", "*", "*.shop.example", "127.0.0.1", "spiffe://shop/web")
# Each is a name by docs/internals/coordinator.md 7.2, and none may keep the others from being accepted.
ODD_NAMES = (
    *("web", "web.", "under_score", "xn--bcher-kva.example", "A.Example", "9lives", "a" * 63),
    *("urn:x:y", "https://web:8080/path?a=b%20c#d", "2001:db8::1", "::ffff:192.0.2.1", "0.0.0.0"),
)
LIMIT_S = 60
GO = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
CERTUTIL = shutil.which("certutil")
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")


class Case(NamedTuple):
    """A connection: which of the sites, by which name, trusting which CA, with which client certificate."""

    site: str
    name: str
    trusted: str
    client: str = ""


_ASTERISK = "bare asterisk"
ACCEPTED = {
    "mesh CA": Case("web", "web", "mesh"),
    "root CA": Case("web", "web", "root"),
    "address": Case("web", "127.0.0.1", "mesh"),
    "wildcard": Case("web", "a.shop.example", "mesh"),
    "earlier manifest under the root CA": Case("earlier", "web", "root"),
    "beside odd names": Case("odd", "web", "mesh"),
    "client certificate": Case("mutual", "web", "mesh", "client"),
}
REFUSED = {
    _ASTERISK: Case("web", "anything", "mesh"),
    "another name": Case("web", "other.example", "mesh"),
    "two labels for a wildcard": Case("web", "a.b.shop.example", "mesh"),
    "another address": Case("web", "127.0.0.2", "mesh"),
    "another deployment's CA": Case("web", "web", "other"),
    "earlier manifest under the mesh CA": Case("earlier", "web", "mesh"),
    "expired": Case("expired", "web", "mesh"),
    "no client certificate": Case("mutual", "web", "mesh"),
    "client certificate of an earlier manifest": Case("mutual", "web", "mesh", "earlier"),
    "client certificate that expired": Case("mutual", "web", "mesh", "expired"),
}
CASES = ACCEPTED | REFUSED
WANTED = {name: name in ACCEPTED for name in CASES}


def authority(
    engine: SeedEngine, now: datetime, lifetime: timedelta = LEAF_LIFETIME
) -> CertificateAuthority:
    return CertificateAuthority(
        root_key=engine.root_ca_key,
        mesh_key=ec.generate_private_key(ec.SECP384R1()),
        root_serial=engine.root_ca_serial,
        root_issued_at=now,
        now=now,
        random_bytes=secrets.token_bytes,
        leaf_lifetime=lifetime,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the CAs `mesh`, `root` and `other`, and chains with one key: `web`, `client`, `earlier`, `expired`."""
    folder, now = tmp_path_factory.mktemp("pki"), datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    # Of the day before, since no certificate is older than its CA.
    ours = authority(ENGINE, now - timedelta(hours=26), timedelta(hours=24))
    earlier = authority(ENGINE, now)

    def chain(ca: CertificateAuthority, *sans: str, at: datetime = now) -> bytes:
        return ca.issue(
            public_key_spki=spki, sans=sans, policy_hash=bytes(32), extensions=(), now=at
        )

    made = {
        "key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "mesh": ours.mesh_ca_pem,
        "root": ours.root_ca_pem,
        "other": authority(OTHER, now).mesh_ca_pem,
        "web": chain(ours, *NAMES),
        "odd": chain(ours, *ODD_NAMES),
        "client": chain(ours, "client"),
        "earlier": chain(earlier, *NAMES),
        "expired": chain(ours, *NAMES, at=now - timedelta(hours=25)),
    }
    for name, content in made.items():
        (folder / f"{name}.pem").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def sites(files: Path) -> Iterator[Mapping[str, int]]:
    """Serve the chains by OpenSSL, and `web` once more as `mutual` to clients of the mesh CA only; give the ports."""
    with ExitStack() as stack:
        yield {
            "web": _serve(stack, files, "web"),
            "earlier": _serve(stack, files, "earlier"),
            "odd": _serve(stack, files, "odd"),
            "expired": _serve(stack, files, "expired"),
            "mutual": _serve(stack, files, "web", *_MUTUAL, str(files / "mesh.pem")),
        }


_MUTUAL = ("-Verify", "1", "-verify_return_error", "-x509_strict", "-CAfile")


def _serve(stack: ExitStack, files: Path, chain: str, *more: str) -> int:
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-key", files / "key.pem"]
    command += ["-cert", files / f"{chain}.pem", "-cert_chain", files / f"{chain}.pem", *more]
    process = stack.enter_context(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.fullmatch(r"ACCEPT 127\.0\.0\.1:([0-9]+)\n", line):
            return int(found[1])
    raise AssertionError("the server ended")


def run(command: list[str | Path], sent: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=sent, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )


def test_openssl_in_strict_mode(files: Path, sites: Mapping[str, int]) -> None:
    def accepts(case: Case) -> bool:
        command: list[str | Path] = ["openssl", "s_client", "-quiet", "-x509_strict"]
        command += ["-verify_return_error", "-CAfile", files / f"{case.trusted}.pem"]
        command += ["-connect", f"127.0.0.1:{sites[case.site]}"]
        command += ["-verify_ip" if case.name[0].isdigit() else "-verify_hostname", case.name]
        if case.client:
            command += ["-cert", files / f"{case.client}.pem", "-key", files / "key.pem"]
            command += ["-cert_chain", files / f"{case.client}.pem"]
        return "200 ok" in run(command, "GET / HTTP/1.0\r\n\r\n").stdout

    assert {name: accepts(case) for name, case in CASES.items()} == WANTED


def test_curl(files: Path, sites: Mapping[str, int]) -> None:
    def accepts(case: Case) -> bool:
        command: list[str | Path] = ["curl", "--disable", "--silent", "--noproxy", "*"]
        command += ["--cacert", files / f"{case.trusted}.pem", "--capath", "/nowhere"]
        command += ["--connect-to", f"::127.0.0.1:{sites[case.site]}"]
        if case.client:
            command += ["--cert", files / f"{case.client}.pem", "--key", files / "key.pem"]
        return run([*command, f"https://{case.name}/"]).returncode == 0

    assert {name: accepts(case) for name, case in CASES.items()} == WANTED


@pytest.mark.skipif(GO is None, reason="there is no go")
def test_go(files: Path, sites: Mapping[str, int]) -> None:
    asked = [
        {
            "ID": name,
            "Address": f"127.0.0.1:{sites[case.site]}",
            "Name": case.name,
            "CA": str(files / f"{case.trusted}.pem"),
            "Chain": str(files / f"{case.client}.pem") if case.client else "",
            "Key": str(files / "key.pem"),
        }
        for name, case in CASES.items()
    ]

    found = run([str(GO), "run", Path(__file__).with_name("dial.go")], json.dumps(asked))

    accepted = json.loads(found.stdout or found.stderr)
    # Older releases of Go take it for any name of one label.
    assert {**accepted, _ASTERISK: False} == WANTED


@pytest.mark.skipif(not (CHROMIUM and CERTUTIL), reason="there is no chromium, or no certutil")
def test_chromium(files: Path, sites: Mapping[str, int], tmp_path: Path) -> None:
    # A client certificate is chosen by a person, or by a policy of the machine.
    asked = {name: case for name, case in CASES.items() if not case.client}
    found: dict[str, str] = {}
    errors: set[str] = set()

    for trusted in ("mesh", "root", "other"):
        cases = {name: case for name, case in asked.items() if case.trusted == trusted}
        outcome = _browse(cases, sites, files / f"{trusted}.pem", tmp_path / trusted)
        found |= dict(re.findall(r"<i>(.*?)</i><b>(\w+)</b>", outcome.stdout))
        errors |= set(re.findall(r"net_error (-[0-9]+)", outcome.stderr))

    assert found == {name: "yes" if name in ACCEPTED else "no" for name in asked}
    # Another name, expired, another authority. Source: Chromium, net_error_list.h.
    assert errors == {"-200", "-201", "-202"}


def _browse(
    cases: Mapping[str, Case], sites: Mapping[str, int], ca: Path, home: Path
) -> subprocess.CompletedProcess[str]:
    """Let Chromium, which trusts one CA, fetch what the cases say, and return what the page has become."""
    database = f"sql:{home / '.pki' / 'nssdb'}"
    (home / ".pki" / "nssdb").mkdir(parents=True)
    for arguments in (["-N", "--empty-password"], ["-A", "-n", "ca", "-t", "C,,", "-i", ca]):
        run([str(CERTUTIL), *arguments, "-d", database]).check_returncode()
    urls = {name: f"https://{case.name}:{sites[case.site]}/" for name, case in cases.items()}
    (home / "page.html").write_text(_PAGE.replace("<urls>", json.dumps(urls)))
    return subprocess.run(
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            "--enable-logging=stderr",
            "--no-proxy-server",
            "--host-resolver-rules=MAP * 127.0.0.1",
            f"--user-data-dir={home / 'profile'}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            (home / "page.html").as_uri(),
        ],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )


_PAGE = """<body><script>
for (const [name, url] of Object.entries(<urls>)) {
  const tell = (text) => { document.body.innerHTML += `<p><i>${name}</i><b>${text}</b>`; };
  fetch(url, {mode: "no-cors"}).then(() => tell("yes"), () => tell("no"));
}
</script>
"""
