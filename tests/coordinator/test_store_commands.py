"""`fsck`, `export` and `import` as whoever keeps a store types them, for folders and, by kubectl, for a cluster."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from coordinator.__main__ import main
from coordinator.kubernetes.configmaps import ConfigMapStore
from coordinator.kubernetes.kubectl import KubectlStore
from coordinator.state import Guard, Keys
from coordinator.store.base import StoreConflict
from coordinator.store.file import FileStore
from tests.fakes.coordinator import make_guard
from tests.fakes.kept_store import KeptStore, keep
from tests.fakes.kube.coordinator import NAMESPACE, coordinator_api, make_coordinator
from tests.fakes.kube.server import KubeServer

Output = pytest.CaptureFixture[str]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def kept(state: Path) -> KeptStore:
    return keep(FileStore(state))


def key_file(key: ec.EllipticCurvePublicKey, folder: Path) -> Path:
    path = folder / "transaction-key.pem"
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def test_a_whole_store_is_told_in_a_line(
    state: Path, kept: KeptStore, tmp_path: Path, capsys: Output
) -> None:
    head = kept.transitions[1][:12]

    assert main(["fsck", "--state", str(state)]) == 0
    key = key_file(kept.transaction_key, tmp_path)
    assert main(["fsck", "--state", str(state), "--transaction-key", str(key)]) == 0

    assert capsys.readouterr().out == (
        f"2 manifests, 9 objects, 0 orphans, head {head}, its signature not verified, since no key was given\n"
        f"2 manifests, 9 objects, 0 orphans, head {head}, its signature verified\n"
    )


def test_damage_is_told_with_the_file(state: Path, kept: KeptStore, capsys: Output) -> None:
    path = state / "manifests" / kept.manifests[0]
    path.unlink()

    assert main(["fsck", "--state", str(state)]) == 12

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: error: is missing, and in no pack"


def test_the_report_as_json(state: Path, kept: KeptStore, capsys: Output) -> None:
    (state / "policies").mkdir()
    (state / "policies" / "x").write_bytes(b"")

    assert main(["fsck", "--state", str(state), "--output", "json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["version"] == 1
    assert found["whole"] is True
    assert found["signed"] is None
    assert found["head"] == kept.transitions[1]
    assert found["manifests"] == 2
    assert len(found["objects"]) == 9
    assert found["orphans"] == []
    assert found["problems"] == [
        {
            "severity": "note",
            "key": "policies/x",
            "place": str(state / "policies" / "x"),
            "message": "is no object of a history",
        }
    ]


def test_a_store_moves_to_another_folder(
    state: Path, kept: KeptStore, tmp_path: Path, capsys: Output
) -> None:
    archive, again, moved = tmp_path / "a.tar", tmp_path / "b.tar", tmp_path / "moved"

    assert main(["export", str(archive), "--state", str(state)]) == 0
    key = key_file(kept.transaction_key, tmp_path)
    arguments = ["import", str(archive), "--state", str(moved), "--transaction-key", str(key)]
    assert main(arguments) == 0
    assert main(["export", str(again), "--state", str(moved)]) == 0

    assert archive.read_bytes() == again.read_bytes()
    assert "9 of 9 objects were written: 2 manifests" in capsys.readouterr().out
    guard = make_guard(FileStore(moved))
    assert guard.reset(None, lambda _: Keys(kept.guard.current().engine)).generation == 2


def test_an_archive_that_another_key_signed_is_not_imported(
    state: Path, kept: KeptStore, tmp_path: Path, capsys: Output
) -> None:
    archive, target = tmp_path / "a.tar", tmp_path / "target"
    other = key_file(ec.generate_private_key(ec.SECP384R1()).public_key(), tmp_path)
    main(["export", str(archive), "--state", str(state)])

    arguments = ["import", str(archive), "--state", str(target), "--transaction-key", str(other)]
    for words in (arguments, [*arguments, "--damaged"]):
        assert main(words) == 12
        said = capsys.readouterr().err
        assert "the head is not signed by the given transaction key" in said
        assert "--damaged" not in said
    assert not target.exists()


def test_what_is_damaged_is_exported_and_imported_on_purpose_only(
    state: Path, kept: KeptStore, tmp_path: Path, capsys: Output
) -> None:
    archive, target = tmp_path / "a.tar", tmp_path / "target"
    (state / "manifests" / kept.manifests[0]).unlink()

    assert main(["export", str(archive), "--state", str(state)]) == 12
    assert not archive.exists()
    assert "hint: use --damaged" in capsys.readouterr().err
    assert main(["export", str(archive), "--state", str(state), "--damaged"]) == 0
    assert main(["import", str(archive), "--state", str(target)]) == 12
    assert main(["import", str(archive), "--state", str(target), "--damaged"]) == 0

    assert main(["fsck", "--state", str(target)]) == 12


def test_a_store_that_is_not_empty_is_left_alone(
    state: Path, kept: KeptStore, tmp_path: Path, capsys: Output
) -> None:
    archive = tmp_path / "a.tar"
    main(["export", str(archive), "--state", str(state)])
    kept.set_again()

    assert main(["import", str(archive), "--state", str(state)]) == 42

    told = capsys.readouterr().err
    assert "the store holds a later state of this history, whose manifest would no longer" in told
    assert "--replace" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fsck", "--state", "nowhere"], "nowhere: there is no such folder"),
        (["export", "a.tar", "--state", "nowhere"], "nowhere: there is no such folder"),
        (["export", "a.tar", "--state", "."], "no manifest in force, so there is nothing"),
        (["export", "text/a.tar", "--state", "state"], "text/a.tar: cannot be written"),
        (["import", "a.tar", "--state", "."], "a.tar: cannot be read: No such file"),
        (["import", "state/transitions/latest", "--state", "t"], "latest: is no tar file"),
        (["fsck", "--state", ".", "--transaction-key", "a"], "a: cannot be read"),
        (["fsck", "--state", ".", "--kubectl"], "--state names a folder, and the other"),
        (["fsck", "--state", ".", "--context", "c"], "--state names a folder, and the other"),
        (["fsck", "--state", ".", "--transaction-key", "text"], "text: is no public key in PEM"),
    ],
)
def test_what_cannot_be_carried_out_is_told_in_a_line(
    kept: KeptStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Output,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("x")

    assert main(arguments) == 2

    output = capsys.readouterr()
    assert said in output.err
    assert output.err.startswith("contrast-coordinator: error: ")
    assert output.out == ""


def test_no_name_of_a_file_controls_the_terminal(
    state: Path, kept: KeptStore, capsys: Output
) -> None:
    (state / "transitions" / kept.transitions[1]).write_bytes(b"")
    evil = state.rename(state.with_name("state\x1b[2J"))

    assert main(["fsck", "--state", str(evil)]) == 12

    assert "state?[2J/transitions" in capsys.readouterr().out


@pytest.fixture
def server() -> Iterator[KubeServer]:
    with KubeServer() as server:
        make_coordinator(server.cluster)
        yield server


@pytest.mark.e2e
def test_a_store_moves_from_one_cluster_to_another_by_kubectl(
    server: KubeServer, tmp_path: Path, capsys: Output
) -> None:
    archive, again = tmp_path / "a.tar", tmp_path / "b.tar"
    with KubeServer() as other, closing(coordinator_api(server, tmp_path / "account")) as api:
        make_coordinator(other.cluster)
        kept = keep(ConfigMapStore(api))
        there = ["--kubectl", "--namespace", NAMESPACE, "--kubeconfig"]
        here = [*there, str(server.write_kubeconfig(tmp_path / "here"))]
        there += [str(other.write_kubeconfig(tmp_path / "there"))]

        codes = [
            main(["fsck", *here]),
            main(["export", str(archive), *here]),
            main(["fsck", *there]),
            main(["import", str(archive), *there]),
            main(["import", str(archive), *there]),
            main(["export", str(again), *there]),
        ]
        told = capsys.readouterr().out.splitlines()
        kept.set_again()
        codes.append(main(["export", str(tmp_path / "newer.tar"), *here]))
        codes.append(main(["import", str(tmp_path / "newer.tar"), *there]))
        codes.append(main(["import", str(tmp_path / "newer.tar"), *there, "--replace"]))
        with closing(coordinator_api(other, tmp_path / "other")) as other_api:
            recovered = recover(ConfigMapStore(other_api), kept)

    assert codes == [0, 0, 0, 0, 0, 0, 0, 42, 0], capsys.readouterr().err
    assert archive.read_bytes() == again.read_bytes()
    assert told[2] == "the store is empty"
    assert [line[:6] for line in told[3:5]] == ["9 of 9", "0 of 9"]
    assert recovered.current().generation == 3
    assert recovered.current().documents.is_whole


def recover(store: ConfigMapStore, kept: KeptStore) -> Guard:
    guard = make_guard(store)
    guard.reset(guard.unrecovered(), lambda _: Keys(kept.guard.current().engine))
    return guard


@pytest.mark.e2e
def test_what_changed_since_kubectl_read_it_is_a_conflict(
    server: KubeServer, tmp_path: Path
) -> None:
    config = str(server.write_kubeconfig(tmp_path / "config", namespace=NAMESPACE))
    with closing(coordinator_api(server, tmp_path / "account")) as api:
        maps = ConfigMapStore(api)
        maps.set("foo-bar/old", b"v1")
        kubectl = KubectlStore([f"--kubeconfig={config}"])
        maps.set("foo-bar/old", b"v2")
        maps.set("foo-bar/new", b"v2")

        for key, old in (("foo-bar/old", b"v1"), ("foo-bar/new", b"")):
            with pytest.raises(StoreConflict):
                kubectl.compare_and_swap(key, old, b"v3")
        again = KubectlStore([f"--kubeconfig={config}"])
        again.compare_and_swap("foo-bar/old", b"v2", b"v3")

        assert (maps.get("foo-bar/old"), maps.get("foo-bar/new")) == (b"v3", b"v2")
        assert again.names("foo-bar") == maps.names("foo-bar") == ["new", "old"]


@pytest.mark.e2e
def test_a_cluster_that_refuses_kubectl_is_told(
    server: KubeServer, tmp_path: Path, capsys: Output
) -> None:
    keep(FileStore(tmp_path / "state"))
    archive = str(tmp_path / "a.tar")
    main(["export", archive, "--state", str(tmp_path / "state")])
    config = str(server.write_kubeconfig(tmp_path / "config", namespace="default"))

    # Nobody has deployed a Coordinator there.
    assert main(["import", archive, "--kubectl", "--kubeconfig", config]) == 30
    assert main(["fsck", "--kubectl", "--kubeconfig", str(tmp_path / "none")]) == 30

    told = capsys.readouterr().err
    assert told.count("kubectl get failed") == 2
    assert '"coordinator" not found' in told
    assert "hint: deploy the Coordinator first" in told
