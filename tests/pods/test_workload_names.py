"""Names of workloads as kubectl takes them. Source: `kubectl api-resources`, and TYPE/NAME of `kubectl get --help`."""

import pytest

from contrast_tasks.pods.workload_names import hint_for, matching

KEYS = ["Deployment/web", "StatefulSet/db", "shop/Deployment/web", "CronJob/web", "Job/nightly-"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Deployment/web", ["Deployment/web", "shop/Deployment/web"]),
        ("deployment/web", ["Deployment/web", "shop/Deployment/web"]),
        ("deploy/web", ["Deployment/web", "shop/Deployment/web"]),
        ("deployments/web", ["Deployment/web", "shop/Deployment/web"]),
        ("shop/Deployment/web", ["shop/Deployment/web"]),
        ("shop/deploy/web", ["shop/Deployment/web"]),
        ("shop/web", ["shop/Deployment/web"]),
        ("default/deployment/web", ["Deployment/web"]),
        ("cj/web", ["CronJob/web"]),
        ("deployment.apps/web", ["Deployment/web", "shop/Deployment/web"]),
        ("shop/deployments.apps/web", ["shop/Deployment/web"]),
        ("cronjob.batch/web", ["CronJob/web"]),
        ("deployment/web.yml#shop/Deployment/web", ["shop/Deployment/web"]),
        ("deployment.batch/web", []),
        ("sts/DB", ["StatefulSet/db"]),
        ("db", ["StatefulSet/db"]),
        ("job/nightly-", ["Job/nightly-"]),
        ("web", ["Deployment/web", "shop/Deployment/web", "CronJob/web"]),
        ("sts/web", []),
        ("nightly", []),
        ("", []),
    ],
)
def test_a_name_finds_its_workloads(name: str, wanted: list[str]) -> None:
    assert matching(name, KEYS) == wanted


def test_an_unknown_name_gets_the_nearest_or_all() -> None:
    assert hint_for("Deployment/wbe", KEYS) == "did you mean 'Deployment/web'?"
    assert hint_for("x", ["Pod/a"]) == "there are: Pod/a"
    assert hint_for("x", []) == "there are: none"
