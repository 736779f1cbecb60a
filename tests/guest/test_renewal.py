"""Certificates that are renewed while a pod runs, by Coordinators that are up to date, late, or somebody else."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api.meshapi import MeshCert
from contrast_tasks.errors import CoordinatorUnreachable
from contrast_tasks.guest.credentials import BadCredentials, read_held, verify_successor
from contrast_tasks.guest.initializer import obtain
from contrast_tasks.guest.renewal import LONGEST_S, keep_renewed, renew
from contrast_tasks.guest.secret_files import SecretFiles, write_credentials
from tests.fakes.mesh_pki import NOW, Authority, pem

KEY = ec.generate_private_key(ec.SECP256R1())
# A pod looks at its files each hour, so a certificate of a year would be read some thousand times.
LIFE = timedelta(days=30)
AUTHORITY = Authority(life=LIFE)


def later(authority: Authority, by: timedelta) -> Authority:
    """Return the same generation's authority as it issues after some time."""
    return replace(authority, now=authority.now + by)


def next_generation(authority: Authority, by: timedelta) -> Authority:
    """Return the authority of another manifest, with the same root."""
    return Authority(now=authority.now + by, life=authority.life, root_key=authority.root_key)


@pytest.fixture
def files(tmp_path: Path) -> SecretFiles:
    made = SecretFiles.below(tmp_path)
    write_credentials(made, AUTHORITY.issue(KEY.public_key()), KEY)
    return made


@dataclass
class Pod:
    """A pod whose clock moves only when it waits, and whose life ends at `until`."""

    files: SecretFiles
    until: timedelta
    now: datetime = NOW
    asked_at: list[timedelta] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def wait(self, seconds: float) -> bool:
        assert seconds <= LONGEST_S
        self.now += timedelta(seconds=seconds)
        return self.now - NOW >= self.until

    def run(self, answer: Callable[[datetime], MeshCert]) -> None:
        def fetch(key: ec.EllipticCurvePrivateKey) -> MeshCert:
            assert key.public_key() == KEY.public_key()
            self.asked_at.append(self.now - NOW)
            return answer(self.now)

        keep_renewed(
            fetch,
            self.files,
            now=lambda: self.now,
            wait=self.wait,
            say=self.said.append,
            share=0.65,
        )


def leaf_of(files: SecretFiles) -> x509.Certificate:
    return x509.load_pem_x509_certificates(files.cert_chain.read_bytes())[0]


def test_a_certificate_is_renewed_after_two_thirds_of_its_life_and_then_again(
    files: SecretFiles,
) -> None:
    pod = Pod(files, until=1.5 * LIFE)

    pod.run(lambda now: replace(AUTHORITY, now=now).issue(KEY.public_key()))

    assert [asked.days for asked in pod.asked_at] == [19, 38]
    assert leaf_of(files).not_valid_after_utc - NOW == pod.asked_at[-1] + LIFE
    assert pod.said == ["certificates were renewed"] * 2


def test_key_and_secret_stay_when_certificates_are_renewed(files: SecretFiles) -> None:
    before = files.key.read_bytes(), files.workload_secret.read_bytes()

    Pod(files, until=0.8 * LIFE).run(
        lambda now: replace(AUTHORITY, now=now).issue(KEY.public_key())
    )

    assert (files.key.read_bytes(), files.workload_secret.read_bytes()) == before
    assert files.complete.read_text() != ""


def test_a_coordinator_that_is_away_is_asked_again_until_it_answers(files: SecretFiles) -> None:
    pod = Pod(files, until=0.8 * LIFE)

    def answer(now: datetime) -> MeshCert:
        if len(pod.asked_at) <= 8:
            raise CoordinatorUnreachable("nobody answers")
        return replace(AUTHORITY, now=now).issue(KEY.public_key())

    pod.run(answer)

    pauses = [(b - a).total_seconds() for a, b in zip(pod.asked_at, pod.asked_at[1:], strict=False)]
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert pod.said[-1] == "certificates were renewed"
    assert "that end at 2026-02-01 03:04 UTC were not renewed: nobody answers" in pod.said[0]


