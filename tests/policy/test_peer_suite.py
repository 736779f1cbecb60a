"""The peer's cases (data only, from outside the repository), judged completed and as they are by our own rules."""

import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import UsageError
from contrast_tasks.policy.engine import ENGINES
from contrast_tasks.policy.expectations import PolicyData
from dev.peer.chore import Counts, run_peer_suite, verdicts_on
from dev.peer.honest import Lived
from dev.peer.judge import PeerGuest
from dev.peer.reading import expected, lived
from dev.peer.suite import PeerCase, PeerPod, read_images, read_suite
from tests.fakes.sweeps import rest_swept
from tests.fakes.testdata import PEER_POLICIES

if not PEER_POLICIES.is_dir():
    pytest.skip(
        "the peer suite lies outside the repository and is not here", allow_module_level=True
    )

IMAGES = read_images(PEER_POLICIES / "images.json")
PODS = read_suite(PEER_POLICIES)


def _pod(name: str) -> PeerPod:
    (found,) = (pod for pod in PODS if pod.name == name)
    return found


def _case(pod: str, description: str) -> PeerCase:
    (found,) = (case for case in _pod(pod).cases if case.description == description)
    return found


@cache
def _lived(name: str) -> tuple[PolicyData, Lived]:
    data = expected(_pod(name), IMAGES)
    return data, lived(_pod(name), IMAGES, data)


@pytest.mark.parametrize(
    ("pod", "engine"),
    rest_swept(
        product(PODS, ENGINES),
        kept=lambda pod, _engine: pod.name in {"addarpneighbors", "createcontainer/sysctls"},
    ),
    ids=lambda each: each.name if isinstance(each, PeerPod) else each,
)
def test_every_case_is_decided_as_the_peer_decides_it(pod: PeerPod, engine: str) -> None:
    counts = Counts()

    verdicts = list(verdicts_on(pod, IMAGES, counts, engine=engine))

    assert [str(each) for each in verdicts if each.reason] == []
    assert len(verdicts) == len(pod.cases)
    # What leaves something out is denied by the rules as they are shipped.
    assert counts.sparse == counts.denied


def test_all_published_cases_are_run() -> None:
    # As many are at hand; whoever has the others lays them into the same folder.
    assert sum(len(pod.cases) for pod in PODS) >= 58


def test_the_chore_ends_with_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    folder = PEER_POLICIES / "createsandbox"

    run_peer_suite([str(folder)], images=str(PEER_POLICIES / "images.json"))

    assert capsys.readouterr().out.splitlines() == [
        "ok .: no pidns (allowed; as it is denied by E_SANDBOX_ID, E_STORAGE)",
        "ok .: pidns (denied by E_PIDNS)",
        "ok .: guest hooks (denied by E_HOOKS)",
        "1 allowed requests lack something; as they are, 1 of them are denied",
        "3 passed, 0 failed",
    ]


def test_a_decision_that_differs_is_a_failure_with_its_codes() -> None:
    pod = _pod("createsandbox")
    turned = pod._replace(cases=tuple(each._replace(allowed=True) for each in pod.cases))

    verdicts = list(verdicts_on(turned, IMAGES, Counts()))

    failed = [each for each in verdicts if each.reason]
    assert [each.reason for each in failed] == ["expected allowed", "expected allowed"]
    assert "(denied by E_PIDNS; as it is denied by E_PIDNS, " in failed[0].check


def test_an_image_that_the_file_lacks_fails_the_cases_of_its_pod() -> None:
    verdicts = list(verdicts_on(_pod("createsandbox"), {}, Counts()))

    assert len(verdicts) == 3
    assert all(
        "the file of images has no registry.k8s.io/pause" in each.reason for each in verdicts
    )


def _bent(request: Any, path: str, value: Any) -> Any:
    changed = json.loads(json.dumps(request))
    *parents, last = path.split("/")
    place = changed
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if last == "+":
        place.append(value)
    else:
        place[last] = value
    return changed


