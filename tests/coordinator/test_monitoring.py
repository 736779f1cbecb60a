"""The alert rules and the dashboard: every expression is PromQL, and asks for what a Coordinator exports."""

import json
from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import pytest
import yaml

from contrast_tasks import resources
from contrast_tasks.prepare.coordinator import render_coordinator
from contrast_tasks.releases.table import RELEASES
from contrast_tasks.settings.components import ComponentSettings
from coordinator.metrics import FAMILIES, STATES

promql = pytest.importorskip("promql_parser", reason="promql-parser is not installed")

ALERTS = resources.read_text("templates/monitoring/alerts.yml")
DASHBOARD = json.loads(resources.read_text("templates/monitoring/dashboard.json"))
MONITOR, RULES = yaml.safe_load_all(ALERTS)
# What a scrape by a PodMonitor adds to every series.
SCRAPED = {"namespace", "pod"}
# Grafana puts these in before Prometheus sees the expression.
VARIABLES = {"$__rate_interval": "5m", "$namespace": ".+"}
# What each function asks of the type of its series. Source: Prometheus, "Query functions".
OF_COUNTERS = {"rate", "increase"}


class Series(NamedTuple):
    """What one name in an expression may be: the type of its metric and its labels."""

    kind: str
    labels: frozenset[str]


def exported() -> dict[str, Series]:
    found = {}
    for family in FAMILIES:
        labels = frozenset({*family.labels, *SCRAPED})
        if family.kind == "histogram":
            for suffix, more in (("_bucket", {"le"}), ("_sum", set()), ("_count", set())):
                found[family.name + suffix] = Series("counter", labels | more)
        else:
            found[family.name] = Series(family.kind, labels)
    return found


EXPORTED = exported()


def rules() -> list[dict[str, Any]]:
    return [rule for group in RULES["spec"]["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    ours = [target["expr"] for panel in panels() for target in panel["targets"]]
    for name, value in VARIABLES.items():
        ours = [text.replace(name, value) for text in ours]
    return [*(rule["expr"] for rule in rules()), *ours]


def selectors(node: Any, function: str = "") -> Iterator[tuple[Any, str]]:
    """Yield each selector of an expression with the function that it is an argument of."""
    if isinstance(node, promql.VectorSelector):
        yield node, function
    elif isinstance(node, promql.MatrixSelector):
        yield node.vector_selector, function
    elif isinstance(node, promql.Call):
        for argument in node.args:
            yield from selectors(argument, node.func.name)
    elif isinstance(node, promql.BinaryExpr):
        yield from selectors(node.lhs)
        yield from selectors(node.rhs)
    elif isinstance(node, promql.AggregateExpr | promql.ParenExpr | promql.SubqueryExpr):
        yield from selectors(node.expr, function)
    else:
        assert isinstance(node, promql.NumberLiteral | promql.StringLiteral), type(node)


def grouped(node: Any) -> Iterator[tuple[Any, list[str]]]:
    """Yield each aggregation of an expression with the labels that it keeps."""
    if isinstance(node, promql.AggregateExpr):
        yield node, list(node.modifier.labels) if node.modifier else []
        yield from grouped(node.expr)
    for part in ("lhs", "rhs"):
        if isinstance(node, promql.BinaryExpr):
            yield from grouped(getattr(node, part))
    if isinstance(node, promql.Call):
        for argument in node.args:
            yield from grouped(argument)


@pytest.mark.parametrize("text", sorted(set(expressions())))
def test_an_expression_asks_for_series_and_labels_that_exist(text: str) -> None:
    tree = promql.parse(text)

    found = list(selectors(tree))
    assert found
    for selector, function in found:
        series = EXPORTED[selector.name]
        for matcher in selector.matchers.matchers:
            assert matcher.name in series.labels, f"{selector.name} has no {matcher.name}"
        # A counter is never looked at as it is, nor the rate of a gauge.
        assert (series.kind == "counter") == (function in OF_COUNTERS), (
            f"{selector.name} {function}"
        )
    for node, kept in grouped(tree):
        for selector, _ in selectors(node.expr):
            assert set(kept) <= EXPORTED[selector.name].labels, f"{selector.name} has not {kept}"


def test_states_that_expressions_name_exist() -> None:
    named = [
        matcher.value
        for text in expressions()
        for selector, _ in selectors(promql.parse(text))
        for matcher in selector.matchers.matchers
        if matcher.name == "state"
    ]

    assert named
    assert {state for value in named for state in value.split("|")} <= set(STATES)


def test_every_metric_of_ours_is_on_the_dashboard_or_alerts() -> None:
    used = {
        selector.name for text in expressions() for selector, _ in selectors(promql.parse(text))
    }
    # What the reference product's dashboards know, and what says how metrics themselves are read.
    others = ("promhttp_", "contrast_meshapi_attestation_failures", "contrast_grpc_server_msg_")

    unused = [
        family.name
        for family in FAMILIES
        if not family.name.startswith(others)
        and not {family.name, family.name + "_bucket", family.name + "_count"} & used
    ]
    assert unused == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_has_what_people_need(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description"}
    kept = {label for _, labels in grouped(promql.parse(rule["expr"])) for label in labels}
    for text in rule["annotations"].values():
        named = {part.partition(" }}")[0] for part in text.split("{{ $labels.")[1:]}
        assert named <= kept | SCRAPED


def test_names_of_rules_are_unique() -> None:
    names = [rule["alert"] for rule in rules()]

    assert len(names) == len(set(names))


def test_the_monitor_finds_the_port_of_the_coordinators() -> None:
    objects = yaml.safe_load_all(
        render_coordinator(RELEASES[-1], ComponentSettings(), with_metrics=True)
    )
    (pods,) = (each["spec"]["template"] for each in objects if each["kind"] == "StatefulSet")
    ports = {port["name"]: port["containerPort"] for port in pods["spec"]["containers"][0]["ports"]}
    (endpoint,) = MONITOR["spec"]["podMetricsEndpoints"]

    assert ports[endpoint["port"]] == 9102
    assert endpoint["path"] == "/metrics"
    wanted = MONITOR["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= pods["metadata"]["labels"].items()


def test_panels_have_places_of_their_own() -> None:
    places = [(each["id"], each["gridPos"]) for each in DASHBOARD["panels"]]

    assert len({number for number, _ in places}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for _, place in places)
    overlapping = [
        (first, second)
        for (first, a), (second, b) in combinations(places, 2)
        if a["x"] < b["x"] + b["w"]
        and b["x"] < a["x"] + a["w"]
        and a["y"] < b["y"] + b["h"]
        and b["y"] < a["y"] + a["h"]
    ]
    assert overlapping == []
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
