"""Passed-through GPUs: as many as the limits ask for, numbered alike and each once (docs/internals/policy.md 4.13, N52)."""

from collections.abc import Callable
from typing import Any

import pytest

from contrast_tasks.policy.engine import ENGINES, Decision
from contrast_tasks.policy.simulate import denials
from contrast_tasks.policy.text import render_policy
from tests.fakes.policy import bent, guest_in, life_of, one_container, walk

Change = Callable[[dict[str, Any]], dict[str, Any]]
DATA = one_container("resources: {limits: {nvidia.com/pgpu: 2}}")
POLICY = render_policy(DATA)
CREATE, STATE = next(step for step in walk(DATA, POLICY) if step[0].purpose == "create app")
MARK = "OCI/Annotations/cdi.k8s.io~1vfio"
NUMBERS = {"Major": 5, "Minor": 1, "FileMode": 432, "UID": 0, "GID": 0}
THIRD = {
    "id": "vfio2",
    "type_": "vfio-pci-gk",
    "vm_path": "",
    "container_path": "/dev/vfio/devices/vfio2",
    "options": ["0000:02:00.0=02/00"],
}


def _ask(engine: str, change: Change, policy: bytes = POLICY) -> Decision:
    guest = guest_in(STATE, policy, engine=engine)
    return guest.ask("CreateContainerRequest", change(dict(CREATE.input)))


def _to(path: str, value: Any) -> Change:
    return lambda request: bent(request, path, value)


def _without_mark(number: int, request: dict[str, Any]) -> dict[str, Any]:
    marks = dict(request["OCI"]["Annotations"])
    del marks[f"cdi.k8s.io/vfio{number}"]
    return bent(request, "OCI/Annotations", marks)


def _third(request: dict[str, Any]) -> dict[str, Any]:
    marked = bent(request, MARK + "2", "nvidia.com/gpu=2")
    return bent(marked, "devices/+", THIRD)


def _renumbered(request: dict[str, Any]) -> dict[str, Any]:
    return bent(_without_mark(1, request), MARK + "7", "nvidia.com/gpu=1")


