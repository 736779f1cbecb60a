"""The resources of a runtime, against golden files and by their rules."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from contrast_tasks.deploy.runtime import render_runtime, render_uninstall
from contrast_tasks.errors import UsageError
from contrast_tasks.platforms import PLATFORMS, platform
from contrast_tasks.releases.choose import newest_with
from contrast_tasks.releases.table import RELEASES, V1_12, V1_13, V1_21, Release

DIGEST = "@sha256:" + "ab" * 32
INSTALLER, SNAPSHOTTER = f"example.org/node-installer{DIGEST}", f"example.org/snapshotter{DIGEST}"
CLUSTERS = [each.name for each in PLATFORMS if each.tee != "simulated"]


def handler(name: str) -> str:
    return f"contrast-cc-{name}-1a2b3c4d"


def render(name: str) -> str:
    snapshotter = SNAPSHOTTER if name.startswith("aks") else None
    return render_runtime(
        platform(name),
        handler(name),
        newest_with(name),
        installer=INSTALLER,
        snapshotter=snapshotter,
    )


def documents(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    first, second, *_ = yaml.safe_load_all(render(name))
    return first, second


@pytest.mark.parametrize("name", ["aks-clh-snp", "k3s-qemu-snp"])
def test_the_resources_are_the_golden_ones(
    name: str, golden: Callable[[str, bytes], bytes]
) -> None:
    found = render(name).encode()

    assert found == golden(f"runtime/{name}.yml", found)


@pytest.mark.parametrize(
    ("name", "memory"),
    [
        ("aks-clh-snp", "426Mi"),
        ("k3s-qemu-snp", "682Mi"),
        ("k3s-qemu-tdx", "682Mi"),
        ("k3s-qemu-snp-gpu", "1194Mi"),
        ("rke2-qemu-tdx", "682Mi"),
        ("metal-qemu-snp-gpu", "1194Mi"),
    ],
)
def test_the_overhead_is_what_guest_shim_and_monitor_need(name: str, memory: str) -> None:
    runtime_class, _ = documents(name)

    assert runtime_class["overhead"] == {"podFixed": {"memory": memory}}


@pytest.mark.parametrize("name", CLUSTERS)
def test_class_and_installer_carry_the_name_that_pods_carry(name: str) -> None:
    runtime_class, installer = documents(name)
    template = installer["spec"]["template"]

    assert (runtime_class["handler"], runtime_class["metadata"]["name"]) == (handler(name),) * 2
    assert installer["metadata"]["name"] == f"{handler(name)}-nodeinstaller"
    assert installer["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    assert template["spec"]["initContainers"][0]["command"][1] == platform(name).canonical


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_mount_has_its_volume(name: str) -> None:
    _, installer = documents(name)
    pod = installer["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    containers = [*pod["initContainers"], *pod["containers"]]

    mounted = {mount["name"] for each in containers for mount in each.get("volumeMounts", ())}

    assert mounted == volumes


@pytest.mark.parametrize(
    ("name", "runtime", "installer", "snapshotter", "message"),
    [
        pytest.param("local", "contrast-cc", INSTALLER, None, "has no runtime", id="local"),
        pytest.param(
            "k3s-qemu-snp", "contrast-cc-k3s-qemu-snp", INSTALLER, None, "8 hex", id="no-release"
        ),
        pytest.param(
            "k3s-qemu-snp", handler("k3s-qemu-tdx"), INSTALLER, None, "8 hex", id="other-platform"
        ),
        pytest.param(
            "k3s-qemu-snp", handler("k3s-qemu-snp") + "\nx: y", INSTALLER, None, "8 hex", id="lines"
        ),
        pytest.param(
            "k3s-qemu-snp",
            handler("k3s-qemu-snp"),
            "example.org/i:1",
            None,
            "expected an image with its digest",
            id="tag",
        ),
        pytest.param(
            "k3s-qemu-snp",
            handler("k3s-qemu-snp"),
            INSTALLER,
            SNAPSHOTTER,
            "has no snapshotter",
            id="snapshotter",
        ),
        pytest.param(
            "aks-clh-snp", handler("aks-clh-snp"), INSTALLER, None, "needs --snapshotter", id="aks"
        ),
    ],
)
def test_what_only_the_release_knows_has_to_be_named(
    name: str, runtime: str, installer: str, snapshotter: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        render_runtime(
            platform(name),
            runtime,
            newest_with(name),
            installer=installer,
            snapshotter=snapshotter,
        )

    assert caught.value.hint


@pytest.mark.parametrize(
    ("release", "target", "expected"),
    [
        # docs/internals/releases.md 4
        pytest.param(V1_13, "k3s", ("k3s.service,k3s-agent.service", "kube-system"), id="v1.13"),
        pytest.param(V1_21, "rke2", ("rke2-server.service,rke2-agent.service", None), id="v1.21"),
    ],
)
def test_a_distribution_has_its_places_in_a_config_map(
    release: Release, target: str, expected: tuple[str, str | None]
) -> None:
    text = render_runtime(
        platform("metal-qemu-snp"),
        handler("metal-qemu-snp"),
        release,
        installer=INSTALLER,
        snapshotter=None,
        target=target,
    )

    (found,) = (each for each in yaml.safe_load_all(text) if each["kind"] == "ConfigMap")
    assert found["metadata"]["name"] == "contrast-node-installer-target-config"
    assert (found["data"]["systemd-unit-name"], found["metadata"].get("namespace")) == expected


@pytest.mark.parametrize(("release", "target"), [(V1_12, "k3s"), (V1_13, "rke2")])
def test_a_distribution_that_the_release_does_not_know_is_refused(
    release: Release, target: str
) -> None:
    with pytest.raises(UsageError, match=f"--target is {target}, expected one that release"):
        render_runtime(
            platform("metal-qemu-snp"),
            handler("metal-qemu-snp"),
            release,
            installer=INSTALLER,
            snapshotter=None,
            target=target,
        )


@pytest.mark.first(2)
@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_every_platform_of_every_release_is_installed_and_removed(release: Release) -> None:
    for name in release.platforms:
        if name == "local":
            continue
        snapshotter = SNAPSHOTTER if name.startswith("aks") else None
        installed = list(
            yaml.safe_load_all(
                render_runtime(
                    platform(name),
                    handler(name),
                    release,
                    installer=INSTALLER,
                    snapshotter=snapshotter,
                )
            )
        )
        removed = list(
            yaml.safe_load_all(
                render_uninstall(platform(name), handler(name), release, installer=INSTALLER)
            )
        )

        assert [each["kind"] for each in installed][:2] == ["RuntimeClass", "DaemonSet"]
        assert [each["kind"] for each in removed] == ["DaemonSet"]
        assert removed[0]["metadata"]["name"] == f"{handler(name)}-nodeuninstaller"
        (container,) = removed[0]["spec"]["template"]["spec"]["initContainers"]
        assert container["command"] == [
            *("/bin/node-installer", "--uninstall", "--handler", handler(name)),
            platform(name).canonical,
        ]


@pytest.mark.parametrize("target", ["k3s", "rke2"])
def test_what_removes_the_runtime_finds_containerd_where_what_installs_it_does(target: str) -> None:
    name = "metal-qemu-snp"

    _, config = yaml.safe_load_all(
        render_uninstall(platform(name), handler(name), V1_21, installer=INSTALLER, target=target)
    )

    assert config["metadata"]["name"] == "contrast-node-installer-target-config"
    assert target in config["data"]["containerd-config-path"]


def test_an_installer_without_a_digest_removes_nothing() -> None:
    with pytest.raises(UsageError, match="expected an image with its digest"):
        render_uninstall(
            platform("metal-qemu-snp"), handler("metal-qemu-snp"), V1_21, installer="x:v1"
        )
