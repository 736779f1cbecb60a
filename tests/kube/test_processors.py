"""The number of virtual processors: the formula and the ranges of docs/internals/releases.md 3."""

from typing import Any

import pytest

from contrast_tasks.findings import Severity
from contrast_tasks.kube.checks import check_workload
from contrast_tasks.kube.documents import parse_documents
from contrast_tasks.kube.processors import vcpus_of
from contrast_tasks.platforms import platform
from contrast_tasks.pods.quantities import QuantityError
from contrast_tasks.releases.table import V1_12, V1_16, V1_20, V1_21, Release
from tests.kube.test_checks import GOOD, short, swapped


def container(cpu: object, **more: Any) -> dict[str, Any]:
    return {"name": "a", "resources": {"limits": {"cpu": cpu}}, **more}


def sidecar(cpu: object) -> dict[str, Any]:
    return container(cpu, restartPolicy="Always")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, 1, id="nothing"),
        pytest.param({"containers": [{"name": "a"}]}, 1, id="no limit"),
        pytest.param({"containers": [container(0)]}, 1, id="zero"),
        pytest.param({"containers": [container("1m")]}, 2, id="one thousandth"),
        pytest.param({"containers": [container("1n")]}, 2, id="less than a thousandth"),
        pytest.param({"containers": [container(1)]}, 2, id="one"),
        pytest.param({"containers": [container("1500m")]}, 3, id="one and a half"),
        pytest.param({"containers": [container(1.001)]}, 3, id="a little more than one"),
        pytest.param({"containers": [container("500m"), container("500m")]}, 2, id="sum"),
        pytest.param(
            {"containers": [container(1)], "initContainers": [sidecar("1")]}, 3, id="sidecar"
        ),
        pytest.param(
            {"containers": [container(1)], "initContainers": [container(1)]}, 2, id="init"
        ),
        pytest.param(
            {"containers": [container(1)], "initContainers": [container(1), container(2)]},
            4,
            id="sum of inits",
        ),
        pytest.param(
            {"containers": [container(1)], "initContainers": [sidecar(1), container(2)]},
            4,
            id="a sidecar counts among the inits too",
        ),
        pytest.param(
            {"containers": [container(1)], "resources": {"limits": {"cpu": 7}}}, 8, id="pod"
        ),
        pytest.param(
            {"containers": [container(7)], "resources": {"limits": {"cpu": 2}}}, 8, id="less"
        ),
        pytest.param(
            {"containers": [{"name": "a", "resources": {"requests": {"cpu": 4}}}]}, 1, id="request"
        ),
    ],
)
def test_processors_follow_from_the_limits(spec: dict[str, Any], expected: int) -> None:
    assert vcpus_of(spec) == expected


@pytest.mark.parametrize("cpu", ["two", -1, [], True, "1.5 CPUs"])
def test_a_malformed_limit_is_an_error(cpu: object) -> None:
    with pytest.raises(QuantityError):
        vcpus_of({"containers": [container(cpu)]})


def findings(cpu: str, release: Release, name: str = "metal-qemu-snp") -> list[str]:
    text = swapped("memory: 1Gi", f"memory: 1Gi, cpu: {cpu}")
    document = parse_documents(text, "web.yml")[0]
    return short(check_workload(document, document.obj, platform=platform(name), release=release))


@pytest.mark.parametrize(
    ("release", "most"), [pytest.param(V1_20, 7, id="v1.20"), pytest.param(V1_21, 219, id="v1.21")]
)
def test_a_release_has_a_largest_number(release: Release, most: int) -> None:
    assert findings(str(most), release) == []
    assert findings(f"{most}.001", release) == ["15 G033 cpu-count"]


@pytest.mark.parametrize("release", [V1_12, V1_16])
def test_before_blocks_came_with_the_pod_a_limit_is_an_error(release: Release) -> None:
    assert findings("1", release) == ["15 G033 cpu-limit"]


def test_a_malformed_limit_has_its_line() -> None:
    assert findings("two", V1_21) == ["15 G033 cpu-quantity"]
    assert findings("two", V1_16) == ["15 G033 cpu-quantity"]


def test_the_limit_of_the_pod_has_its_line() -> None:
    text = swapped("      volumes:", "      resources: {limits: {cpu: 8}}\n      volumes:")
    document = parse_documents(text, "web.yml")[0]

    (found,) = check_workload(
        document, document.obj, platform=platform("metal-qemu-snp"), release=V1_20
    )

    assert str(found) == (
        "web.yml:19: error[G033 cpu-count]: StatefulSet/web: the CPU limits make a guest of 9 virtual CPUs,"
        " expected at most 8 with the runtime of v1.20.0\n  hint: lower the limits to 7 CPUs in all"
    )


def test_on_tdx_a_limit_is_a_warning_where_the_release_takes_limits() -> None:
    text = swapped("memory: 1Gi", "memory: 1Gi, cpu: 2")
    document = parse_documents(text, "web.yml")[0]

    (found,) = check_workload(
        document, document.obj, platform=platform("metal-qemu-tdx"), release=V1_21
    )

    assert (found.rule, found.severity) == ("cpu-limit-tdx", Severity.WARNING)
    assert findings("2", V1_16, "metal-qemu-tdx") == ["15 G033 cpu-limit"]


@pytest.mark.parametrize(
    ("cpu", "expected"), [(1, []), (2, []), ("1m", []), (0, ["15 G033 cpu-gpus"])]
)
def test_a_guest_has_as_many_processors_as_gpus(cpu: object, expected: list[str]) -> None:
    found = findings(f"{cpu}, nvidia.com/pgpu: 2", V1_21, "metal-qemu-snp-gpu")

    assert found == expected


def test_one_gpu_needs_no_limit() -> None:
    text = swapped("memory: 1Gi", "memory: 1Gi, nvidia.com/pgpu: 1")
    document = parse_documents(text, "web.yml")[0]

    assert not check_workload(
        document, document.obj, platform=platform("metal-qemu-snp-gpu"), release=V1_21
    )


def test_a_good_workload_without_limits_has_no_findings() -> None:
    document = parse_documents(GOOD, "web.yml")[0]

    assert not check_workload(
        document, document.obj, platform=platform("metal-qemu-snp"), release=V1_20
    )