def test_a_certificate_of_an_hour_is_renewed_in_time_by_a_coordinator_that_was_away(
    files: SecretFiles,
) -> None:
    hour = timedelta(hours=1)
    short = AUTHORITY.leaf(KEY.public_key(), ends=NOW + hour)
    files.cert_chain.write_bytes(pem(short, AUTHORITY.intermediate))
    pod = Pod(files, until=hour)

    def answer(now: datetime) -> MeshCert:
        if now - NOW < 0.85 * hour:
            raise CoordinatorUnreachable("nobody answers")
        return replace(AUTHORITY, now=now).issue(KEY.public_key())

    pod.run(answer)

    minutes = [round(asked.total_seconds() / 60, 1) for asked in pod.asked_at]
    assert minutes[:4] == [18.0, 19.0, 21.0, 25.0]
    assert 51 <= minutes[-1] < 55
    assert pod.said[-1] == "certificates were renewed"


def test_an_answer_that_goes_back_changes_no_file(files: SecretFiles, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    old = next_generation(AUTHORITY, -timedelta(days=1))

    pod = Pod(files, until=0.66 * LIFE)
    pod.run(lambda _: old.issue(KEY.public_key()))

    assert "the mesh CA is of 2026-01-01 02:04:05 UTC, older than the one before" in pod.said[0]
    assert {path: path.read_bytes() for path in before} == before


def test_certificates_that_cannot_be_read_are_not_renewed(files: SecretFiles) -> None:
    files.key.write_bytes(b"no key")
    pod = Pod(files, until=LIFE)

    pod.run(lambda _: AUTHORITY.issue(KEY.public_key()))

    assert pod.said == ["the certificates cannot be read, so they are not renewed"]


def test_the_mesh_ca_of_a_newer_manifest_is_taken(files: SecretFiles) -> None:
    newer, held = next_generation(AUTHORITY, timedelta(days=5)), read_held(files)
    assert held is not None
    answer = newer.issue(KEY.public_key())

    renew(lambda _: answer, held, files, now=newer.now)

    assert files.mesh_ca.read_bytes() == answer.mesh_ca_pem
    assert files.cert_chain.read_bytes() == answer.cert_chain_pem


def test_a_changed_workload_secret_is_left_to_a_restart(files: SecretFiles) -> None:
    held = read_held(files)
    assert held is not None
    answer = replace(later(AUTHORITY, LIFE / 2).issue(KEY.public_key()), workload_secret=b"x" * 64)

    with pytest.raises(BadCredentials, match="the workload secret is another one"):
        renew(lambda _: answer, held, files, now=NOW + LIFE / 2)


@pytest.mark.parametrize(
    ("authority", "said"),
    [
        pytest.param(Authority(), "the root CA is another one", id="another root"),
        pytest.param(
            next_generation(AUTHORITY, -timedelta(seconds=1)), "the mesh CA is of", id="older CA"
        ),
        pytest.param(
            later(AUTHORITY, -timedelta(days=1)), "the certificate is of", id="older leaf"
        ),
    ],
)
def test_what_does_not_come_after_what_is_held_is_refused(
    files: SecretFiles, authority: Authority, said: str
) -> None:
    held = read_held(files)
    assert held is not None

    with pytest.raises(BadCredentials, match=said):
        verify_successor(held, authority.issue(KEY.public_key()))


@pytest.mark.parametrize(
    "authority",
    [
        pytest.param(AUTHORITY, id="same again"),
        pytest.param(later(AUTHORITY, LIFE), id="later leaf"),
        pytest.param(next_generation(AUTHORITY, timedelta(0)), id="two manifests in one second"),
        pytest.param(next_generation(AUTHORITY, LIFE), id="later manifest"),
    ],
)
def test_what_comes_after_what_is_held_is_taken(files: SecretFiles, authority: Authority) -> None:
    held = read_held(files)
    assert held is not None

    verify_successor(held, authority.issue(KEY.public_key()))


def test_a_restarted_initializer_waits_for_credentials_that_come_after(files: SecretFiles) -> None:
    late = next_generation(AUTHORITY, -timedelta(days=1)).issue(KEY.public_key())
    current = AUTHORITY.issue(KEY.public_key())
    answers = iter([late, current])
    said: list[str] = []

    found = obtain(
        lambda _: next(answers),
        key=KEY,
        now=lambda: NOW,
        pause=lambda: None,
        say=said.append,
        held=read_held(files),
    )

    assert found == current
    assert "older than the one before" in said[0]


@pytest.mark.parametrize("name", ["complete", "key", "cert_chain", "root_ca", "mesh_ca"])
def test_an_unfinished_set_is_none(files: SecretFiles, name: str) -> None:
    path: Path = getattr(files, name)
    path.unlink()

    assert read_held(files) is None
