"""Data that allows more than our generator writes is told in the audit, line by line."""

from typing import Any

import pytest

from contrast_tasks.client.audit_policy import container_lines, describe_policy
from contrast_tasks.client.audit_weaker import weaker_lines
from contrast_tasks.policy.text import parse_policy, render_policy
from tests.fakes.aks import LOWER, UPPER, policy_data
from tests.fakes.policy import bent, one_container, policy_of, rich

WEB = parse_policy(policy_of("web"))
KERNEL_SOURCE = next(i for i, m in enumerate(WEB["shared"]["mounts"]["all"]) if m["dst"] == "/proc")


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("profile", "own", "profile 'own' is not known"),
        ("paths/root", "/", "path root is '/', profile kata-qemu has '/run/kata-containers/'"),
        ("paths/more", "/", "path more is '/', profile kata-qemu has None"),
        ("paths/shared/+", "/", "path shared is ["),
        ("sandbox/storages", [], "the sandbox has other storages than profile kata-qemu"),
        ("pod/sysctls/kernel.x", "1", "kernel setting kernel.x is 1"),
        ("containers/3/after", [], "web-svc: it does not wait for the container before it"),
        ("containers/3/after", [""], "web-svc: it does not wait for the container before it"),
        ("containers/1/kind", "main", "contrast-service-mesh: it does not wait for the container"),
        ("containers/3/image/+", "web:2", "web-svc: image web:2 is not pinned by a digest"),
        ("containers/0/image/+", "pause:2", "pause: image pause:2 is not pinned by a digest"),
        ("containers/3/env/family", ".*", "web-svc: variables by an unknown pattern: .*"),
        ("containers/0/env/family", ".*", "pause: variables by an unknown pattern: .*"),
        ("shared/family", "A=.*", "contrast-initializer: variables by an unknown pattern: A=.*"),
        ("containers/3/propagation", "rshared", "web-svc: mounts of the host reach it: rshared"),
        ("containers/3/masked", [], "web-svc: it sees 9 paths of the kernel that are hidden"),
        ("shared/readonly", [], "web-svc: it sees 5 paths of the kernel that are hidden"),
        (
            f"shared/mounts/all/{KERNEL_SOURCE}/src/arg",
            "/",
            "pause: / of the guest is mounted at /proc",
        ),
        (
            f"shared/mounts/all/{KERNEL_SOURCE}/src",
            {"kind": "file", "arg": "proc"},
            "pause: a volume is mounted at /proc, where the kernel's files are",
        ),
    ],
)
def test_what_allows_more_is_told(path: str, value: Any, line: str) -> None:
    lines = list(weaker_lines(bent(WEB, path, value)))

    assert [each for each in lines if each.startswith(line)]


def test_a_pod_that_asks_for_nothing_unusual_has_no_line() -> None:
    plain = parse_policy(render_policy(one_container("tty: true", pod="enableServiceLinks: false")))

    assert list(weaker_lines(plain)) == []


def test_what_the_pod_itself_asked_for_is_told_too() -> None:
    lines = list(weaker_lines(parse_policy(render_policy(rich()))))

    assert lines == ["kernel setting net.core.somaxconn is 9"]


def test_a_privileged_sidecar_is_told_by_its_capabilities_only() -> None:
    assert list(weaker_lines(WEB)) == []


def test_other_layers_of_the_pause_container_are_told_on_aks() -> None:
    data = parse_policy(render_policy(policy_data()))
    other = bent(data, "containers/0/layers/0/1", "0" * 64)

    assert list(weaker_lines(data)) == []
    assert list(weaker_lines(other)) == ["pause: it has other layers than profile kata-aks"]


def test_the_root_hashes_of_layers_are_shown_on_aks() -> None:
    described = describe_policy(render_policy(policy_data()))

    lines = [line for each in described.containers for line in container_lines(each)]
    assert [line for line in lines if "layer" in line] == [
        f"  layer    root hash {root}" for _, root in (UPPER, LOWER)
    ]
