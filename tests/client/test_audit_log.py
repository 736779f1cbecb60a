"""The audit log as an owner reads it: from a real Coordinator, and from one that lies."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api.audit_log import parse_entry
from contrast_tasks.api.extension import AuditLog, CoordinatorStatus
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.audit_log import KEY_FILE, NEWEST_FILE, AuditLogResult, run_audit_log
from contrast_tasks.client.coordinator import Reach
from contrast_tasks.client.set import run_set
from contrast_tasks.errors import MismatchError, NotAuthorised
from contrast_tasks.manifest.keys import generate_workload_owner
from coordinator.__main__ import main as coordinator_command
from tests.fakes.deployment import Project, running_coordinator

KEY = ec.derive_private_key(7, ec.SECP384R1())


def quiet(_line: str) -> None:
    pass


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit-log") / "processor"
    SimulatedProcessor.load_or_create(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, processor: Path) -> Project:
    project = Project(tmp_path, SimulatedProcessor.load(processor))
    project.write_owner(generate_workload_owner())
    return project


def chain(*events: str, start: int = 0, write: int = 1) -> list[tuple[bytes, bytes]]:
    """Return content and signature of each entry, as docs/internals/coordinator.md 14.1 has them.

    write: how many entries are written at a time, of which the last is signed.
    """
    entries = []
    previous = bytes(32)
    for number, event in enumerate(events, start=start):
        content = json.dumps(
            {"number": number, "previous": previous.hex(), "time": "t", "event": event}
        ).encode()
        previous = hashlib.sha256(content).digest()
        signed = hashlib.sha256(b"contrast-tasks audit log" + previous).digest()
        is_signed = (number - start + 1) % write == 0
        scheme = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
        entries.append((content, KEY.sign(signed, scheme) if is_signed else b""))
    return entries


class Lies:
    """A session with a Coordinator that presents whatever log it is given."""

    def __init__(self, entries: list[tuple[bytes, bytes]], **more: Any) -> None:
        spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        members: dict[str, Any] = {"unwritten": (), "transaction_key_spki": spki, **more}
        self.log = AuditLog(entries=tuple(parse_entry(*entry) for entry in entries), **members)

    def get_status(self) -> CoordinatorStatus:
        return CoordinatorStatus(
            version="1",
            state="active",
            reason="",
            generation=1,
            transition_hash=None,
            root_ca_not_after=None,
            mesh_ca_not_after=None,
            peers_serving=None,
        )

    def get_audit_log(self) -> AuditLog:
        return self.log


def read(project: Project, session: Lies) -> AuditLogResult:
    @contextmanager
    def connect(*_place: object, **_keys: object) -> Iterator[Any]:
        yield session

    return run_audit_log(
        project.settings, say=quiet, coordinator="127.0.0.1:1313", reach=Reach(connect=connect)
    )


def test_an_owner_reads_what_a_real_coordinator_recorded(project: Project, processor: Path) -> None:
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)

        result = run_audit_log(project.settings, say=quiet, coordinator=address)

        owner = project.owner_digests[0] if project.owner_digests else ""
        run_set(project.settings, say=quiet, coordinator=address)
        later = run_audit_log(project.settings, say=quiet, coordinator=address)
    heading, *_, newest = result.text.splitlines()
    assert heading.startswith(f"audit log of coordinator {address}, version ")
    assert heading.endswith(", active, manifest 1")
    assert "  set  " in newest
    assert "generation=1" in newest
    assert (result.entries, result.unwritten, later.entries) == (1, 0, 2)
    assert f"actor={owner[:12]}" in later.text.splitlines()[-1]
    key, state = str(project.root / "verify" / KEY_FILE), str(project.root / "state")
    assert coordinator_command(["fsck", "--state", state, "--transaction-key", key]) == 0


def test_what_was_recorded_last_is_written_when_the_coordinator_stops(
    project: Project, processor: Path
) -> None:
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)

    block = ext.AuditBlock.FromString((project.root / "state" / "audit" / "0").read_bytes())
    assert [json.loads(entry.Content)["event"] for entry in block.Entries] == ["set"]


def test_whoever_is_no_owner_is_refused(project: Project, processor: Path) -> None:
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)
        project.write_owner(generate_workload_owner(), listed=False)

        with pytest.raises(NotAuthorised, match="peer not authorized"):
            run_audit_log(project.settings, say=quiet, coordinator=address)


def test_the_newest_entry_is_kept_for_the_next_look(project: Project) -> None:
    entries = chain("set", "recover")

    read(project, Lies(entries))

    digest = hashlib.sha256(entries[1][0]).hexdigest()
    assert (project.root / "verify" / NEWEST_FILE).read_text() == f"1 {digest}\n"


def test_a_log_that_lacks_an_entry_seen_before_is_refused(project: Project) -> None:
    read(project, Lies(chain("set", "recover", "set")))

    for older in (chain("set", "recover"), chain("set", "recover", "seed-shares"), []):
        with pytest.raises(MismatchError, match="lacks entry 2, which was seen before"):
            read(project, Lies(older))


def test_an_entry_that_was_written_over_since_is_not_missed(project: Project) -> None:
    read(project, Lies(chain("set")))

    # Entry 4096 begins the 65th block, which takes the place of the first.
    result = read(project, Lies(chain(*["set"] * 4033, start=64, write=4033)))

    assert "(entries before 64 were written over)" in result.text


def test_entries_that_were_removed_do_not_count_as_written_over(project: Project) -> None:
    result = read(project, Lies(chain("set", "set", start=64)))

    assert "(entries before 64 are missing: somebody removed or changed them" in result.text


@pytest.mark.parametrize("number", [1, 2])
def test_a_log_that_does_not_hold_together_is_refused(project: Project, number: int) -> None:
    entries = chain("set", "recover", "set")
    content, signature = entries[number - 1]
    entries[number - 1] = (content.replace(b'"t"', b'"x"'), signature)

    with pytest.raises(MismatchError, match=f"entry {number} of its audit log does not follow"):
        read(project, Lies(entries))


def test_a_missing_entry_is_noticed(project: Project) -> None:
    entries = chain("set", "recover", "set")

    with pytest.raises(MismatchError, match="entry 2 of its audit log does not follow"):
        read(project, Lies([entries[0], entries[2]]))


@pytest.mark.parametrize("signature", [b"", b"\x30\x06\x02\x01\x01\x02\x01\x01"])
def test_a_log_whose_newest_entry_is_not_signed_is_refused(
    project: Project, signature: bytes
) -> None:
    entries = chain("set")

    with pytest.raises(MismatchError, match="the newest entry of its audit log is not signed"):
        read(project, Lies([(entries[0][0], signature)]))


def test_a_coordinator_without_a_key_for_its_log_is_refused(project: Project) -> None:
    with pytest.raises(MismatchError, match="names no key"):
        read(project, Lies(chain("set"), transaction_key_spki=b"no key"))


def test_events_that_are_not_written_yet_are_shown_as_such(project: Project) -> None:
    result = read(project, Lies(chain("set"), unwritten=({"event": "recover", "time": "t"},)))

    assert result.text.splitlines()[-1] == "t  recover  (not written to its store yet)"


def test_text_of_peers_cannot_control_the_terminal(project: Project) -> None:
    result = read(project, Lies(chain("set\x1b[31m\nforged")))

    assert result.text.splitlines()[-1] == "t  set?[31m?forged"
