"""Objects that run no pods of a known kind: what is found when their file is read."""

import pytest

from contrast_tasks.kube.index import FileIndex, index_file

PREFIX = "contrast.edgeless.systems/"


def found(kind: str, *lines: str, api: str = "v1") -> list[str]:
    text = f"apiVersion: {api}\nkind: {kind}\nmetadata:\n  name: a\n" + "".join(
        f"{line}\n" for line in lines
    )
    (document,) = index_file(text, "a.yml").documents
    return [
        f"{finding.where.line} {finding.code} {finding.rule} {finding.severity.value}"
        for finding in document.findings
    ]


@pytest.mark.parametrize(
    ("kind", "lines", "expected"),
    [
        pytest.param("ConfigMap", ["data: {a: '1'}", "binaryData: {b: aGk=}"], [], id="config"),
        pytest.param("ConfigMap", ["data:", "  a: 1"], ["6 G012 field-type error"], id="number"),
        pytest.param("ConfigMap", ["data:", "  a:"], ["6 G012 field-type error"], id="nothing"),
        pytest.param("ConfigMap", ["data: [a]"], ["5 G012 field-type error"], id="sequence"),
        pytest.param("ConfigMap", ["binaryData: {b: '*'}"], ["5 G012 field-type error"], id="binary"),
        pytest.param("ConfigMap", ["data: {a.b_C-1: x, ..a: x}"], [], id="keys"),
        pytest.param("ConfigMap", ["data:", "  ..: x"], ["6 G012 field-type error"], id="key-of-dots"),
        pytest.param("Secret", ["stringData:", "  '': x"], ["6 G012 field-type error"], id="no-key"),
        pytest.param("ConfigMap", ["data:", "  a/b: x"], ["6 G012 field-type error"], id="key-with-slash"),
        pytest.param("ConfigMap", ["data:", f"  {'k' * 254}: x"], ["6 G012 field-type error"], id="long-key"),
        pytest.param("Secret", ["data: {a: aGk=}", "stringData: {b: '*'}"], [], id="secret"),
        pytest.param("Secret", ["data: {a: aGk}"], ["5 G012 field-type error"], id="padding"),
        pytest.param("Secret", ["data: {a: hi there}"], ["5 G012 field-type error"], id="plain-text"),
        pytest.param("Secret", ["stringData: {a: true}"], ["5 G012 field-type error"], id="boolean"),
        pytest.param("Secret", ["data:", "  a: |", "    aGk=", "    aGk="], ["6 G012 field-type error"], id="padding-inside"),
        pytest.param("Secret", ["data:", "  a: |", "    aGkh", "    aGk="], [], id="lines"),
    ],
)  # fmt: skip
def test_data_is_what_kubernetes_takes(kind: str, lines: list[str], expected: list[str]) -> None:
    assert found(kind, *lines) == expected


def test_a_secret_value_is_never_shown() -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: hunter2, b: 12345}\n"

    (document,) = index_file(text, "a.yml").documents

    shown = " ".join(map(str, document.findings))
    assert len(document.findings) == 2
    assert "hunter2" not in shown
    assert "12345" not in shown


def test_an_annotation_of_ours_cannot_act_on_what_runs_no_pods() -> None:
    line = f"  annotations: {{{PREFIX}servicemesh-ingress: ''}}"

    assert found("Service", line) == ["5 G110 annotation-place error"]
    assert found("Namespace", line) == ["5 G110 annotation-place error"]
    assert found("Service", f"  annotations: {{{PREFIX}expose-service: 'true'}}") == []


def test_annotations_are_a_mapping() -> None:
    assert found("Service", "  annotations: [a]") == ["5 G012 field-type error"]


@pytest.mark.parametrize(
    ("api", "kind", "lines", "expected"),
    [
        pytest.param(
            "argoproj.io/v1alpha1",
            "Rollout",
            ["spec:", "  template:", "    spec:", "      containers: [{name: a, image: b}]"],
            ["8 G004 foreign-pods warning"],
            id="template",
        ),
        pytest.param(
            "extensions/v1beta1",
            "Deployment",
            ["spec: {template: {spec: {containers: [{name: a, image: b}]}}}"],
            ["5 G004 foreign-pods warning"],
            id="old-group",
        ),
        pytest.param(
            "v1",
            "PodTemplate",
            ["template: {spec: {containers: [{name: a, image: b}]}}"],
            ["5 G004 foreign-pods warning"],
            id="pod-template",
        ),
        pytest.param(
            "example.com/v1", "Box", ["spec: {containers: [{size: 3}]}"], [], id="no-images"
        ),
        pytest.param("example.com/v1", "Box", ["spec: 1"], [], id="no-mapping"),
    ],
)
def test_pods_of_other_controllers_are_listed(
    api: str, kind: str, lines: list[str], expected: list[str]
) -> None:
    assert found(kind, *lines, api=api) == expected


def test_findings_are_kept_in_the_index() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: 1\n"
    index = index_file(text, "a.yml")

    assert FileIndex.from_json(index.to_json()) == index
