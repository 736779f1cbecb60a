"""Findings answered in contrast.toml: what `lint --fix` shows and writes, and what is ignored with a reason."""

import json
import shutil
import tomllib

import pytest
import yaml

from contrast_tasks.settings.edit import Change, with_changes
from tests.fakes.commands import Terminal
from tests.fakes.workloads import FakeProject, deployment, service, stream

UNEQUAL = "          resources: {requests: {memory: 64Mi}, limits: {memory: 500Mi, cpu: 500m}}\n"
# What a vendor writes that no confidential pod can have, and that is answered without a loss.
SHOP = stream(
    deployment("web", extra=UNEQUAL),
    deployment("cart", extra=UNEQUAL),
    deployment("caps", extra="          securityContext: {capabilities: {add: [CAP_NET_ADMIN]}}\n"),
)
# What costs something: files of the node, a field without meaning in a guest, a Secret that nobody has.
NODE = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: monitoring}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      hostPID: true
      containers:
        - name: agent
          image: shop/app:v1
          env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: token, key: t}}}]
          volumeMounts: [{name: logs, mountPath: /logs}]
      volumes: [{name: logs, hostPath: {path: /var/log}}]
"""


@pytest.fixture(autouse=True)
def alone(project: FakeProject) -> None:
    """Leave only what a test writes."""
    shutil.rmtree(project.root / "deployment")


@pytest.fixture
def shop(project: FakeProject) -> FakeProject:
    project.settings()
    project.write("shop.yml", SHOP)
    return project


def toml(project: FakeProject) -> dict[str, object]:
    return tomllib.loads(project.read("contrast.toml"))


def test_answers_are_shown_and_nothing_is_written(terminal: Terminal, shop: FakeProject) -> None:
    before = shop.read("contrast.toml")

    shown = terminal.run("lint", "--fix")

    assert shown.code == 12
    assert tomllib.loads(shown.out) == {
        "defaults": {"fit_memory": True, "cpu_limits": False},
        "workloads": {
            "Deployment/caps": {"containers": {"caps": {"add_capabilities": ["NET_ADMIN"]}}}
        },
    }
    assert (
        "# memory request and limit of a main container differ (deployment/shop.yml:" in shown.out
    )
    assert shop.read("contrast.toml") == before


def test_written_answers_leave_nothing_to_say_and_comments_where_they_were(
    terminal: Terminal, shop: FakeProject
) -> None:
    source = shop.read("deployment/shop.yml")
    path = shop.root / "contrast.toml"
    path.write_text("# ours\n" + path.read_text())

    first = terminal.run("lint", "--fix", "--write")
    text = shop.read("contrast.toml")
    second = terminal.run("lint", "--fix", "--write")

    assert "wrote contrast.toml: 3 settings" in first.err
    assert (first.code, second.code) == (0, 0)
    assert text.startswith("# ours\n")
    assert shop.read("contrast.toml") == text
    assert terminal.run("generate").code == 0
    web = next(yaml.safe_load_all(shop.read("build/deployment/shop.yml")))
    (container,) = web["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {
        "limits": {"memory": "500Mi"},
        "requests": {"memory": "500Mi", "cpu": "500m"},
    }
    assert shop.read("deployment/shop.yml") == source


def test_a_folder_that_cannot_be_written_is_checked_all_the_same(
    terminal: Terminal, shop: FakeProject
) -> None:
    usual = terminal.run("lint")
    shutil.rmtree(shop.root / ".contrast")
    # No folder can be made of this name, by root neither.
    shop.root.joinpath(".contrast").write_text("")
    before = sorted(shop.root.rglob("*"))

    apart = terminal.run("lint")

    assert apart.err == (
        ".contrast cannot be written (file exists): what earlier runs know is not used, and nothing is kept\n"
        + usual.err
    )
    assert sorted(shop.root.rglob("*")) == before


def test_what_is_not_locked_is_told_by_the_name_of_the_lock_file_wherever_it_was_looked_for(
    terminal: Terminal, shop: FakeProject
) -> None:
    shop.root.joinpath(".contrast").write_text("")
    (shop.root / "contrast.lock").unlink()

    shown = terminal.run("lint", "--output", "json")

    assert "found no entry for it in contrast.lock" in shown.out
    assert json.loads(shown.out)["result"]["unlocked"] == ["shop/app:v1"]
    assert (
        "1 image not locked: what users, volumes and programs of images need is found after"
        " 'contrast-tasks lock'\n"
    ) in terminal.run("lint").err
    assert "contrast-" not in shown.out.replace("contrast-tasks", "").replace("contrast-cc", "")


def test_what_costs_something_is_left_to_the_user(terminal: Terminal, shop: FakeProject) -> None:
    shop.write("node.yml", NODE)

    shown = terminal.run("lint", "--fix", "--write")

    assert shown.code == 12
    assert all(line.startswith("#") for line in shown.out.splitlines())
    lines = [line.removeprefix("# ") for line in shown.out.splitlines()[1:]]
    choices = tomllib.loads("\n".join(lines))
    assert choices == {
        "elsewhere": {"monitoring/Secret/token": {}},
        "workloads": {
            "monitoring/DaemonSet/agent": {"empty_dirs": ["logs"], "remove": ["hostPID"]}
        },
    }

    path = shop.root / "contrast.toml"
    path.write_text(path.read_text() + "\n".join(lines))

    assert terminal.run("lint").code == 0
    assert terminal.run("generate").code == 0


def test_what_would_answer_a_warning_is_shown_and_never_written(
    terminal: Terminal, shop: FakeProject
) -> None:
    shop.write("shop.yml", stream(deployment("web"), service("web").replace("-pods", "")))
    before = shop.read("contrast.toml")

    shown = terminal.run("lint", "--fix", "--write")
    document = json.loads(terminal.run("lint", "--fix", "--output", "json").out)

    assert shown.code == 0
    head, *lines = shown.out.splitlines()
    assert head == "# Warnings, which may stay as they are, would be answered by these:"
    assert tomllib.loads("\n".join(line.removeprefix("# ") for line in lines)) == {
        "workloads": {"Deployment/web": {"ingress": ""}}
    }
    assert shop.read("contrast.toml") == before
    assert "'contrast-tasks lint --fix' shows what answers 1 finding" in terminal.run("lint").err
    assert document["result"]["choices"] == []
    assert document["result"]["optional"][0]["path"] == ["workloads", "Deployment/web", "ingress"]

    (shop.root / "contrast.toml").write_text(
        before + "\n".join(line.removeprefix("# ") for line in lines)
    )

    assert terminal.run("lint", "--fail-on", "note").code == 0


def test_where_all_keys_become_variables_both_rounds_tell_how_to_name_them(
    terminal: Terminal, shop: FakeProject
) -> None:
    shop.write(
        "shop.yml",
        deployment("web", config="flags").replace("name: web\n", "name: web\n  namespace: eu\n", 1),
    )
    wanted = (
        'keys = ["NAME", ...] in [elsewhere."eu/ConfigMap/flags"],'
        " as 'kubectl describe configmap/flags --namespace eu' lists them\n"
    )

    first = terminal.run("lint")
    path = shop.root / "contrast.toml"
    path.write_text(path.read_text() + '[elsewhere."eu/ConfigMap/flags"]\n')
    second = terminal.run("lint")
    path.write_text(path.read_text() + 'keys = ["FLAG"]\n')

    assert (first.code, second.code) == (12, 12)
    assert wanted in first.err
    assert wanted in second.err
    assert terminal.run("lint").code == 0


def test_a_workload_whose_name_is_generated_has_settings_too(
    terminal: Terminal, shop: FakeProject
) -> None:
    shop.write(
        "shop.yml",
        "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: migrate-, namespace: eu}\n"
        "spec: {template: {spec: {restartPolicy: Never, containers: [{name: m, image: 'shop/app:v1',"
        " resources: {limits: {memory: 100Mi}, requests: {memory: 50Mi}}}]}}}\n",
    )

    shown = terminal.run("lint", "--fix", "--write")

    assert shown.code == 0
    assert toml(shop)["workloads"] == {"eu/Job/migrate-": {"fit_memory": True}}


def test_programs_get_the_answers_too(terminal: Terminal, shop: FakeProject) -> None:
    document = json.loads(terminal.run("lint", "--fix", "--output", "json").out)

    assert {
        "path": ["defaults", "cpu_limits"],
        "value": False,
    }.items() <= next(
        each for each in document["result"]["settings"] if "cpu_limits" in each["path"]
    ).items()
    assert document["result"]["choices"] == []


@pytest.mark.parametrize("table", ["Deployment/web", "Deployment/w*"])
def test_a_workload_that_says_otherwise_gets_its_own_answer(
    terminal: Terminal, shop: FakeProject, table: str
) -> None:
    shop.settings(f'[workloads."{table}"]\ncpu_limits = true\n')

    terminal.run("lint", "--fix", "--write")

    assert toml(shop)["workloads"]["Deployment/web"]["cpu_limits"] is False  # type: ignore[index]


def test_write_alone_is_refused(terminal: Terminal, shop: FakeProject) -> None:
    assert terminal.run("lint", "--write").code == 2


IGNORE = '[[lint.ignore]]\nrule = "{rule}"\nworkloads = "{workloads}"\nreason = "looked at"\n'


def test_an_error_that_harms_nobody_can_be_ignored(
    terminal: Terminal, project: FakeProject
) -> None:
    text = UNEQUAL.replace(", cpu: 500m", "")
    project.write("shop.yml", stream(deployment("web", extra=text), deployment("cart", extra=text)))
    project.settings(IGNORE.format(rule="memory-request", workloads="Deployment/w*"))

    shown = terminal.run("lint")

    assert shown.code == 12
    assert "Deployment/cart: container" in shown.err
    assert "Deployment/web: container" not in shown.err

    project.settings(IGNORE.format(rule="G030", workloads="*"))

    assert terminal.run("lint").code == 0
    assert terminal.run("generate").code == 0
    found = json.loads(project.read("build/check.json"))["findings"]
    assert [each["rule"] for each in found if each["code"][0] == "G"] == []


@pytest.mark.parametrize(
    ("rule", "code", "said"),
    [
        ("volume-type", 12, "error[G008 ignore-refused]"),
        ("memory-requests", 12, "did you mean 'memory-request'?"),
        ("G217", 0, "warning[G007 unused-setting]"),
    ],
)
def test_what_must_not_be_ignored_or_is_not_there_is_said(
    terminal: Terminal, project: FakeProject, rule: str, code: int, said: str
) -> None:
    project.write("shop.yml", deployment("web"))
    project.settings(IGNORE.format(rule=rule, workloads="*"))

    shown = terminal.run("lint")

    assert shown.code == code
    assert said in shown.err
    assert "contrast.toml:" in shown.err


def test_a_pattern_that_matches_nothing_is_a_warning_with_a_suggestion(
    terminal: Terminal, project: FakeProject
) -> None:
    project.write("shop.yml", deployment("web"))
    project.settings('[workloads."Deployment/wep-*"]\nuser = "1"\n')

    shown = terminal.run("lint")

    assert shown.code == 0
    assert "warning[G006 unknown-workload]: settings for Deployment/wep-*" in shown.err
    assert "did you mean 'Deployment/web'?" in shown.err


DATABASE = """\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers:
        - name: db
          image: shop/app:v1
          volumeMounts: [{name: data, mountPath: /var/lib/db, subPath: db}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec:
        accessModes: [MODE]
        resources: {requests: {storage: 1Gi}}
"""


def taken(terminal: Terminal, project: FakeProject) -> list[dict[str, object]]:
    """Write what is certain, then the choices, until there is none; return them."""
    found: list[dict[str, object]] = []
    for _ in range(3):
        document = json.loads(terminal.run("lint", "--fix", "--write", "--output", "json").out)
        choices = document["result"]["choices"]
        found += [{"path": each["path"], "value": each["value"]} for each in choices]
        changes = [Change(tuple(each["path"]), each["value"]) for each in choices]
        path = project.root / "contrast.toml"
        path.write_text(with_changes(path.read_text(), changes))
    return found


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("mode", "choices"),
    [
        ("ReadWriteOnce", {"remove": ["containers.db.volumeMounts.data.subPath"]}),
        (
            "ReadWriteMany",
            {"empty_dirs": ["data"], "remove": ["containers.db.volumeMounts.data.subPath"]},
        ),
    ],
)
def test_a_database_of_a_vendor_comes_to_a_policy_by_settings(
    terminal: Terminal, project: FakeProject, mode: str, choices: dict[str, list[str]]
) -> None:
    project.settings()
    text = project.read("contrast.toml").replace("reference = true, ", "")
    (project.root / "contrast.toml").write_text(text.replace('"160Mi"', '"400Mi"'))
    project.write("db.yml", DATABASE.replace("MODE", mode))

    found = taken(terminal, project)

    assert {each["path"][-1]: each["value"] for each in found} == choices  # type: ignore[index]
    assert terminal.run("generate").code == 0, terminal.run("lint").err
    assert terminal.run("simulate").code == 0


@pytest.mark.sweep
def test_in_place_the_answers_are_written_and_stay(terminal: Terminal, shop: FakeProject) -> None:
    terminal.run("coordinator", "--write", "deployment/coordinator.yml")
    terminal.run("lint", "--fix", "--write")

    assert terminal.run("generate", "--in-place").code == 0
    once = shop.read("deployment/shop.yml")

    assert terminal.run("generate", "--in-place").err.startswith("up to date")
    assert shop.read("deployment/shop.yml") == once
    assert "cpu: 500m # " not in once
    assert "# the image of web" in once
