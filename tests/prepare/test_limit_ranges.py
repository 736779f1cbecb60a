"""What LimitRanges give containers. Source: Kubernetes, plugin/pkg/admission/limitranger and its documentation."""

from typing import Any

import pytest
import yaml

from contrast_tasks.decode import Json
from contrast_tasks.prepare.limit_ranges import LimitRanges
from contrast_tasks.runtime.drawing import drawn_for
from contrast_tasks.runtime.kubelet.admission import admitted
from contrast_tasks.runtime.objects import Namespace


def ranges(*items: str, name: str = "usual") -> list[dict[str, Any]]:
    limits = [yaml.safe_load(item) for item in items]
    return [{"kind": "LimitRange", "metadata": {"name": name}, "spec": {"limits": limits}}]


def pod(resources: str) -> dict[str, Any]:
    container = {"name": "a", "image": "i", "resources": yaml.safe_load(resources)}
    return {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }


# The examples of Kubernetes' tasks "Configure Default Memory Requests and Limits for a Namespace" and its kin for CPUs.
DEFAULTS = "{type: Container, default: {memory: 512Mi}, defaultRequest: {memory: 256Mi}}"
CASES = [
    pytest.param(DEFAULTS, "{}", {"limits": {"memory": "512Mi"}, "requests": {"memory": "256Mi"}}, id="neither"),
    pytest.param(DEFAULTS, "{limits: {memory: 1Gi}}", {"limits": {"memory": "1Gi"}, "requests": {"memory": "1Gi"}}, id="limit"),
    pytest.param(DEFAULTS, "{requests: {memory: 128Mi}}", {"limits": {"memory": "512Mi"}, "requests": {"memory": "128Mi"}}, id="request"),
    pytest.param("{type: Container, default: {cpu: 1}}", "{}", {"limits": {"cpu": 1}, "requests": {"cpu": 1}}, id="limit-is-request"),
    pytest.param("{type: Container, max: {cpu: 2}, min: {cpu: 1}}", "{}", {"limits": {"cpu": 2}, "requests": {"cpu": 2}}, id="most-is-limit"),
    pytest.param("{type: Container, min: {cpu: 1}}", "{}", {"limits": {}, "requests": {"cpu": 1}}, id="least-is-request"),
    pytest.param("{type: Container, max: {cpu: 4}, default: {cpu: 2}, defaultRequest: {cpu: 1}}", "{}", {"limits": {"cpu": 2}, "requests": {"cpu": 1}}, id="all"),
    pytest.param("{type: Pod, max: {cpu: 2}}", "{}", {"limits": {}, "requests": {}}, id="of-pods"),
]  # fmt: skip


def whole(resources: Any) -> Any:
    """Return resources with what the API server fills in before: a limit is the request too."""
    found = resources or {}
    limits, requests = found.get("limits") or {}, found.get("requests") or {}
    return {"limits": limits, "requests": {**limits, **requests}}


@pytest.mark.parametrize(("item", "resources", "wanted"), CASES)
def test_containers_get_what_the_api_server_gives(item: str, resources: str, wanted: Any) -> None:
    obj = LimitRanges(ranges(item)).admitted(pod(resources))

    assert whole(obj["spec"]["containers"][0]["resources"]) == wanted


@pytest.mark.parametrize(("item", "resources", "wanted"), CASES)
def test_the_model_of_the_api_server_gives_the_same(item: str, resources: str, wanted: Any) -> None:
    written = pod(resources)
    namespace = Namespace(ranges(item), "default")

    found = admitted(Json(written), namespace, drawn_for(written)).value

    assert whole(found["spec"]["containers"][0].get("resources")) == wanted


def test_the_object_that_is_deployed_stays_as_it_is() -> None:
    written = pod("{}")

    LimitRanges(ranges(DEFAULTS)).admitted(written)

    assert written == pod("{}")


def test_init_containers_are_containers() -> None:
    written = pod("{}")
    written["spec"]["initContainers"] = [{"name": "i", "image": "i"}]

    obj = LimitRanges(ranges(DEFAULTS)).admitted(written)

    assert obj["spec"]["initContainers"][0]["resources"]["limits"] == {"memory": "512Mi"}


@pytest.mark.parametrize(
    "spec", [None, [], {"limits": 1}, {"limits": [1, {"type": "Container", "default": 3}]}]
)
def test_a_malformed_one_gives_nothing(spec: Any) -> None:
    malformed = [{"kind": "LimitRange", "metadata": {"name": "x"}, "spec": spec}]

    assert LimitRanges(malformed).admitted(pod("{}")) == pod("{}")
