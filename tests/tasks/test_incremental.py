"""The rules of what runs again, each on a project of four workloads: cart, shelf, till, and the Coordinator."""

import json
import os
import shutil
from itertools import product
from pathlib import Path

import pytest

from contrast_tasks.client.before_set import read_deployed
from contrast_tasks.files import sha256_hex
from contrast_tasks.policy.rules import compact_rules
from contrast_tasks.settings.load import load_settings
from contrast_tasks.tasks.database import DATABASE, recorded_outputs
from tests.fakes.commands import Shown, Terminal
from tests.fakes.sweeps import rest_swept
from tests.fakes.workloads import (
    IMAGE,
    FakeProject,
    config_map,
    deployment,
    locked,
    service,
    stream,
)

EVERYTHING = {
    "<coordinator.yml>#StatefulSet/coordinator",
    "deployment/shop.yml#Deployment/cart",
    "deployment/shop.yml#Deployment/shelf",
    "deployment/till/till.yaml#Deployment/till",
}


def _generate(terminal: Terminal, *words: str) -> tuple[Shown, set[str], set[str]]:
    """Return what was shown, the workloads that ran, and everything else that ran."""
    shown = terminal.run("generate", "--output", "json", *words)
    assert shown.code == 0, shown
    ran = {
        task["name"]
        for task in json.loads(shown.out)["tasks"]
        if task["status"] in ("changed", "unchanged")
    }
    workloads = {name.removeprefix("workload:") for name in ran if name.startswith("workload:")}
    return shown, workloads, {name for name in ran if not name.startswith("workload:")}


def test_the_first_run_does_everything(terminal: Terminal, project: FakeProject) -> None:
    _, workloads, others = _generate(terminal)

    assert workloads == EVERYTHING
    assert {"check", "manifest", "output:deployment/shop.yml"} <= others
    assert sorted(project.outputs()) == [
        "build/check.json",
        "build/deployment/coordinator.yml",
        "build/deployment/shop.yml",
        "build/deployment/till/till.yaml",
        "build/policies/Deployment.cart.rego",
        "build/policies/Deployment.shelf.rego",
        "build/policies/Deployment.till.rego",
        "build/policies/StatefulSet.coordinator.rego",
        "build/workloads/Deployment.cart.json",
        "build/workloads/Deployment.shelf.json",
        "build/workloads/Deployment.till.json",
        "build/workloads/StatefulSet.coordinator.json",
        "manifest.json",
    ]


