import pytest

from contrast_tasks.manifest.entries import (
    WorkloadEntry,
    default_sans,
    default_secret_id,
    merge_entries,
    transit_name,
)
from contrast_tasks.manifest.model import PolicyEntry


def workload(
    name: str, hash_byte: str, *sans: str, secret: str = "s", role: str = ""
) -> WorkloadEntry:
    return WorkloadEntry(
        name=name,
        policy_hash_hex=hash_byte * 32,
        entry=PolicyEntry(sans=sans, workload_secret_id=secret, role=role),
        file=f"{name}.yml",
        line=3,
    )


@pytest.mark.parametrize(
    ("api_version", "kind", "namespace", "name", "wanted"),
    [
        ("apps/v1", "Deployment", "", "web", "apps/v1/Deployment/default/web"),
        ("apps/v1", "Deployment", "shop", "web", "apps/v1/Deployment/shop/web"),
        ("v1", "Pod", "", "another-pod", "core/v1/Pod/default/another-pod"),
        ("batch/v1", "CronJob", "default", "x", "batch/v1/CronJob/default/x"),
    ],
)
def test_the_default_secret_id_names_group_version_kind_namespace_and_name(
    api_version: str, kind: str, namespace: str, name: str, wanted: str
) -> None:
    assert default_secret_id(api_version, kind, namespace, name) == wanted


@pytest.mark.parametrize(
    ("secret_id", "wanted"),
    [
        ("0_web", "web"),
        ("4294967296_web", "web"),
        ("00_web", "web"),
        ("1_2_web", "2_web"),
        ("web", ""),
        ("web_0", ""),
        ("_web", ""),
        ("-1_web", ""),
        ("0web", ""),
        ("0_", ""),
        ("\u0660_web", ""),
    ],
)
def test_an_id_that_begins_with_a_version_holds_a_transit_key(secret_id: str, wanted: str) -> None:
    assert transit_name(secret_id) == wanted


def test_declared_sans_follow_the_name_and_the_wildcard() -> None:
    assert default_sans("web") == ("web", "*")
    assert default_sans("web", ["203.0.113.34", "web"]) == ("web", "*", "203.0.113.34")


@pytest.mark.parametrize("name", ["n" * 64, "2048", "nightly-"])
def test_a_name_that_no_certificate_can_have_is_left_out(name: str) -> None:
    assert default_sans(name, ["own"]) == ("*", "own")


def test_policies_are_sorted_and_keep_the_order_of_their_sans() -> None:
    policies, findings = merge_entries(
        [workload("b", "bb", "b", "*", "1.2.3.4"), workload("a", "aa", "a", "*")]
    )

    assert list(policies) == ["aa" * 32, "bb" * 32]
    assert policies["bb" * 32].sans == ("b", "*", "1.2.3.4")
    assert findings == []


def test_workloads_with_one_policy_become_one_entry_with_a_warning() -> None:
    policies, findings = merge_entries(
        [workload("b", "aa", "b", "*"), workload("a", "aa", "a", "*")]
    )

    assert policies["aa" * 32].sans == ("a", "b", "*")
    assert [(item.code, item.severity.value, str(item.where)) for item in findings] == [
        ("M018", "warning", "a.yml:3")
    ]
    assert "b at b.yml:3" in findings[0].message


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (workload("b", "aa", "b", secret="t"), "secret id 't' instead of 's'"),
        (workload("b", "aa", "b", role="coordinator"), "role 'coordinator' instead of ''"),
    ],
)
def test_workloads_with_one_policy_must_agree(other: WorkloadEntry, what: str) -> None:
    _, findings = merge_entries([workload("a", "aa", "a"), other])

    assert [(item.code, item.severity.value) for item in findings] == [("M019", "error")]
    assert what in findings[0].message


def test_the_order_of_workloads_does_not_change_the_policies() -> None:
    one = [workload("a", "aa", "a", "*"), workload("b", "aa", "b"), workload("c", "bb", "c")]

    assert merge_entries(one)[0] == merge_entries(one[::-1])[0]
