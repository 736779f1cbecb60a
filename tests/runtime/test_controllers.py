"""The pods that controllers make. Source: docs/internals/policy.md 6.2; Kubernetes, pkg/controller and its documents."""

import re
from typing import Any

import pytest

from contrast_tasks.runtime.controllers import pod_of, with_addresses

SPEC = {"containers": [{"name": "app", "image": "i"}]}
# The characters of generated suffixes.
DRAWN = "[bcdfghjklmnpqrstvwxz2456789]"


def workload(kind: str, name: str = "web", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": SPEC}
    if kind == "Pod":
        return {"kind": kind, "metadata": {"name": name}, "spec": SPEC}
    inner: dict[str, Any] = {"template": template, **spec}
    if kind == "CronJob":
        inner = {"jobTemplate": {"spec": inner}}
    return {"kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": inner}


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("Pod", "web"),
        ("Deployment", f"web-{DRAWN}+-{DRAWN}{{5}}"),
        ("ReplicaSet", f"web-{DRAWN}{{5}}"),
        ("DaemonSet", f"web-{DRAWN}{{5}}"),
        ("ReplicationController", f"web-{DRAWN}{{5}}"),
        ("StatefulSet", "web-0"),
        ("Job", f"web-{DRAWN}{{5}}"),
        ("CronJob", f"web-[0-9]+-{DRAWN}{{5}}"),
    ],
)
def test_names_of_pods(kind: str, pattern: str) -> None:
    metadata = pod_of(workload(kind))["metadata"]

    assert re.fullmatch(pattern, metadata["name"])
    assert metadata["namespace"] == ("default" if kind == "Pod" else "shop")


def test_a_generated_name_has_at_most_63_characters() -> None:
    name = pod_of(workload("Deployment", "n" * 60))["metadata"]["name"]

    assert len(name) == 63
    assert name.startswith("n" * 58)


def test_a_pod_may_ask_for_a_generated_name() -> None:
    pod = {"kind": "Pod", "metadata": {"generateName": "job-"}, "spec": SPEC}

    assert re.fullmatch(f"job-{DRAWN}{{5}}", pod_of(pod)["metadata"]["name"])


def test_a_job_may_ask_for_a_generated_name() -> None:
    job = workload("Job", completionMode="Indexed")
    job["metadata"] = {"generateName": "nightly-"}

    pod = pod_of(job)

    assert re.fullmatch(f"nightly-{DRAWN}{{5}}-{DRAWN}{{5}}", pod["metadata"]["name"])
    assert re.fullmatch(f"nightly-{DRAWN}{{5}}", pod["metadata"]["labels"]["job-name"])
    assert pod["spec"]["hostname"] == f"{pod['metadata']['labels']['job-name']}-0"


def test_a_set_gives_its_pod_a_host_name_a_domain_and_its_claims() -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {}}]

    spec = pod_of(workload("StatefulSet", serviceName="all", volumeClaimTemplates=claims))["spec"]

    assert (spec["hostname"], spec["subdomain"]) == ("web-0", "all")
    assert spec["volumes"] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}
    ]


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_a_pod_of_an_indexed_job_is_told_its_index(kind: str) -> None:
    pod = pod_of(workload(kind, completionMode="Indexed"))

    (variable,) = pod["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    assert pod["metadata"]["annotations"] == {"batch.kubernetes.io/job-completion-index": "0"}
    assert pod["spec"]["hostname"] == "web-0"
    assert "env" not in pod_of(workload(kind))["spec"]["containers"][0]


def test_services_get_addresses_unless_they_want_none() -> None:
    given = [
        {"metadata": {"name": "a"}, "spec": {"ports": []}},
        {"metadata": {"name": "b"}, "spec": {"clusterIP": "None"}},
        {"metadata": {"name": "c"}, "spec": {"clusterIP": "10.0.0.9"}},
        {"metadata": {"name": "d"}, "spec": {"type": "ExternalName"}},
    ]

    found = [each["spec"].get("clusterIP") for each in with_addresses(given)]

    assert found[0].startswith("10.96.")
    assert found[1:] == ["None", "10.0.0.9", None]
