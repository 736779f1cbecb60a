"""The index: what is remembered of a file, and objects that stand twice."""

import json
import subprocess
import sys

import pytest

from contrast_tasks.findings import Severity
from contrast_tasks.kube.documents import KubeError
from contrast_tasks.kube.index import FileIndex, duplicates, index_file

TEXT = """\
# the shop
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  annotations:
    contrast.edgeless.systems/servicemesh-ingress: ""
spec:
  template:
    metadata:
      labels: {app: web}
    spec:
      runtimeClassName: contrast-cc
      containers:
      - name: web
        image: web:1
        envFrom:
        - configMapRef:
            name: settings
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
"""


def pod(name: str, *, namespace: str = "", kind: str = "Pod") -> str:
    place = f"  namespace: {namespace}\n" if namespace else ""
    return f"apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {name}\n{place}"


def test_a_file_is_remembered_with_all_that_later_checks_need() -> None:
    web, service = index_file(TEXT, "shop.yml").documents

    assert (web.key, web.line, web.is_workload) == ("shop/Deployment/web", 2, True)
    assert (web.images, web.runtime_class, web.pod_labels) == (
        ("web:1",),
        "contrast-cc",
        {"app": "web"},
    )
    assert [(use.kind, use.name, use.line) for use in web.references] == [
        ("ConfigMap", "settings", 20)
    ]
    assert (service.is_workload, service.selector) == (False, {"app": "web"})


def test_the_index_is_read_back() -> None:
    index = index_file(TEXT, "shop.yml")

    assert FileIndex.from_json(json.loads(json.dumps(index.to_json()))) == index


def test_a_digest_changes_with_its_own_document_only() -> None:
    before = index_file(TEXT, "shop.yml").documents
    after = index_file(TEXT.replace("web:1", "web:2"), "shop.yml").documents

    assert before[0].sha256 != after[0].sha256
    assert before[1].sha256 == after[1].sha256


def test_a_file_that_cannot_be_read_has_no_index() -> None:
    with pytest.raises(KubeError):
        index_file("a: [", "shop.yml")


def test_a_workload_that_stands_twice_is_an_error_naming_both_places() -> None:
    first = index_file(f"# one\n{pod('a')}", "a.yml")
    second = index_file(f"{pod('b')}---\n{pod('a', namespace='default')}", "b.yml")

    (found,) = duplicates([*first.documents, *second.documents])

    assert (found.code, found.severity, str(found.where)) == ("G005", Severity.ERROR, "b.yml:6")
    assert "the first is at a.yml:2" in found.message


def test_a_workload_that_stands_twice_in_one_file_is_found() -> None:
    assert len(duplicates(index_file(f"{pod('a')}---\n{pod('a')}", "a.yml").documents)) == 1


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(pod("a", namespace="shop"), id="other-namespace"),
        pytest.param(pod("a", kind="Service"), id="other-kind"),
        pytest.param(pod("b"), id="other-name"),
    ],
)
def test_what_differs_in_namespace_kind_or_name_is_no_duplicate(second: str) -> None:
    assert duplicates(index_file(f"{pod('a')}---\n{second}", "a.yml").documents) == []


def test_a_service_that_stands_twice_is_a_warning_and_a_config_map_an_error() -> None:
    text = "---\n".join(
        pod("a", kind=kind) for kind in ("Service", "Service", "ConfigMap", "ConfigMap")
    )

    found = duplicates(index_file(text, "a.yml").documents)

    assert [finding.severity for finding in found] == [Severity.WARNING, Severity.ERROR]


def test_reading_an_index_imports_no_yaml() -> None:
    code = (
        "import sys; from contrast_tasks.kube.index import FileIndex;"
        "FileIndex.from_json({'file': 'a', 'documents': []});"
        "heavy = {'yaml', 'jinja2', 'jsonschema', 'cryptography', 'grpc'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )

    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)

    assert result.returncode == 0, result.stderr
