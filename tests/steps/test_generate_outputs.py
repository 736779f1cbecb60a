"""What `generate` leaves behind: the annotated YAML, the records, the policies, check.json and the manifest agree."""

import base64
import json

import pytest
import yaml

from contrast_tasks.files import sha256_hex
from contrast_tasks.schema import validate
from tests.fakes.commands import Terminal
from tests.fakes.workloads import IMAGE, FakeProject, config_map, deployment, locked, stream

POLICY = "io.katacontainers.config.agent.policy"


def _generate(terminal: Terminal, *words: str) -> None:
    shown = terminal.run("generate", *words)
    assert shown.code == 0, shown.err


def _documents(project: FakeProject, name: str) -> list[dict[str, object]]:
    return [document for document in yaml.safe_load_all(project.read(name)) if document]


def _template(project: FakeProject, name: str, position: int) -> dict[str, object]:
    document = _documents(project, name)[position]
    template: dict[str, object] = document["spec"]["template"]  # type: ignore[index]
    return template


def test_annotation_policy_file_record_and_manifest_are_of_one_policy(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)

    metadata = _template(project, "build/deployment/till/till.yaml", 0)["metadata"]
    policy = base64.b64decode(metadata["annotations"][POLICY], validate=True)  # type: ignore[index]
    record = json.loads(project.read("build/workloads/Deployment.till.json"))
    manifest = json.loads(project.read("manifest.json"))
    assert policy == project.outputs()["build/policies/Deployment.till.rego"]
    assert record["policy_sha256"] == sha256_hex(policy)
    assert manifest["Policies"][sha256_hex(policy)] == {
        "SANs": ["till", "*"],
        "WorkloadSecretID": "apps/v1/Deployment/default/till",
    }


def test_records_keep_their_schema_and_name_the_place_in_the_source(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)

    record = json.loads(project.read("build/workloads/Deployment.shelf.json"))
    assert validate(record, "record") == []
    assert (record["file"], record["document"], record["line"]) == ("deployment/shop.yml", 2, 33)