def test_set_parses_nothing_that_generate_wrote_but_the_coordinator(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    settings = load_settings(project.root, environ={})
    manifest = json.loads(project.read("manifest.json"))

    found = read_deployed(settings, (), print, recorded_outputs(project.root / DATABASE, "output"))

    assert {item.where.file for item in found.objects} == {"build/deployment/coordinator.yml"}
    assert found.policies.keys() == manifest["Policies"].keys()


def test_the_manifest_names_every_policy_by_its_hash(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)

    outputs = project.outputs()
    policies = json.loads(outputs["manifest.json"])["Policies"]
    assert sorted(policies) == sorted(
        sha256_hex(content) for name, content in outputs.items() if name.endswith(".rego")
    )


def test_touching_nothing_runs_nothing(terminal: Terminal, project: FakeProject) -> None:
    _generate(terminal)
    before = project.outputs()

    _, workloads, others = _generate(terminal)

    assert workloads == others == set()
    assert project.outputs() == before


def test_the_second_run_says_in_one_line_that_nothing_ran(terminal: Terminal) -> None:
    terminal.run("generate")

    shown = terminal.run("generate")

    assert (shown.code, shown.out) == (0, "")
    assert shown.err.startswith("up to date (4 workloads, 2 warnings, ")
    assert shown.err.count("\n") == 1


def test_a_new_time_without_new_content_runs_nothing(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    os.utime(project.root / "deployment/shop.yml", ns=(1, 1))

    _, workloads, others = _generate(terminal)

    assert workloads == others == set()


def test_editing_a_deployment_runs_that_workload_its_file_and_the_manifest(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    text = project.read("deployment/shop.yml")
    edited = text.replace("- name: shelf\n", "- name: shelf\n          args: [--new]\n")
    project.write("shop.yml", edited)

    _, workloads, others = _generate(terminal)

    assert workloads == {"deployment/shop.yml#Deployment/shelf"}
    assert others == {"check", "output:deployment/shop.yml", "manifest", "sources"} - (
        {"sources"} - others
    )


def test_editing_replicas_does_not_change_the_manifest(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    text = project.read("deployment/till/till.yaml").replace("replicas: 1", "replicas: 3")
    project.write("till/till.yaml", text)

    _, workloads, others = _generate(terminal)

    assert workloads == {"deployment/till/till.yaml#Deployment/till"}
    assert others == {"check", "output:deployment/till/till.yaml"}


def test_a_comment_between_documents_runs_the_file_only(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    project.write("shop.yml", "# for the reader\n" + project.read("deployment/shop.yml"))

    _, workloads, others = _generate(terminal)

    assert workloads <= {"deployment/shop.yml#Deployment/cart"}
    assert "manifest" not in others
    assert project.read("build/deployment/shop.yml").startswith("# for the reader\n")


def test_editing_a_config_map_runs_only_the_workloads_that_name_it(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    text = project.read("deployment/shop.yml").replace('apple: "1"', 'apple: "2"')
    project.write("shop.yml", text)

    _, workloads, _ = _generate(terminal)

    assert workloads == {
        "deployment/shop.yml#Deployment/cart",
        "deployment/till/till.yaml#Deployment/till",
    }


def test_new_content_under_the_old_time_is_noticed(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    path = project.root / "deployment/till/till.yaml"
    before = path.stat()
    replacement = path.with_suffix(".new")
    replacement.write_text(path.read_text().replace("replicas: 1", "replicas: 2"))
    os.utime(replacement, ns=(before.st_atime_ns, before.st_mtime_ns))
    replacement.rename(path)

    _, workloads, _ = _generate(terminal)

    assert workloads == {"deployment/till/till.yaml#Deployment/till"}


@pytest.mark.first(3)
@pytest.mark.parametrize(
    ("name", "ran"),
    [
        pytest.param("manifest.json", {"manifest"}, id="manifest"),
        pytest.param("build/check.json", {"check"}, id="check"),
        pytest.param("build/deployment/shop.yml", {"output:deployment/shop.yml"}, id="yaml"),
        pytest.param(
            "build/policies/Deployment.till.rego", {"output:deployment/till/till.yaml"}, id="policy"
        ),
        pytest.param(
            "build/workloads/Deployment.cart.json", {"output:deployment/shop.yml"}, id="record"
        ),
    ],
)
@pytest.mark.parametrize("deleted", [False, True], ids=["edited", "deleted"])
def test_an_output_changed_by_hand_is_made_again(
    terminal: Terminal, project: FakeProject, name: str, ran: set[str], *, deleted: bool
) -> None:
    _generate(terminal)
    before = project.outputs()
    path = project.root / name
    if deleted:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"e", b"E", 1))

    _, workloads, others = _generate(terminal)

    assert (workloads, others) == (set(), ran)
    assert project.outputs() == before


def test_removing_a_workload_removes_its_outputs(terminal: Terminal, project: FakeProject) -> None:
    _generate(terminal)
    project.write(
        "shop.yml", stream(deployment("cart", config="prices"), config_map("prices", apple="1"))
    )

    _generate(terminal)

    names = set(project.outputs())
    assert not any("shelf" in name for name in names)
    assert "build/policies/Deployment.cart.rego" in names
    assert b"shelf" not in project.outputs()["manifest.json"]
    assert len(list((project.root / ".contrast/store/workload").iterdir())) == 3


def test_removing_a_file_removes_its_outputs_and_empty_folders(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    (project.root / "deployment/till/till.yaml").unlink()

    _, workloads, _ = _generate(terminal)

    assert workloads == set()
    assert not (project.root / "build/deployment/till").exists()
    assert not any("till" in name for name in project.outputs())


def test_moving_a_workload_to_another_file_keeps_its_policy(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    before = project.outputs()
    (project.root / "deployment/till/till.yaml").rename(project.root / "deployment/moved.yml")

    _generate(terminal)

    after = project.outputs()
    assert after["manifest.json"] == before["manifest.json"]
    assert (
        after["build/policies/Deployment.till.rego"]
        == before["build/policies/Deployment.till.rego"]
    )
    assert "build/deployment/moved.yml" in after


def test_settings_of_one_workload_run_only_that_workload(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    project.settings('\n[workloads."Deployment/till"]\nsans = ["203.0.113.34"]\n')

    _, workloads, others = _generate(terminal)

    assert workloads == {"deployment/till/till.yaml#Deployment/till"}
    assert "manifest" in others
    assert b"203.0.113.34" in project.outputs()["manifest.json"]


def test_a_default_of_the_settings_runs_every_workload(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)

    _, workloads, _ = _generate(terminal, "--set", 'defaults.memory="96Mi"')

    assert workloads == EVERYTHING
    assert "memory: 96Mi" in project.read("build/deployment/shop.yml")


def test_another_image_in_the_lock_runs_the_workloads_that_use_it(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    project.lock(locked(IMAGE, env=("NEW=1",)))

    _, workloads, _ = _generate(terminal)

    assert workloads == EVERYTHING - {"<coordinator.yml>#StatefulSet/coordinator"}


def test_a_service_account_reaches_the_workloads_that_use_it(
    terminal: Terminal, project: FakeProject
) -> None:
    text = project.read("deployment/shop.yml").replace(
        "      containers:\n        - name: shelf",
        "      serviceAccountName: own\n      containers:\n        - name: shelf",
    )
    project.write("shop.yml", text)
    _generate(terminal)
    account = (
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: default\n"
        "automountServiceAccountToken: false\n"
    )
    project.write("account.yml", account)

    _, workloads, _ = _generate(terminal)

    assert workloads == {
        "deployment/shop.yml#Deployment/cart",
        "deployment/till/till.yaml#Deployment/till",
    }
    assert (
        b"serviceaccount"
        not in project.outputs()["build/policies/Deployment.till.rego"].rpartition(
            b"\npolicy_version"
        )[2]
    )


def _entries(project: FakeProject, kind: str) -> list[Path]:
    found = list((project.root / ".contrast/store" / kind).iterdir())
    assert found
    return found


@pytest.mark.first(3)
@pytest.mark.parametrize(
    ("name", "content"),
    rest_swept(
        product(
            [
                "doit.db",
                *(
                    f"store/{kind}"
                    for kind in ("index", "code", "keys", "sources", "accepted", "check")
                ),
            ],
            [b"", b"garbage", b'{"version": 1}'],
        ),
        kept=lambda _name, content: content == b"garbage",
    ),
)
def test_state_that_cannot_be_read_is_made_anew(
    terminal: Terminal, project: FakeProject, name: str, content: bytes
) -> None:
    _generate(terminal)
    before = project.outputs()
    place = project.root / ".contrast" / name
    for path in place.iterdir() if place.is_dir() else [place]:
        path.write_bytes(content)

    _generate(terminal)

    assert project.outputs() == before
    assert _generate(terminal)[1:] == (set(), set())


def test_what_was_known_before_does_not_change_the_bytes(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    shop, sans = (
        project.read("deployment/shop.yml"),
        '\n[workloads."Deployment/shelf"]\nsans = ["{}"]\n',
    )
    project.settings(sans.format("203.0.113.7"))
    _generate(terminal)
    project.write("shop.yml", shop.replace("replicas: 1", "replicas: 1 # more", 1))
    _generate(terminal)
    project.settings(sans.format("203.0.113.8"))
    _generate(terminal)
    step_by_step = project.outputs()

    for path in sorted((project.root / ".contrast").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    _generate(terminal)

    assert project.outputs() == step_by_step
    assert b"203.0.113.8" in step_by_step["manifest.json"]


def test_heads_that_were_tampered_with_are_not_used(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    before = project.outputs()
    [accepted] = _entries(project, "accepted")
    accepted.write_bytes(accepted.read_bytes().replace(b'"cart"', b'"evil"'))
    (project.root / "build/check.json").unlink()

    _generate(terminal)

    assert project.outputs() == before


def test_a_warning_about_an_entry_is_told_also_when_another_workload_changes(
    terminal: Terminal, project: FakeProject
) -> None:
    # With owners, so that nothing else is found: then only new entries are checked.
    owners = {"owners.seedshare": '["seedshare.pem"]', "owners.disable_updates": "false"}
    shelf = '\n[workloads."Deployment/shelf"]\nsans = ["https://a%zz"]\n'
    project.settings(shelf, **owners)
    assert "warning[M015 unsound-san]" in terminal.run("generate").err
    project.settings(f'{shelf}[workloads."Deployment/cart"]\nsans = ["cart.example"]\n', **owners)

    shown = terminal.run("generate")

    assert "generated 1 of 4 workloads" in shown.err
    assert "warning[M015 unsound-san]" in shown.err


def test_two_workloads_that_come_to_share_a_secret_are_told(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    project.settings(
        '\n[workloads."Deployment/shelf"]\nsecret_id = "apps/v1/Deployment/default/cart"\n'
    )

    shown = terminal.run("generate")

    assert shown.code == 0
    assert "warning[M017 shared-secret-id]" in shown.err


@pytest.mark.parametrize("damage", ["absent", "[{}]", "no json"])
def test_facts_that_cannot_be_read_are_taken_from_the_source(
    terminal: Terminal, project: FakeProject, damage: str
) -> None:
    _generate(terminal)
    before = project.outputs()
    for path in _entries(project, "facts"):
        path.unlink() if damage == "absent" else path.write_text(damage)
    for path in _entries(project, "sources"):
        path.unlink()

    _generate(terminal)

    assert project.outputs() == before


def test_facts_of_sources_that_are_gone_do_not_stay(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    gone = "deployment/till/till.yaml"
    assert any(gone in path.read_text() for path in _entries(project, "facts"))
    (project.root / gone).unlink()
    project.write("new.yml", deployment("new"))

    _generate(terminal)

    assert not any(gone in path.read_text() for path in _entries(project, "facts"))


def test_without_any_state_the_cache_gives_the_same_outputs(
    terminal: Terminal, project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    _generate(terminal)
    before = project.outputs()
    for path in sorted((project.root / ".contrast").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    monkeypatch.setattr("contrast_tasks.steps.policies.derive", _refuse)

    _, workloads, _ = _generate(terminal)

    assert workloads == EVERYTHING
    assert project.outputs() == before


def test_a_damaged_cache_entry_is_not_used(
    terminal: Terminal, project: FakeProject, tmp_path: Path
) -> None:
    _generate(terminal)
    before = project.outputs()
    for path in (tmp_path / "cache/workload").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    for path in _entries(project, "workload"):
        path.unlink()

    _generate(terminal)

    assert project.outputs() == before


@pytest.mark.parametrize("is_damaged", [False, True], ids=["kept", "damaged"])
def test_rules_are_shortened_again_only_if_what_was_kept_is_damaged(
    terminal: Terminal,
    project: FakeProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_damaged: bool,
) -> None:
    _generate(terminal)
    before = project.outputs()
    for path in [*(tmp_path / "cache/workload").iterdir(), *_entries(project, "workload")]:
        path.unlink()
    for path in _entries(project, "rules") if is_damaged else []:
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    asked: list[frozenset[str]] = []
    monkeypatch.setattr(
        "contrast_tasks.policy.rules.compact_rules",
        lambda parts: asked.append(parts) or compact_rules(parts),
    )

    _generate(terminal)

    assert bool(asked) == is_damaged
    assert project.outputs() == before


@pytest.mark.parametrize("is_damaged", [False, True], ids=["removed", "damaged"])
def test_a_result_that_is_not_intact_is_made_again(
    terminal: Terminal, project: FakeProject, *, is_damaged: bool
) -> None:
    _generate(terminal)
    [till] = [
        path for path in _entries(project, "workload") if b'"name":"till"' in path.read_bytes()
    ]
    path_content = till.read_bytes()
    till.unlink()
    if is_damaged:
        till.write_bytes(path_content[:-1] + b"!")

    _, workloads, _ = _generate(terminal)

    assert workloads == {"deployment/till/till.yaml#Deployment/till"}
    assert till.read_bytes() == path_content


def test_results_of_no_use_are_removed(terminal: Terminal, project: FakeProject) -> None:
    _generate(terminal)
    store = project.root / ".contrast/store"
    before = sorted(path.name for path in store.rglob("*") if path.is_file())
    text = project.read("contrast.toml")
    project.settings('\n[workloads."Deployment/till"]\nsans = ["203.0.113.34"]\n')
    _generate(terminal)
    assert terminal.run("lint", "--fail-on", "note").code == 0
    (project.root / "contrast.toml").write_text(text)

    _generate(terminal)

    assert sorted(path.name for path in store.rglob("*") if path.is_file()) == before


def test_another_platform_after_a_first_one_has_its_keys(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    lines = project.read("contrast.toml").splitlines(keepends=True)
    without = "".join(line for line in lines if not line.startswith("components"))
    (project.root / "contrast.toml").write_text(without)

    shown = terminal.run("generate", "--reference-values", "local")

    assert shown.code == 0, shown
    assert "simulated" in project.read("manifest.json")


def test_always_runs_everything_and_changes_nothing(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    before = project.outputs()

    _, workloads, _ = _generate(terminal, "--always")

    assert workloads == EVERYTHING
    assert project.outputs() == before


def test_sources_are_never_written(terminal: Terminal, project: FakeProject) -> None:
    before = {path: path.read_bytes() for path in (project.root / "deployment").rglob("*.y*ml")}
    _generate(terminal)

    assert {path: path.read_bytes() for path in before} == before


def test_two_processes_give_the_same_outputs_as_one(
    terminal: Terminal, project: FakeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _generate(terminal, "--processes", "1")
    before = project.outputs()
    monkeypatch.setenv("CONTRAST_CACHE_DIR", str(tmp_path / "other"))

    _, workloads, _ = _generate(terminal, "--always", "--processes", "2")

    assert workloads == EVERYTHING
    assert project.outputs() == before


def test_nothing_is_half_updated_when_one_workload_has_an_error(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    before = project.outputs()
    good = project.read("deployment/till/till.yaml").replace(
        "name: till\n          image", "name: till\n          args: [--new]\n          image"
    )
    project.write("till/till.yaml", good)
    bad = project.read("deployment/shop.yml").replace(
        "- name: shelf\n", "- name: shelf\n          resources: {requests: {memory: 1Mi}}\n"
    )
    project.write("shop.yml", bad)

    shown = terminal.run("generate")

    assert shown.code == 12
    assert project.outputs() == before


def test_a_rule_over_the_whole_manifest_stops_everything(
    terminal: Terminal, project: FakeProject
) -> None:
    _generate(terminal)
    before = project.outputs()
    (project.root / "deployment/extra.yml").write_text(
        stream(deployment("extra"), service("extra"))
    )

    shown = terminal.run("generate", "--set", "coordinator.include=false")

    assert shown.code == 12
    assert "G061" in shown.err
    assert project.outputs() == before


def _refuse(*arguments: object) -> None:
    raise AssertionError("derived although it is in the cache")


def test_a_source_becomes_a_folder_of_sources_and_a_file_again(
    terminal: Terminal, project: FakeProject
) -> None:
    assert terminal.run("generate").code == 0
    place = project.root / "deployment/shop.yml"
    text = place.read_text()

    place.unlink()
    project.write("shop.yml/all.yml", text)
    folder = terminal.run("generate")
    as_folder = (project.root / "build/deployment/shop.yml/all.yml").is_file()
    shutil.rmtree(place)
    place.write_text(text)
    file = terminal.run("generate")

    assert (folder.code, as_folder, file.code) == (0, True, 0)
    assert (project.root / "build/deployment/shop.yml").is_file()
