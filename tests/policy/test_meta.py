"""Whatever is missing from a request or has another type denies it, and never upsets an engine (docs/internals/policy.md 10.3)."""

import copy
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import pytest

from contrast_tasks.agent_messages import Request
from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.text import render_policy
from tests.fakes.policy import at, one_container, places, set_state, walk

pytestmark = pytest.mark.sweep

Path = tuple[str | int, ...]

# What the host chooses, so that its absence or another value changes nothing that the policy protects. Lists of the
# network and of DNS servers are the host's; variables of Services and additional masked paths may be missing.
FREE = {
    "CreateContainerRequest": (
        "OCI/Process/OOMScoreAdj OCI/Process/ApparmorProfile OCI/Process/Env/11 OCI/Linux/Resources/CPU* "
        "OCI/Linux/Resources/Memory* OCI/Linux/Resources/HugepageLimits OCI/Linux/Sysctl/* OCI/Linux/CgroupsPath "
        "OCI/Linux/MaskedPaths/13 OCI/Linux/Devices/0/M* OCI/Linux/Devices/0/FileMode OCI/Linux/Devices/0/?ID "
        "OCI/Annotations/io.kubernetes.cri.image-name devices/0/id storages/*/shared storages/0/driver_options/0"
    ),
    "CreateSandboxRequest": "dns/* storages/0/shared hostname",
    "ExecProcessRequest": "exec_id process/OOMScoreAdj process/Env/11",
    "CopyFileRequest": "symlink_target file_mode dir_mode",
    "UpdateInterfaceRequest": (
        "interface/IPAddresses/? interface/IPAddresses/?/family interface/IPAddresses/?/mask interface/mtu "
        "interface/devicePath interface/type_"
    ),
    "UpdateRoutesRequest": (
        "routes/Routes/? routes/Routes/?/gateway routes/Routes/?/scope routes/Routes/?/family routes/Routes/?/flags "
        "routes/Routes/?/mtu"
    ),
    "AddARPNeighborsRequest": (
        "neighbors/ARPNeighbors/0 neighbors/ARPNeighbors/0/toIPAddress/family neighbors/ARPNeighbors/0/lladdr"
    ),
    "StartContainerRequest": "",
    "ReadStreamRequest": "exec_id len",
    "SignalProcessRequest": "exec_id signal",
}
# An empty text is a destination or source like any other: the default route, or whatever the kernel chooses.
MAY_BE_EMPTY = {"UpdateRoutesRequest": "routes/Routes/?/dest routes/Routes/?/source"}
WRONG: tuple[Any, ...] = (None, "", 0, [], {})
# The second engine is asked every third question; where both are asked, they must agree.
STEP = {"regorus": 1, "hobofan_regorus": 3}


def _data() -> PolicyData:
    return one_container(
        'env: [{name: A, value: "b"}, {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}], '
        "livenessProbe: {exec: {command: [check]}}, "
        "volumeMounts: [{name: c, mountPath: /c}, {name: m, mountPath: /m}], "
        "volumeDevices: [{name: d, devicePath: /dev/d}]",
        pod="volumes: [{name: c, configMap: {name: c}}, {name: m, emptyDir: {medium: Memory}}, "
        "{name: d, persistentVolumeClaim: {claimName: d}}]",
    )


@cache
def _life() -> tuple[bytes, tuple[tuple[Request, str], ...]]:
    data = _data()
    policy = render_policy(data)
    return policy, walk(data, policy)


class Stage:
    """The first request of its kind that is not for the pause container, and the state before it."""

    def __init__(self, engine: str, kind: str) -> None:
        policy, steps = _life()
        self.policy = PolicyEngine(policy, engine=engine)
        self.kind = kind
        request, self.state = next(
            (request, state)
            for request, state in steps
            if request.kind == kind and not request.purpose.endswith("pause")
        )
        self.input: dict[str, Any] = json.loads(json.dumps(request.input))
        set_state(self.policy, self.state)

    def allows(self, changed: dict[str, Any]) -> bool:
        decision = self.policy.ask(self.kind, changed)
        if decision.allowed:
            set_state(self.policy, self.state)
        return decision.allowed


@cache
def _stage(engine: str, kind: str) -> Stage:
    return Stage(engine, kind)


def _chosen(value: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the places of a request, of long lists the first and the last element only."""
    for path, item in places(value):
        inner = (at(value, path[: i + 1]) for i in range(len(path)))
        sizes = [len(each) if isinstance(each, list) else 0 for each in inner]
        if all(not size or index in {0, size - 1} for size, index in zip(sizes, path, strict=True)):
            yield path, item


def _is_free(kind: str, path: Path) -> bool:
    text = "/".join(map(str, path))
    return any(fnmatchcase(text, pattern) for pattern in FREE[kind].split())


def _may_be(kind: str, path: Path, value: Any) -> bool:
    text = "/".join(map(str, path))
    patterns = MAY_BE_EMPTY.get(kind, "").split() if value == "" else []
    return _is_free(kind, path) or any(fnmatchcase(text, pattern) for pattern in patterns)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("kind", FREE)
def test_a_request_without_one_of_its_fields_is_denied(engine: str, kind: str) -> None:
    stage = _stage(engine, kind)
    allowed = []

    for path, _ in list(_chosen(stage.input))[:: STEP[engine]]:
        changed = copy.deepcopy(stage.input)
        del at(changed, path)[path[-1]]
        if stage.allows(changed):
            allowed.append(path)

    assert [path for path in allowed if not _is_free(kind, path)] == []


@pytest.mark.parametrize("kind", FREE)
def test_a_request_with_a_value_of_another_kind_is_denied(engine: str, kind: str) -> None:
    stage = _stage(engine, kind)
    allowed = []

    for path, item in list(_chosen(stage.input))[:: STEP[engine]]:
        if isinstance(item, dict | list) and item:
            continue
        if isinstance(path[-1], int) and path[-1] > 0:
            continue
        for wrong in WRONG:
            if wrong == item and type(wrong) is type(item):
                continue
            changed = copy.deepcopy(stage.input)
            at(changed, path)[path[-1]] = wrong
            if stage.allows(changed):
                allowed.append((path, wrong))

    assert [each for each in allowed if not _may_be(kind, *each)] == []


@pytest.mark.parametrize("kind", FREE)
def test_something_else_in_place_of_a_list_or_object_is_denied(engine: str, kind: str) -> None:
    stage = _stage(engine, kind)
    allowed = []

    for path, item in list(_chosen(stage.input))[:: STEP[engine]]:
        if not isinstance(item, dict | list) or not item:
            continue
        for wrong in WRONG:
            if type(wrong) is type(item):
                continue
            changed = copy.deepcopy(stage.input)
            at(changed, path)[path[-1]] = wrong
            if stage.allows(changed):
                allowed.append((path, wrong))

    assert [each for each in allowed if not _is_free(kind, each[0])] == []


@pytest.mark.parametrize("kind", FREE)
@pytest.mark.parametrize("whole", [{}, {"container_id": None}, {"OCI": []}], ids=str)
def test_an_empty_request_is_denied(engine: str, kind: str, whole: dict[str, Any]) -> None:
    stage = _stage(engine, kind)

    assert not stage.allows(whole)


def test_the_unchanged_requests_are_allowed(engine: str) -> None:
    stages = [_stage(engine, kind) for kind in FREE]

    assert all(stage.allows(stage.input) for stage in stages)
