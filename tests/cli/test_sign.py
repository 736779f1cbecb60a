"""`sign`, and what set makes of its options, as a terminal shows them.

Hashes are computed here as docs/internals/coordinator.md 4.5 says; signatures are judged by the openssl command.
"""

import hashlib
import subprocess
from pathlib import Path

import pytest

from contrast_tasks.manifest.keys import generate_workload_owner
from tests.fakes.commands import Terminal
from tests.fakes.workloads import FakeProject

PREVIOUS = "5e" * 32


@pytest.fixture
def ready(terminal: Terminal, project: FakeProject) -> Terminal:
    """Return a terminal in a project that was generated, with an owner's key."""
    settings = project.read("contrast.toml").replace("owners.disable_updates = true\n", "")
    (project.root / "contrast.toml").write_text(settings)
    (project.root / "workload-owner.pem").write_bytes(generate_workload_owner())
    assert terminal.run("generate").code == 0
    return terminal


def text_after(root: Path, previous: str) -> bytes:
    """Return what an owner signs, in the form of a file for a security module."""
    manifest = hashlib.sha256((root / "manifest.json").read_bytes()).digest()
    return hashlib.sha256(manifest + bytes.fromhex(previous)).hexdigest().encode()


def openssl(root: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *words], cwd=root, capture_output=True, check=False)


def test_openssl_verifies_the_signature_with_the_owners_public_key(
    ready: Terminal, project: FakeProject
) -> None:
    shown = ready.run("sign", "--latest-transition", PREVIOUS, "--out", "manifest.sig")

    assert (shown.code, shown.out) == (0, "")
    text = text_after(project.root, PREVIOUS)
    assert shown.err.splitlines() == [
        # The project's platform is one of release 1.12.
        (
            "warning: manifest.json lists no owner's key in full (WorkloadOwnerPubKeys, from release v1.20.0 on): where it is "
            "in force, no signature can be verified"
        ),
        f"wrote manifest.sig: the signature over manifest.json, transition {text[:12].decode()}",
    ]
    (project.root / "text").write_bytes(text)
    openssl(project.root, "ec", "-in", "workload-owner.pem", "-pubout", "-out", "public.pem")
    judge = ("dgst", "-sha256", "-verify", "public.pem", "-signature", "manifest.sig")
    assert openssl(project.root, *judge, "text").stdout == b"Verified OK\n"
    (project.root / "text").write_bytes(text + b"\n")
    assert openssl(project.root, *judge, "text").returncode == 1


def test_prepare_writes_64_digits_and_reads_no_key(ready: Terminal, project: FakeProject) -> None:
    (project.root / "workload-owner.pem").unlink()

    shown = ready.run(
        "sign", "--prepare", "--latest-transition", PREVIOUS.upper(), "--out", "next-transition"
    )

    assert shown.code == 0
    text = (project.root / "next-transition").read_bytes()
    assert text == text_after(project.root, PREVIOUS)
    assert len(text) == 64


def test_the_transition_is_that_of_the_last_verify(ready: Terminal, project: FakeProject) -> None:
    (project.root / "verify").mkdir()
    (project.root / "verify" / "latest-transition").write_text(PREVIOUS)

    ready.run("sign", "--prepare", "--out", "next-transition")

    text = (project.root / "next-transition").read_bytes()
    assert text == text_after(project.root, PREVIOUS)


def test_without_a_verify_it_is_the_first_and_this_is_told(
    ready: Terminal, project: FakeProject
) -> None:
    shown = ready.run("sign", "--prepare", "--out", "next-transition")

    text = (project.root / "next-transition").read_bytes()
    assert text == text_after(project.root, "00" * 32)
    assert "this is for the first manifest of a coordinator" in shown.err


def test_the_result_is_one_json_document(ready: Terminal, project: FakeProject) -> None:
    shown = ready.run(
        "sign", "--latest-transition", PREVIOUS, "--out", "manifest.sig", "--output", "json"
    )

    assert shown.code == 0
    assert f'"transition": "{text_after(project.root, PREVIOUS).decode()}"' in shown.out
    assert '"is_signed": true' in shown.out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("5e" * 31, f"'{'5e' * 31}', wanted 64 hex digits"),
        ("zz" * 32, f"'{'zz' * 32}', wanted 64 hex digits"),
        ("", "'', wanted 64 hex digits"),
        ("5e" * 33, "66 characters, wanted 64 hex digits"),
    ],
)
def test_another_text_than_a_hash_is_refused_and_located(
    ready: Terminal, project: FakeProject, content: str, message: str
) -> None:
    (project.root / "verify").mkdir()
    (project.root / "verify" / "latest-transition").write_text(content)

    of_file = ready.run("sign", "--prepare", "--out", "next-transition")
    of_option = ready.run("sign", "--prepare", "--latest-transition", content, "--out", "next")

    assert (of_file.code, of_option.code) == (2, 2)
    assert of_file.err.startswith(
        f"verify/latest-transition: error: the latest transition is {message}\n"
    )
    assert f"error: the latest transition is {message}\n" in of_option.err
    assert not (project.root / "next-transition").exists()


def test_without_the_key_the_way_out_is_named(ready: Terminal, project: FakeProject) -> None:
    (project.root / "workload-owner.pem").unlink()

    shown = ready.run("sign", "--out", "manifest.sig")

    assert shown.code == 2
    assert "no workload owner key is here: workload-owner.pem" in shown.err
    assert "--prepare" in shown.err
    assert not (project.root / "manifest.sig").exists()


def test_out_is_required(ready: Terminal) -> None:
    shown = ready.run("sign")

    assert shown.code == 2
    assert "the following arguments are required: --out" in shown.err


def test_a_latest_transition_is_for_an_atomic_set(ready: Terminal) -> None:
    shown = ready.run("set", "-c", "127.0.0.1:1", "--latest-transition", PREVIOUS)

    assert shown.code == 2
    assert "set: --latest-transition is for --atomic only" in shown.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "manifest.sig: error: cannot read the signature: no such file or directory"),
        (b"", "manifest.sig: error: holds 0 bytes that are no ECDSA signature in ASN.1 DER"),
        (
            b"MGYCMQ==",
            "manifest.sig: error: holds 8 bytes that are no ECDSA signature in ASN.1 DER",
        ),
    ],
)
def test_a_file_that_is_no_signature_is_refused_before_anything_is_sent(
    ready: Terminal, project: FakeProject, content: bytes | None, message: str
) -> None:
    if content is not None:
        (project.root / "manifest.sig").write_bytes(content)

    shown = ready.run("set", "-c", "127.0.0.1:1", "-s", "manifest.sig")

    assert shown.code == 2
    assert message in shown.err


def test_another_owners_key_can_be_named(ready: Terminal, project: FakeProject) -> None:
    (project.root / "other.pem").write_bytes(generate_workload_owner())

    shown = ready.run(
        "sign",
        "--workload-owner-key",
        "other.pem",
        "--latest-transition",
        PREVIOUS,
        "--out",
        "manifest.sig",
    )

    assert shown.code == 0
    (project.root / "text").write_bytes(text_after(project.root, PREVIOUS))
    openssl(project.root, "ec", "-in", "other.pem", "-pubout", "-out", "public.pem")
    judge = ("dgst", "-sha256", "-verify", "public.pem", "-signature", "manifest.sig", "text")
    assert openssl(project.root, *judge).stdout == b"Verified OK\n"