EXEC = ("state/execprocess", "create container request for first container")
DISKS = ("createcontainer/volumes/emptydir", "volumeMount: valid mount structure")
SYSCTLS = ("createcontainer/sysctls", "sysctls listed in yaml or settings")


# Completion must not hide what is wrong: what a request has stays.
@pytest.mark.parametrize(
    ("place", "path", "value", "code"),
    rest_swept(
        [
            (EXEC, "OCI/Process/Args", ["sh"], "E_ARGS"),
            (EXEC, "OCI/Process/Env/+", "LD_PRELOAD=/x", "E_ENV"),
            (EXEC, "OCI/Process/Env/+", "PATH=/other", "E_ENV"),
            (EXEC, "OCI/Process/Capabilities/Bounding/+", "CAP_SYS_ADMIN", "E_CAPS"),
            (EXEC, "OCI/Hooks", {"Prestart": [{"Path": "/x"}]}, "E_HOOKS"),
            (EXEC, "OCI/Root/Path", "/", "E_ROOT_PATH"),
            (EXEC, "OCI/Annotations/other", "x", "E_ANNOTATION"),
            (EXEC, "OCI/Linux/MaskedPaths", ["/proc/acpi"], "E_MASKED"),
            (EXEC, "shared_mounts", [{"name": "x"}], "E_SHARED_MOUNTS"),
            (
                EXEC,
                "storages/+",
                {"driver": "image_guest_pull", "source": "other", "mount_point": "/x"},
                "E_IMG_REF",
            ),
            (
                EXEC,
                "OCI/Mounts/+",
                {"destination": "/x", "source": "/", "type_": "bind", "options": []},
                "E_MOUNT_EXTRA",
            ),
            (DISKS, "storages/0/driver_options", ["create_filesystem"], "E_STORAGE"),
            (DISKS, "storages/3/source", "not a disk", "E_STORAGE"),
            (
                DISKS,
                "OCI/Mounts/0/source",
                "/run/kata-containers/sandbox/storage/other",
                "E_STORAGE",
            ),
            (
                DISKS,
                "OCI/Mounts/1/source",
                "/run/kata-containers/sandbox/storage/MDAvMDA=",
                "E_STORAGE",
            ),
            (SYSCTLS, "OCI/Linux/Sysctl/kernel.shmmax", "1", "E_SYSCTL"),
        ],
        kept=lambda _place, path, value, _code: (
            value == ["sh"] or path.endswith(("driver_options", "shmmax"))
        ),
    ),
)
def test_a_completed_request_is_still_denied_for_what_is_wrong_in_it(
    place: tuple[str, str], path: str, value: object, code: str
) -> None:
    case = _case(*place)
    guest = PeerGuest(*_lived(place[0]))

    answer = guest.ask(case._replace(request=_bent(case.request, path, value)))

    assert not answer.completed.allowed
    assert code in answer.completed.codes


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("testcases.json", "{", "is no JSON"),
        ("testcases.json", '[{"kind": "X"}]', "is malformed, expected objects with kind"),
        ("pod.yaml", "a: [", "is no YAML"),
        ("pod.yaml", "kind: ConfigMap", "has 0 objects with a pod, expected one"),
    ],
)
def test_a_malformed_suite_says_what_is_wrong(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / "testcases.json").write_text("[]")
    (tmp_path / "pod.yaml").write_text("apiVersion: v1\nkind: Pod\n")
    (tmp_path / name).write_text(content)

    with pytest.raises(UsageError, match=message):
        read_suite(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is no JSON"),
        ("[]", "is no JSON object"),
        ('{"a": {}}', "a has no object 'config'"),
    ],
)
def test_a_malformed_file_of_images_says_what_is_wrong(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "images.json").write_text(content)

    with pytest.raises(UsageError, match=message):
        read_images(tmp_path / "images.json")


def test_a_folder_without_cases_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no testcases\.json"):
        read_suite(tmp_path)
