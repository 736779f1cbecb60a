"""Disk emptyDirs as block devices that the guest encrypts: which device, how, and for which volume (N41, N47 to N49)."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from contrast_tasks.policy.engine import ENGINES, Decision, PolicyEngine
from contrast_tasks.policy.profiles import KATA_QEMU_BLOCK
from contrast_tasks.policy.requests import Request
from contrast_tasks.policy.text import render_policy
from tests.fakes.policy import bent, one_container, set_state, walk

Change = Callable[[dict[str, Any]], dict[str, Any]]
PLACE = "/run/kata-containers/sandbox/storage/"


@cache
def _stage() -> tuple[bytes, Request, str]:
    data = one_container(
        "volumeMounts: [{name: a, mountPath: /a}, {name: b, mountPath: /b}]",
        pod="securityContext: {fsGroup: 2000}\nvolumes: [{name: a, emptyDir: {}}, {name: b, emptyDir: {}}]",
        profile=KATA_QEMU_BLOCK,
    )
    policy = render_policy(data)
    request, state = next(step for step in walk(data, policy) if step[0].purpose == "create app")
    return policy, request, state


@cache
def _guest(engine: str) -> PolicyEngine:
    return PolicyEngine(_stage()[0], engine=engine)


def _ask(engine: str, change: Change) -> Decision:
    _, request, state = _stage()
    guest = _guest(engine)
    set_state(guest, state)
    return guest.ask(request.kind, change(dict(request.input)))


def _to(path: str, value: Any) -> Change:
    return lambda request: bent(request, path, value)


def _source_of(destination: str, source: str) -> Change:
    def change(request: dict[str, Any]) -> dict[str, Any]:
        names = [mount["destination"] for mount in request["OCI"]["Mounts"]]
        return bent(request, f"OCI/Mounts/{names.index(destination)}/source", source)

    return change


def _moved(driver: str, source: str, place: str) -> Change:
    def change(request: dict[str, Any]) -> dict[str, Any]:
        moved = {**request["storages"][1], "driver": driver, "source": source, "mount_point": place}
        return _source_of("/a", place)(bent(request, "storages/1", moved))

    return change


def test_the_storages_are_those_of_the_volumes() -> None:
    _, request, _ = _stage()

    assert [each["driver"] for each in request.input["storages"]] == [
        "image_guest_pull",
        "blk",
        "blk",
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "change",
    [
        dict,
        _moved("scsi", "0:1", PLACE + "MDox"),
        _moved("blk", "0a/1f", PLACE + "MGEvMWY="),
        lambda r: bent(r, "storages", list(reversed(r["storages"]))),
    ],
    ids=["as it comes", "scsi", "another slot", "order"],
)
def test_devices_may_be_attached_anywhere(engine: str, change: Change) -> None:
    decision = _ask(engine, change)

    assert decision.codes == {}
    assert decision.allowed


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("code", "change"),
    [
        pytest.param(
            "E_STORAGE", _to("storages/1/driver_options", ["create_filesystem"]), id="N48 plain"
        ),
        pytest.param("E_STORAGE", _to("storages/1/driver_options", []), id="N48 as it is"),
        pytest.param(
            "E_STORAGE",
            _to("storages/1/driver_options", ["encryption_key=host", "create_filesystem"]),
            id="N48 key of the host",
        ),
        pytest.param(
            "E_STORAGE",
            _to("storages/1/driver_options", ["encryption_key=ephemeral"]),
            id="N48 file system of the host",
        ),
        pytest.param("E_STORAGE", _to("storages/1/fstype", "xfs"), id="N48 file system"),
        pytest.param("E_STORAGE", _to("storages/1/options", ["discard"]), id="N48 options"),
        pytest.param("E_STORAGE", _to("storages/1/shared", value=False), id="N48 not shared"),
        pytest.param("E_STORAGE", _to("storages/1/fs_group", None), id="N49 no group"),
        pytest.param(
            "E_STORAGE",
            _to("storages/1/fs_group", {"group_id": 2000, "group_change_policy": 1}),
            id="N49 other policy",
        ),
        pytest.param(
            "E_STORAGE", lambda r: bent(r, "storages/2", r["storages"][1]), id="N47 same place"
        ),
        pytest.param("E_STORAGE", _source_of("/b", PLACE + "MDAvMDA="), id="N41 shared by volumes"),
        pytest.param("E_MOUNT_SRC", _source_of("/a", PLACE + "MDUvMDU="), id="N43 no such storage"),
        pytest.param("E_MOUNT_SRC", _source_of("/a", PLACE), id="N43 all storages"),
        pytest.param(
            "E_MOUNT_SRC", _source_of("/a", PLACE + "MDAvMDA=/../x"), id="N43 path upwards"
        ),
        pytest.param("E_STORAGE", _moved("blk", "00/00", PLACE + "x"), id="N47 other place"),
        pytest.param("E_STORAGE", _moved("blk", "0:1", PLACE + "MDox"), id="N47 address of scsi"),
        pytest.param("E_STORAGE", _moved("scsi", "00/00", PLACE + "MDAvMDA="), id="N47 of blk"),
        pytest.param("E_STORAGE", _moved("nvdimm", "00/00", PLACE + "MDAvMDA="), id="N47 driver"),
        pytest.param("E_STORAGE", _moved("blk", "/dev/vda", PLACE + "L2Rldi92ZGE="), id="N47 path"),
        pytest.param("E_STORAGE", _moved("blk", "00/00\n", PLACE + "MDAvMDAK"), id="N47 newline"),
        pytest.param("E_STORAGE", lambda r: bent(r, "storages", r["storages"][:2]), id="N47 less"),
    ],
)
def test_a_changed_device_is_denied(engine: str, code: str, change: Change) -> None:
    decision = _ask(engine, change)

    assert not decision.allowed
    assert code in decision.codes
