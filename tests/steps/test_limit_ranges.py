"""A LimitRange among the sources: memory, CPUs, variables from resources; and limits of the pod as a whole."""

import re
from collections.abc import Callable

import pytest
import yaml

from tests.fakes.commands import Terminal
from tests.fakes.reported import on_local

Reported = Callable[[str], Terminal]
LIMIT_RANGE = """\
---
apiVersion: v1
kind: LimitRange
metadata: {name: usual}
spec:
  limits:
    - {type: Container, default: {memory: 320Mi}}
"""
VARIABLES = """\
          env:
            - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
            - {name: REQUEST, valueFrom: {resourceFieldRef: {resource: requests.memory, divisor: 1Mi}}}
            - {name: CPUS, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}
"""


@pytest.fixture
def shop(reported: Reported) -> Terminal:
    """A Deployment with one container, which asks for nothing, on local with 64Mi by default."""
    terminal = on_local(reported("11-entrypoint-empty-string"))
    source = terminal.root / "deployment" / "a.yml"
    text, _, _ = source.read_text().partition("        - name: b")
    source.write_text(text + VARIABLES)
    return terminal


def add(terminal: Terminal, text: str) -> None:
    source = terminal.root / "deployment" / "a.yml"
    source.write_text(source.read_text() + text)


def variables(terminal: Terminal) -> dict[str, str]:
    """Generate, simulate, and return the values of the variables in the policy."""
    shown = terminal.run("generate")
    assert shown.code == 0, shown.err
    assert terminal.run("simulate").code == 0
    policy = (terminal.root / "build/policies/Deployment.shop.rego").read_text()
    return dict(re.findall(r"`(LIMIT|REQUEST|CPUS)`:`(\d+)`", policy))


def test_without_one_the_settings_decide_and_nothing_is_requested(shop: Terminal) -> None:
    assert variables(shop) == {"LIMIT": "64", "REQUEST": "64", "CPUS": "0"}


def test_its_default_is_limit_and_request_before_that_of_the_settings(shop: Terminal) -> None:
    add(shop, LIMIT_RANGE)

    assert variables(shop) == {"LIMIT": "320", "REQUEST": "320", "CPUS": "0"}
    # What is deployed says nothing of it: the API server gives it.
    assert "320Mi}}" in (shop.root / "build/deployment/a.yml").read_text()
    assert "memory: 320Mi\n" not in (shop.root / "build/deployment/a.yml").read_text()


def test_a_container_that_asks_for_something_keeps_it(shop: Terminal) -> None:
    own = "          resources: {limits: {memory: 96Mi}, requests: {memory: 96Mi}}\n"
    add(shop, own + LIMIT_RANGE.replace("320Mi", "320Mi, cpu: 1"))

    assert variables(shop) == {"LIMIT": "96", "REQUEST": "96", "CPUS": "1"}


def test_one_of_another_namespace_gives_nothing(shop: Terminal) -> None:
    add(shop, LIMIT_RANGE.replace("usual", "usual, namespace: other"))

    assert variables(shop)["LIMIT"] == "64"


def test_the_policy_follows_it(shop: Terminal) -> None:
    add(shop, LIMIT_RANGE)
    variables(shop)
    source = shop.root / "deployment" / "a.yml"

    source.write_text(source.read_text().replace("320Mi", "384Mi"))

    assert variables(shop)["LIMIT"] == "384"


def test_what_does_not_fit_a_guest_names_it(shop: Terminal) -> None:
    add(shop, LIMIT_RANGE.replace("320Mi}", "320Mi}, defaultRequest: {memory: 8Mi}"))

    shown = shop.run("lint")

    assert (
        "deployment/a.yml:15: error[G030 memory-request]: Deployment/shop: container a has the memory request 8Mi and"
        " the limit 320Mi, expected the same value; it comes from the LimitRange usual of the namespace\n"
        "  hint: change the LimitRange, or write resources.requests.memory of the container\n"
    ) in shown.err
    assert "1 error\n" in shown.err


def test_a_limit_of_the_whole_pod_counts_for_containers_without_one(shop: Terminal) -> None:
    """Kubernetes 1.34, pod-level resources."""
    whole = "      resources: {limits: {memory: 256Mi}, requests: {memory: 256Mi}}\n"
    add(shop, whole)

    shown = shop.run("generate")
    assert shown.code == 0, shown.err
    assert shop.run("simulate").code == 0
    # No container gets the 64Mi that the settings have for pods that say nothing.
    deployed, *_ = yaml.safe_load_all((shop.root / "build/deployment/a.yml").read_text())
    assert "resources" not in deployed["spec"]["template"]["spec"]["containers"][0]
    policy = (shop.root / "build/policies/Deployment.shop.rego").read_text()
    # The kubelet tells a container without a limit what the node has.
    assert r'"^LIMIT=[0-9]+$"' in policy.replace("`", '"')


@pytest.mark.parametrize(
    ("resources", "found"),
    [
        pytest.param("limits: {memory: 256Mi}", "warning[G031 memory-request]: Deployment/shop: the pod has", id="request"),
        pytest.param("limits: {memory: 256Mi}, requests: {memory: 1Mi}", "error[G030 memory-request]: Deployment/shop: the pod has", id="differs"),
        pytest.param("limits: {memory: many}, requests: {memory: many}", "error[G030 memory-quantity]: Deployment/shop: the pod: found 'many'", id="malformed"),
    ],
)  # fmt: skip
def test_a_limit_of_the_whole_pod_has_the_rules_of_a_container(
    shop: Terminal, resources: str, found: str
) -> None:
    add(shop, f"      resources: {{{resources}}}\n")

    assert found in shop.run("lint").err


@pytest.mark.parametrize(
    ("bound", "found"),
    [
        pytest.param("max: {memory: 80Mi}", "has the memory limit 96Mi, expected at most 80Mi", id="most"),
        pytest.param("min: {memory: 128Mi}", "has the memory limit 96Mi, expected at least 128Mi", id="least"),
        pytest.param("max: {memory: 96Mi}, min: {memory: 8Mi}", "", id="inside"),
        pytest.param("max: {memory: x}", "", id="malformed"),
    ],
)  # fmt: skip
def test_what_the_api_server_would_refuse_is_named_at_its_line(
    shop: Terminal, bound: str, found: str
) -> None:
    """Source: Kubernetes, "Configure Minimum and Maximum Memory Constraints for a Namespace"."""
    own = "          resources: {limits: {memory: 96Mi}, requests: {memory: 96Mi}}\n"
    add(shop, own + LIMIT_RANGE.replace("default: {memory: 320Mi}", bound))

    lines = [line for line in shop.run("lint").err.splitlines() if "container a has" in line]

    assert len(lines) == 2 * bool(found)
    if found:
        assert lines[0] == (
            f"deployment/a.yml:21: error[G034 limit-range]: Deployment/shop: container a {found}: so says the LimitRange"
            " usual of the namespace"
        )


def test_injected_containers_must_fit_too(shop: Terminal) -> None:
    own = "          resources: {limits: {memory: 16Mi}, requests: {memory: 16Mi}}\n"
    add(shop, own + LIMIT_RANGE.replace("default: {memory: 320Mi}", "max: {memory: 16Mi}"))

    lines = [line for line in shop.run("lint").err.splitlines() if "G034" in line]

    assert any(
        line.startswith("deployment/a.yml:13: ") and "contrast-initializer has the memory" in line
        for line in lines
    )
    assert not any("container a has" in line for line in lines)