@pytest.mark.parametrize("engine", ENGINES)
def test_gpus_may_be_plugged_in_while_the_guest_runs(engine: str) -> None:
    assert denials(POLICY, life_of(DATA), engine=engine) == ()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "change",
    [
        _to("devices", []),
        lambda r: bent(r, "devices", list(reversed(r["devices"]))),
        lambda r: bent(bent(r, MARK + "0", "nvidia.com/gpu=16"), "storages/0/driver_options", []),
        _to("devices/0/options/+", "0000:17:00.1=0a/1F"),
        _to("OCI/Process/Env/+", "PCI_RESOURCE_NVIDIA_COM_GH100=0000:00:00.0,0000:01:00.0"),
        _to(
            "OCI/Linux/Devices",
            [{"Path": "/dev/vfio/devices/vfio0", "Type": "c"} | NUMBERS],
        ),
    ],
    ids=["there from the start", "order", "index", "function", "variable", "node"],
)
def test_what_runtimes_do_differently_is_allowed(engine: str, change: Change) -> None:
    decision = _ask(engine, change)

    assert decision.codes == {}
    assert decision.allowed


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("code", "change"),
    [
        pytest.param("E_DEVICE", _third, id="one more"),
        pytest.param("E_DEVICE", _to("devices/+", THIRD), id="one more device"),
        pytest.param("E_DEVICE", _to(MARK + "2", "nvidia.com/gpu=2"), id="one more annotation"),
        pytest.param("E_DEVICE", lambda r: bent(r, "devices", r["devices"][:1]), id="one less"),
        pytest.param("E_DEVICE", lambda r: _without_mark(0, r), id="annotation missing"),
        pytest.param("E_DEVICE", _renumbered, id="other number"),
        pytest.param(
            "E_DEVICE", lambda r: bent(r, "devices/1", r["devices"][0]), id="device twice"
        ),
        pytest.param("E_DEVICE", _to(MARK + "1", "nvidia.com/gpu=0"), id="index twice"),
        pytest.param("E_DEVICE", _to("devices/0/id", "vfio1"), id="other id"),
        pytest.param("E_DEVICE", _to("devices/0/id", None), id="no id"),
        pytest.param("E_DEVICE", _to("devices/0/type_", "vfio-pci"), id="other type"),
        pytest.param("E_DEVICE", _to("devices/0/vm_path", "/dev/x"), id="a path"),
        pytest.param("E_DEVICE", _to("devices/0/options", []), id="no address"),
        pytest.param("E_DEVICE", _to("devices/0/options", None), id="null address"),
        pytest.param("E_DEVICE", _to("devices/0/options/0", 5), id="address of another kind"),
        pytest.param("E_DEVICE", _to("devices/0/options/0", "0000:00:00.0"), id="half an address"),
        pytest.param(
            "E_DEVICE", _to("devices/0/options/0", "0000:00:00.0=00/00\nx"), id="two lines"
        ),
        pytest.param(
            "E_DEVICE", _to("devices/0/container_path", "/dev/vfio/devices/vfio0x"), id="no number"
        ),
        pytest.param(
            "E_DEVICE", _to("devices/0/container_path", "/dev/vfio/devices/vfio"), id="empty number"
        ),
        pytest.param(
            "E_DEVICE", _to("devices/0/container_path", "/dev/evil"), id="other device path"
        ),
        pytest.param(
            "E_DEVICE",
            _to(
                "OCI/Linux/Devices",
                [{"Path": "/dev/vfio/devices/vfio2", "Type": "c", "Major": 5, "Minor": 1}],
            ),
            id="node of another device",
        ),
        pytest.param("E_ANNOTATION", _to(MARK + "0", "nvidia.com/gpu=all"), id="all of them"),
        pytest.param("E_ANNOTATION", _to(MARK + "0", "amd.com/gpu=0"), id="other vendor"),
        pytest.param("E_ANNOTATION", _to(MARK + "0", "nvidia.com/gpu=0\n"), id="newline"),
        pytest.param("E_ANNOTATION", _to(MARK + "x", "nvidia.com/gpu=0"), id="no number in key"),
        pytest.param("E_ANNOTATION", _to(MARK + "0", None), id="no value"),
        pytest.param(
            "E_ENV", _to("OCI/Process/Env/+", "PCI_RESOURCE_NVIDIA_COM=$(id)"), id="shell"
        ),
    ],
)
@pytest.mark.first(8)
def test_n52_a_changed_gpu_is_denied(engine: str, code: str, change: Change) -> None:
    decision = _ask(engine, change)

    assert not decision.allowed
    assert code in decision.codes


@pytest.mark.parametrize("engine", ENGINES)
def test_a_container_without_gpus_gets_none(engine: str) -> None:
    decision = _ask(engine, dict, render_policy(one_container("")))

    assert set(decision.codes) == {"E_ANNOTATION", "E_DEVICE", "E_ENV"}


@pytest.mark.parametrize(
    ("limits", "gpus"),
    [
        ("{}", 0),
        ("{nvidia.com/pgpu: 1}", 1),
        ('{nvidia.com/pgpu: "8"}', 8),
        ("{nvidia.com/pgpu: 0}", 0),
        ("{nvidia.com/GH100_H100_PCIE: 1}", 1),
        ("{nvidia.com/GA102GL_A10: 2, nvidia.com/GH100_H100L_94GB: 1}", 3),
        ("{nvidia.com/mine: 1}", 1),
        ("{memory: 1Gi, cpu: 2}", 0),
    ],
)
def test_limits_say_how_many(limits: str, gpus: int) -> None:
    container = one_container(f"resources: {{limits: {limits}}}").container("app")

    assert container.gpus == gpus
