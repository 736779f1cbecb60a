"""Block devices by one rule: a claim is a device whatever says so, and only one in block mode can be attached.

What containerd makes of a device is recorded in testdata/oci (from outside the repository). The modes are those of the
Kubernetes API, core/v1 PersistentVolumeClaimSpec: Filesystem unless it says Block.
"""

import json
from typing import Any

import pytest
import yaml

from contrast_tasks.findings import FindingsError
from contrast_tasks.policy.derive import derive
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.profiles import KATA_QEMU
from contrast_tasks.policy.simulate import denials
from contrast_tasks.policy.text import render_policy
from tests.fakes.policy import DIGEST, given, life_of, one_container, workload
from tests.fakes.testdata import RECORDINGS

USE = "volumeDevices: [{name: d, devicePath: /dev/d}]"
NAMED = "volumes: [{name: d, persistentVolumeClaim: {claimName: disk}}]"


def of_template(mode: str) -> PolicyData:
    obj = workload(
        f"containers: [{{name: app, image: 'example.com/app:1@{DIGEST}', {USE}}}]",
        kind="StatefulSet",
    )
    obj["spec"]["volumeClaimTemplates"] = [
        {"metadata": {"name": "d"}, "spec": yaml.safe_load(mode)}
    ]
    return derive(given(obj), KATA_QEMU)


def of_ephemeral(mode: str) -> PolicyData:
    template = f"{{volumeClaimTemplate: {{spec: {mode}}}}}"
    return one_container(USE, pod=f"volumes: [{{name: d, ephemeral: {template}}}]")


def of_claim(mode: str) -> PolicyData:
    claims = {"disk": yaml.safe_load(mode).get("volumeMode", "Filesystem")}
    return one_container(USE, pod=NAMED, claims=claims)


SOURCES = pytest.mark.parametrize("of", [of_template, of_ephemeral, of_claim])


@SOURCES
def test_a_claim_in_block_mode_is_a_device(of: Any) -> None:
    assert of("{volumeMode: Block}").container("app").devices == ("/dev/d",)


@SOURCES
@pytest.mark.parametrize("mode", ["{volumeMode: Filesystem}", "{}"])
def test_a_claim_in_another_mode_cannot_be_attached(of: Any, mode: str) -> None:
    with pytest.raises(FindingsError) as caught:
        of(mode)

    (finding,) = caught.value.findings
    assert (finding.code, finding.hint) == ("G020", "set volumeMode: Block in its claim")
    assert finding.where.pointer.endswith("/containers/0/volumeDevices/0/name")


def test_a_claim_from_elsewhere_is_taken_to_be_what_it_is_used_for() -> None:
    data = one_container(USE, pod=NAMED)

    assert data.container("app").devices == ("/dev/d",)
    assert denials(render_policy(data), life_of(data)) == ()


def test_two_devices_have_two_paths() -> None:
    with pytest.raises(FindingsError) as caught:
        one_container(
            "volumeDevices: [{name: d, devicePath: /dev/d}, {name: d, devicePath: /dev/d}]",
            pod=NAMED,
        )

    assert [(each.code, each.where.pointer) for each in caught.value.findings] == [
        ("G216", "/spec/containers/0/volumeDevices/1/devicePath")
    ]


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not here")
def test_the_device_is_where_containerd_was_recorded_to_put_it() -> None:
    case = RECORDINGS / "device-block"
    pod = next(yaml.safe_load_all((case / "pod.yaml").read_text()))
    pod["spec"]["containers"][0]["image"] += f"@{DIGEST}"

    data = derive(given(pod), KATA_QEMU)

    recorded = [json.loads(file.read_text()) for file in case.glob("recorded/*/app.json")]
    assert len(recorded) == 3
    for each in recorded:
        paths = [device["path"] for device in each["linux"]["devices"]]
        assert tuple(paths) == data.container("app").devices