def test_every_file_that_is_left_behind_keeps_its_schema(
    terminal: Terminal, project: FakeProject
) -> None:
    project.write("sa.yml", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n")
    project.write("argo.yml", deployment("argo").replace("apps/v1", "argoproj.io/v1"))

    _generate(terminal)

    for name, schema in (
        ("build/check.json", "check"),
        ("manifest.json", "manifest"),
        ("contrast.lock", "lock"),
    ):
        assert validate(json.loads(project.read(name)), schema) == [], name


def test_the_coordinator_has_its_role_and_neither_initializer_nor_mesh(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)

    record = json.loads(project.read("build/workloads/StatefulSet.coordinator.json"))
    manifest = json.loads(project.read("manifest.json"))
    assert record["role"] == "coordinator"
    assert manifest["Policies"][record["policy_sha256"]]["Role"] == "coordinator"
    assert "contrast-initializer" not in project.read("build/deployment/coordinator.yml")


def test_images_are_pinned_and_comments_and_other_documents_are_kept(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)

    text = project.read("build/deployment/shop.yml")
    assert f"image: {IMAGE}@{locked(IMAGE).digest} # the image of shelf\n" in text
    assert "kind: Service\nmetadata:\n  name: cart\n" in text
    assert [document["kind"] for document in _documents(project, "build/deployment/shop.yml")] == [
        "Deployment",
        "Service",
        "Deployment",
        "ConfigMap",
    ]


def test_an_image_that_has_a_digest_stays_as_it_is_written(
    terminal: Terminal, project: FakeProject
) -> None:
    pinned = f"shop/app@{locked(IMAGE).digest}"
    text = project.read("deployment/till/till.yaml").replace(IMAGE, pinned)
    project.write("till/till.yaml", text)

    _generate(terminal)

    assert f"image: {pinned} # the image of till\n" in project.read(
        "build/deployment/till/till.yaml"
    )


def test_a_workload_that_is_not_confidential_passes_through_unchanged(
    terminal: Terminal, project: FakeProject
) -> None:
    text = project.read("deployment/till/till.yaml").replace(IMAGE, "elsewhere/unlocked:v9")
    project.write("till/till.yaml", text)

    _generate(terminal, "--set", 'workloads."Deployment/till".runtime_class=false')

    assert project.read("build/deployment/till/till.yaml") == text
    assert not (project.root / "build/workloads/Deployment.till.json").exists()
    findings = json.loads(project.read("build/check.json"))["findings"]
    assert "G004" in {finding["code"] for finding in findings}


def test_a_mesh_annotation_that_comes_to_stand_on_a_service_stops_everything(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    text = project.read("deployment/shop.yml")
    mark = "kind: Service\nmetadata:\n  annotations:\n    contrast.edgeless.systems/servicemesh-ingress: ''\n"
    project.write("shop.yml", text.replace("kind: Service\nmetadata:\n", mark))

    shown = terminal.run("generate")

    assert shown.code == 12
    assert "deployment/shop.yml:26: error[G110 annotation-place]: Service/cart" in shown.err


def test_a_secret_that_is_not_base64_is_named_where_it_stands(
    terminal: Terminal, project: FakeProject
) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: keys\ndata:\n  A: abc\n"
    project.write("keys.yml", secret)
    uses = "          envFrom: [{secretRef: {name: keys}}]\n"
    project.write("box.yml", deployment("box", extra=uses))

    shown = terminal.run("generate")

    assert shown.code == 12
    assert shown.err.count("deployment/keys.yml:6: error[G012 field-type]: Secret/keys") == 1
    assert "bug" not in shown.err


def test_what_stands_in_a_broken_file_does_not_hide_a_misplaced_annotation(
    terminal: Terminal, project: FakeProject
) -> None:
    project.write("bad.yml", "a: [\n")
    mark = "  annotations: {contrast.edgeless.systems/servicemesh-ingress: ''}\n"
    project.write("map.yml", config_map("map").replace("\ndata:\n", f"\n{mark}"))

    shown = terminal.run("generate")

    assert "deployment/bad.yml:2:1: error[G003" in shown.err
    assert "deployment/map.yml:5: error[G110" in shown.err


def test_values_of_config_maps_are_in_the_policy(terminal: Terminal, project: FakeProject) -> None:
    _generate(terminal)

    assert "`apple`:`1`" in project.read("build/policies/Deployment.till.rego")
    assert "apple" not in project.read("build/policies/Deployment.shelf.rego")


@pytest.mark.parametrize(
    ("annotation", "declared", "wanted"),
    [
        pytest.param("", "", "apps/v1/Deployment/default/till", id="default"),
        pytest.param("mine", "", "mine", id="annotation"),
        pytest.param("", "theirs", "theirs", id="settings"),
    ],
)
def test_the_secret_id_is_declared_annotated_or_the_default(
    terminal: Terminal, project: FakeProject, annotation: str, declared: str, wanted: str
) -> None:
    text = project.read("deployment/till/till.yaml")
    if annotation:
        mark = f"metadata:\n      annotations:\n        contrast.edgeless.systems/workload-secret-id: {annotation}\n"
        text = text.replace("metadata:\n      labels", f"{mark}      labels")
    project.write("till/till.yaml", text)
    words = ["--set", f'workloads."Deployment/till".secret_id="{declared}"'] if declared else []

    _generate(terminal, *words)

    record = json.loads(project.read("build/workloads/Deployment.till.json"))
    assert record["workload_secret_id"] == wanted


def test_equal_names_in_two_namespaces_are_two_workloads(
    terminal: Terminal, project: FakeProject
) -> None:
    other = deployment("shelf").replace(
        "  name: shelf\nspec:", "  name: shelf\n  namespace: north\nspec:"
    )
    project.write("north.yml", other)

    _generate(terminal)

    names = {name for name in project.outputs() if "shelf" in name and name.endswith(".json")}
    assert names == {
        "build/workloads/Deployment.shelf.json",
        "build/workloads/north.Deployment.shelf.json",
    }
    assert json.loads(project.read("build/check.json"))["policies"] == 5


def test_the_initializer_finds_a_coordinator_in_another_namespace(
    terminal: Terminal, project: FakeProject
) -> None:
    other = deployment("shelf").replace(
        "  name: shelf\nspec:", "  name: shelf\n  namespace: north\nspec:"
    )
    project.write("north.yml", other)
    project.settings(**{"runtime.release": '"v1.16.0"'})

    _generate(terminal)

    assert "value: coordinator-ready.default\n" in project.read("build/deployment/north.yml")


def test_findings_keep_their_lines_when_the_document_moves(
    terminal: Terminal, project: FakeProject
) -> None:
    setup = (
        f"      initContainers:\n        - name: setup\n          image: {IMAGE}\n"
        "          resources:\n            limits:\n              memory: 9Mi\n"
    )
    text = deployment("shelf", extra=setup)
    project.write("shop.yml", text)
    (project.root / "deployment/till/till.yaml").unlink()
    first = terminal.run("generate")
    project.write("shop.yml", f"# one\n# two\n{text}")

    second = terminal.run("generate")

    assert "deployment/shop.yml:23: warning[G031 memory-limit-ignored]" in first.err
    assert "deployment/shop.yml:25: warning[G031 memory-limit-ignored]" in second.err


def test_the_check_tells_what_was_looked_at(terminal: Terminal, project: FakeProject) -> None:
    _generate(terminal)

    check = json.loads(project.read("build/check.json"))
    assert check["workloads"] == check["policies"] == 4
    assert check["manifest_sha256"] == sha256_hex(project.outputs()["manifest.json"])
    assert check["missing"] == []


def test_a_file_in_the_output_folder_that_nobody_generates_is_removed(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    (project.root / "build/deployment/stray.yml").write_text("kind: Secret\n")
    (project.root / "build/images").mkdir()
    (project.root / "build/images/kept").write_text("")
    project.write("new.yml", stream(deployment("new")))

    _generate(terminal)

    assert not (project.root / "build/deployment/stray.yml").exists()
    assert (project.root / "build/images/kept").exists()


def test_a_folder_with_files_of_others_is_not_taken_for_outputs(
    terminal: Terminal, project: FakeProject
) -> None:
    theirs = project.root / "theirs/deployment/app.yml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("kind: Mine\n")

    shown = terminal.run("generate", "--set", 'build_dir="theirs"')

    assert shown.code == 3
    assert "found theirs/deployment/app.yml, which generate did not write" in shown.err
    assert [path.name for path in (project.root / "theirs").rglob("*.*")] == ["app.yml"]
    assert not (project.root / "manifest.json").exists()


def test_settings_with_a_byte_order_mark_are_read(terminal: Terminal, project: FakeProject) -> None:
    path = project.root / "contrast.toml"
    path.write_text("\ufeff" + path.read_text())

    _generate(terminal)


def test_two_coordinators_are_refused_naming_both(terminal: Terminal, project: FakeProject) -> None:
    terminal.run("coordinator", "--write", "deployment/one.yml")
    text = project.read("deployment/one.yml").replace("name: coordinator", "name: second")
    project.write("two.yml", text)

    shown = terminal.run("generate")

    assert shown.code == 12
    assert "error[G061 several-coordinators]" in shown.err
    assert "deployment/one.yml" in shown.err


def test_no_confidential_workload_at_all_is_refused(
    terminal: Terminal, project: FakeProject
) -> None:
    shown = terminal.run("generate", "--set", "defaults.runtime_class=false")

    assert shown.code == 12
    assert "error[G002 no-workload]" in shown.err


def test_a_list_of_workloads_is_annotated_inside_the_list(
    terminal: Terminal, project: FakeProject
) -> None:
    body = "".join(f"    {line}\n" for line in deployment("shelf").splitlines())
    item = body.replace("    apiVersion", "  - apiVersion", 1)
    project.write("shop.yml", f"apiVersion: v1\nkind: List\nitems:\n{item}")
    (project.root / "deployment/till/till.yaml").unlink()

    _generate(terminal)

    [document] = _documents(project, "build/deployment/shop.yml")
    [workload] = document["items"]  # type: ignore[misc]
    assert POLICY in workload["spec"]["template"]["metadata"]["annotations"]


def test_a_finding_in_the_settings_is_shown_at_the_line_the_key_has_now(
    terminal: Terminal, project: FakeProject
) -> None:
    table = '\n[workloads."Deployment/till"]\nsans = []\ningress = "till#8080#F"\n'
    project.settings(more=table)
    first = terminal.run("lint")
    line = 1 + project.read("contrast.toml").splitlines().index('ingress = "till#8080#F"')
    project.settings(more=f"\n# a comment{table}")

    second = terminal.run("lint")

    assert f"contrast.toml:{line}: warning[G040 mesh-flag]" in first.err + first.out
    assert f"contrast.toml:{line + 1}: warning[G040 mesh-flag]" in second.err + second.out


def test_a_record_holds_no_line_of_the_settings(terminal: Terminal, project: FakeProject) -> None:
    project.settings(more='\n[workloads."Deployment/till"]\ningress = "till#8080#F"\n')

    _generate(terminal)

    record = json.loads(project.read("build/workloads/Deployment.till.json"))
    places = [finding["where"] for finding in record["findings"] if finding["rule"] == "mesh-flag"]
    assert validate(record, "record") == []
    assert places == [{"file": "contrast.toml", "pointer": "/workloads/Deployment~1till/ingress"}]


def test_a_manifest_that_was_edited_by_hand_is_written_anew_with_a_warning(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    before = project.read("manifest.json")
    edited = before.replace('"till",', '"till",\n        "203.0.113.34",')
    (project.root / "manifest.json").write_text(edited)

    shown = terminal.run("generate")

    assert edited != before
    assert project.read("manifest.json") == before
    assert (
        "warning: manifest.json had been edited by hand, and what was changed there is gone\n"
        "  hint: declare SANs, secret IDs and reference values in contrast.toml\n"
    ) in shown.err


def test_a_manifest_that_follows_the_sources_is_written_without_a_warning(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    project.settings(more='\n[workloads."Deployment/till"]\nsans = ["203.0.113.34"]\n')

    shown = terminal.run("generate")

    assert "203.0.113.34" in project.read("manifest.json")
    assert "edited" not in shown.err
