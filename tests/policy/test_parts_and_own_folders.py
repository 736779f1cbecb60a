"""Parts of copied volumes, and folders of the guest's own: how they are mounted, and what the host may not do with them.

The mounts that containerd makes are recorded in testdata/oci (from outside the repository); what becomes of their sources in
the guest is docs/internals/policy.md 4.5.
"""

import json
from typing import Any

import pytest
import yaml

from contrast_tasks.findings import FindingsError, Severity
from contrast_tasks.policy.engine import PolicyEngine
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.simulate import denials
from contrast_tasks.policy.text import render_policy
from tests.fakes.policy import DIGEST, bent, derived, life_of, one_container, set_state, walk
from tests.fakes.testdata import RECORDINGS

PART = "volumeMounts: [{name: c, mountPath: /etc/app.conf, subPath: app.conf}]"
CONFIG = "volumes: [{name: c, configMap: {name: c}}]"
OWN = "volumeMounts: [{name: s, mountPath: /node/sys, readOnly: true}]"
SYS = "volumes: [{name: s, hostPath: {path: /sys}}]"


def place_of(request: Any, destination: str) -> int:
    return next(
        number
        for number, each in enumerate(request["OCI"]["Mounts"])
        if each["destination"] == destination
    )


def asked(data: PolicyData, destination: str, **change: Any) -> frozenset[str]:
    """Return the codes with which a creation is denied whose mount has other members."""
    policy = render_policy(data)
    create, state = next(step for step in walk(data, policy) if step[0].purpose == "create app")
    place = place_of(create.input, destination)
    request = dict(create.input)
    for key, value in change.items():
        request = bent(request, f"OCI/Mounts/{place}/{key}", value)
    guest = PolicyEngine(policy)
    set_state(guest, state)
    return frozenset(guest.ask("CreateContainerRequest", request).codes)


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not here")
def test_a_part_of_a_config_map_is_mounted_as_containerd_was_recorded_to() -> None:
    case = RECORDINGS / "mount-hosts"
    pod, _ = yaml.safe_load_all((case / "pod.yaml").read_text())
    pod["spec"]["containers"][0]["image"] += f"@{DIGEST}"
    data = derived(json.dumps(pod["spec"]))

    (expected,) = (
        each for each in data.container("app").mounts if each.destination == "/etc/hosts"
    )

    assert expected.source == ("file", "hosts")
    recorded = [json.loads(file.read_text()) for file in case.glob("recorded/*/app.json")]
    assert len(recorded) == 3
    for each in recorded:
        (found,) = (m for m in each["mounts"] if m["destination"] == "/etc/hosts")
        assert "/volume-subpaths/c/app/0" in found["source"]
        assert found["type"] == expected.type
        assert tuple(found["options"]) in expected.options


@pytest.mark.parametrize(
    "kind", ["configMap: {name: c}", "secret: {secretName: c}", "projected: {}"]
)
@pytest.mark.parametrize("key", ["subPath", "subPathExpr"])
def test_a_pod_with_a_part_of_a_copied_volume_is_allowed(kind: str, key: str) -> None:
    data = one_container(PART.replace("subPath", key), pod=f"volumes: [{{name: c, {kind}}}]")

    assert denials(render_policy(data), life_of(data)) == ()


def test_a_part_never_changes_later() -> None:
    data = one_container(PART, pod=CONFIG)

    assert "app.conf" in data.copy_names
    assert "app.conf" not in data.copy_watched


@pytest.mark.parametrize("source", ["/etc/passwd", "/run/kata-containers/sandbox/shm", "app.conf"])
def test_a_part_comes_from_the_copied_files_only(source: str) -> None:
    assert "E_MOUNT_SRC" in asked(one_container(PART, pod=CONFIG), "/etc/app.conf", source=source)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x"])
def test_a_part_does_not_lead_out_of_its_volume(path: str) -> None:
    with pytest.raises(FindingsError) as caught:
        one_container(PART.replace("subPath: app.conf", f"subPath: '{path}'"), pod=CONFIG)

    assert [(each.code, each.where.pointer) for each in caught.value.findings] == [
        ("G216", "/spec/containers/0/volumeMounts/0/subPath")
    ]


@pytest.mark.parametrize("path", ["/sys", "/sys/", "/dev", "/dev/fuse", "/sys/fs/bpf"])
def test_a_folder_of_the_guests_own_is_mounted_from_its_path(path: str) -> None:
    data = one_container(OWN, pod=SYS.replace("/sys", path))

    (mount,) = (each for each in data.container("app").mounts if each.destination == "/node/sys")
    assert (mount.type, mount.source) == ("bind", ("eq", path))
    assert mount.options == (("rbind", "rprivate", "ro"),)
    assert denials(render_policy(data), life_of(data)) == ()
    assert [(each.code, each.severity) for each in data.findings] == [("G203", Severity.WARNING)]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("E_MOUNT_SRC", {"source": "/"}),
        ("E_MOUNT_SRC", {"source": "/sys/../etc"}),
        ("E_MOUNT_SRC", {"source": "/run/kata-containers/shared/containers/x"}),
        ("E_MOUNT_OPTS", {"options": ["rbind", "rprivate", "rw"]}),
    ],
)
def test_another_folder_in_its_place_is_denied(code: str, change: dict[str, Any]) -> None:
    assert code in asked(one_container(OWN, pod=SYS), "/node/sys", **change)


@pytest.mark.parametrize("path", ["/", "/proc", "/system", "/sys/../etc", "//sys", "/dev/..", ""])
def test_any_other_path_of_the_node_is_refused(path: str) -> None:
    with pytest.raises(FindingsError) as caught:
        one_container(OWN, pod=SYS.replace("/sys", f"'{path}'"))

    assert [each.code for each in caught.value.findings] == ["G020"]


def test_a_part_of_the_guests_own_folder_is_refused() -> None:
    with pytest.raises(FindingsError) as caught:
        one_container(OWN.replace("readOnly: true", "subPath: x"), pod=SYS)

    assert "G202" in [each.code for each in caught.value.findings]
