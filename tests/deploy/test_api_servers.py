"""What an API server of version 1.36 answers: the fake, and a real one where there is one. Source: docs/internals/coordinator.md 8.3."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.kube.access import ADMIN
from tests.fakes.kube.kinds import kind
from tests.fakes.kube.servers import AnyServer

MAPS = "/api/v1/namespaces/default/configmaps"
APPLY = "application/apply-patch+yaml"
Ask = Callable[..., tuple[int, Any]]
POD: dict[str, Any] = {
    "metadata": {"name": "web"},
    "spec": {"runtimeClassName": "none", "containers": [{"name": "web", "image": "web"}]},
}


@pytest.fixture
def ask(any_server: AnyServer) -> Ask:
    context = ssl.create_default_context(cadata=any_server.ca_pem.decode())

    def ask(
        method: str,
        path: str,
        body: object = None,
        content_type: str = "application/json",
        token: str = ADMIN,
    ) -> tuple[int, Any]:
        request = urllib.request.Request(
            any_server.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content_type, "Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as err:
            with err:
                content = err.read()
            is_json = err.headers["Content-Type"] == "application/json"
            return err.code, json.loads(content) if is_json else content

    return ask


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": data}


def test_a_new_object_has_what_the_server_adds(ask: Ask) -> None:
    code, made = ask("PATCH", f"{MAPS}/one?fieldManager=a", config_map(x="1"), APPLY)

    assert code == 201
    assert {"uid", "resourceVersion", "creationTimestamp"} <= made["metadata"].keys()
    assert ask("PATCH", f"{MAPS}/one?fieldManager=a", config_map(x="1"), APPLY)[0] == 200


def test_without_a_field_manager_an_apply_is_invalid(ask: Ask) -> None:
    code, told = ask("PATCH", f"{MAPS}/one", config_map(), APPLY)

    assert (code, told["reason"]) == (422, "Invalid")
    assert told["details"] == {
        "group": "meta.k8s.io",
        "kind": "PatchOptions",
        "causes": [
            {
                "reason": "FieldValueRequired",
                "message": "Required value: is required for apply patch",
                "field": "fieldManager",
            }
        ],
    }


def test_a_field_of_another_manager_is_a_conflict_unless_forced(ask: Ask) -> None:
    ask("PATCH", f"{MAPS}/one?fieldManager=a", config_map(x="1", y="1"), APPLY)

    code, told = ask("PATCH", f"{MAPS}/one?fieldManager=b", config_map(x="2"), APPLY)

    assert (code, told["reason"]) == (409, "Conflict")
    assert told["message"] == 'Apply failed with 1 conflict: conflict with "a": .data.x'
    assert told["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    code, made = ask("PATCH", f"{MAPS}/one?fieldManager=b&force=true", config_map(x="2"), APPLY)
    assert (code, made["data"]) == (200, {"x": "2", "y": "1"})


def test_a_field_that_its_manager_applies_no_more_is_removed(ask: Ask) -> None:
    ask("PATCH", f"{MAPS}/one?fieldManager=a", config_map(x="1", y="1"), APPLY)

    _, made = ask("PATCH", f"{MAPS}/one?fieldManager=a", config_map(x="1"), APPLY)

    assert made["data"] == {"x": "1"}


def test_a_trial_stores_nothing(ask: Ask) -> None:
    assert ask("POST", f"{MAPS}?dryRun=All", config_map())[0] == 201
    assert ask("GET", f"{MAPS}/one")[0] == 404


def test_a_taken_name_and_an_old_version_are_conflicts(ask: Ask) -> None:
    _, made = ask("POST", MAPS, config_map(x="1"))

    assert ask("POST", MAPS, config_map())[1]["reason"] == "AlreadyExists"
    assert ask("PUT", f"{MAPS}/one", {**made, "data": {"x": "2"}})[0] == 200
    code, told = ask("PUT", f"{MAPS}/one", {**made, "data": {"x": "3"}})
    assert (code, told["reason"]) == (409, "Conflict")
    assert "the object has been modified" in told["message"]


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/api/v1/namespaces/shop/configmaps", "namespaces", "shop"),
        (f"{MAPS}/two", "configmaps", "two"),
    ],
)
def test_what_is_missing_is_named(ask: Ask, path: str, kind: str, name: str) -> None:
    method, body = ("GET", None) if path.endswith("two") else ("POST", config_map())

    code, told = ask(method, path, body)

    assert (code, told["reason"]) == (404, "NotFound")
    assert told["details"] == {"name": name, "kind": kind}
    assert told["status"] == "Failure"


def test_an_unknown_group_is_no_json(ask: Ask) -> None:
    assert ask("GET", "/apis/example.com/v1/things") == (404, b"404 page not found\n")


def test_a_stranger_is_anonymous(ask: Ask) -> None:
    code, told = ask("GET", MAPS, token="")

    assert (code, told["reason"]) == (403, "Forbidden")
    assert 'User "system:anonymous" cannot list resource "configmaps"' in told["message"]


def test_all_faults_of_an_object_are_told_at_once(ask: Ask) -> None:
    large = {"large": "x" * 262145}
    body = {
        "metadata": {"name": "web", "annotations": large},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"annotations": large}, "spec": POD["spec"]},
        },
    }

    code, told = ask("POST", "/apis/apps/v1/namespaces/default/deployments", body)

    assert (code, told["reason"]) == (422, "Invalid")
    assert [cause["field"] for cause in told["details"]["causes"]] == [
        "metadata.annotations",
        "spec.template.metadata.labels",
        "spec.template.annotations",
    ]


def test_a_pod_of_an_unknown_runtime_class_is_refused_and_a_deployment_is_not(ask: Ask) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": POD["spec"]}
    deployment = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }

    code, told = ask("POST", "/api/v1/namespaces/default/pods", POD)

    assert code == 403
    assert 'RuntimeClass "none" not found' in told["message"]
    assert ask("POST", "/apis/apps/v1/namespaces/default/deployments", deployment)[0] == 201


def test_a_watch_has_a_line_for_each_event_and_ends(any_server: AnyServer, ask: Ask) -> None:
    since, _ = any_server.cluster.list(kind("ConfigMap"), "default")
    ask("POST", MAPS, config_map(x="1"))
    ask("DELETE", f"{MAPS}/one")
    context = ssl.create_default_context(cadata=any_server.ca_pem.decode())
    request = urllib.request.Request(
        f"{any_server.url}{MAPS}?watch=true&resourceVersion={since}&timeoutSeconds=1",
        headers={"Authorization": f"Bearer {ADMIN}"},
    )

    with urllib.request.urlopen(request, context=context, timeout=20) as answer:
        events = [json.loads(line) for line in answer]

    assert [event["type"] for event in events] == ["ADDED", "DELETED"]
    assert {event["object"]["metadata"]["name"] for event in events} == {"one"}


def test_a_workload_without_selector_and_containers_is_invalid(ask: Ask) -> None:
    code, told = ask(
        "POST",
        "/apis/apps/v1/namespaces/default/deployments",
        {"metadata": {"name": "web"}, "spec": {"template": {"spec": {}}}},
    )

    assert (code, told["reason"]) == (422, "Invalid")
    fields = {cause["field"]: cause["message"] for cause in told["details"]["causes"]}
    assert fields["spec.selector"] == "Required value"
    assert fields["spec.template.spec.containers"] == "Required value"


def test_a_list_of_names_only_has_null_where_it_is_empty(any_server: AnyServer) -> None:
    context = ssl.create_default_context(cadata=any_server.ca_pem.decode())
    kinds = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    request = urllib.request.Request(
        f"{any_server.url}{MAPS}", headers={"Authorization": f"Bearer {ADMIN}", "Accept": kinds}
    )

    with urllib.request.urlopen(request, context=context, timeout=20) as answer:
        found = json.load(answer)

    assert found["kind"] == "PartialObjectMetadataList"
    assert found["items"] is None
