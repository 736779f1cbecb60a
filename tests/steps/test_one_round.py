"""One run shows every finding: those of the preparation, of the policy, and of documents beside a broken one.

Each fault is written at a line of its own, so that what is expected can be read off the file.
"""

import re

import pytest

from tests.fakes.commands import Terminal
from tests.fakes.images import make_image, write_images
from tests.fakes.workloads import FakeProject, config_map, deployment, stream

FAULTS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      hostPID: true
      containers:
        - name: first
          image: shop/app:v1
          resources:
            requests: {memory: 1Gi}
            limits: {memory: 2Gi}
          securityContext: {capabilities: {drop: [nothing]}}
          volumeMounts:
            - {name: node, mountPath: /node}
            - {name: nowhere, mountPath: /nowhere}
        - name: second
          image: shop/other:v1
      volumes:
        - {name: node, hostPath: {path: /}}
"""


def found(terminal: Terminal, command: str, file: str) -> list[tuple[int, str]]:
    """Return line and code of each error in a file."""
    shown = terminal.run(command).err
    lines = re.findall(rf"^deployment/{file}:(\d+)[:\d]*: error\[(\w+)", shown, re.MULTILINE)
    return [(int(line), code) for line, code in lines]


@pytest.mark.parametrize("command", ["lint", "generate"])
@pytest.mark.parametrize("image", ["shop/other:v1", "shop//other:v1"])
def test_findings_of_the_policy_stand_beside_those_before_it_and_repeat_none(
    terminal: Terminal, project: FakeProject, command: str, image: str
) -> None:
    project.write("many.yml", FAULTS.replace("shop/other:v1", image))

    assert found(terminal, command, "many.yml") == [
        (9, "G202"),
        (14, "G030"),
        (16, "G214"),
        (19, "G020"),
        (21, "G010"),
        (23, "G020"),
    ]


@pytest.mark.parametrize("broken", ["a: [\n", "kind: Service\n", "a: 1\na: 2\n"])
def test_workloads_beside_a_broken_document_are_checked(
    terminal: Terminal, project: FakeProject, broken: str
) -> None:
    good, bad = FAULTS.replace("shop/other", "shop/app"), FAULTS.count("\n") + 1
    project.write("many.yml", stream(good, broken, deployment("late").replace("cpu", "x")))

    lines = found(terminal, "lint", "many.yml")

    assert {line for line, code in lines if code == "G003"} <= {bad + 1, bad + 2}
    assert [code for _, code in lines if code != "G003"] == ["G202", "G030", "G214", "G020", "G020"]
    assert terminal.run("generate").code == 12
    assert not (project.root / "build/policies").exists()


def test_a_value_that_a_broken_config_map_has_is_not_called_absent(
    terminal: Terminal, project: FakeProject
) -> None:
    broken = config_map("prices", apple="1").replace('"1"', "1")
    fault = "          securityContext: {capabilities: {drop: [nothing]}}\n"
    project.write("shop.yml", stream(deployment("cart", config="prices", extra=fault), broken))
    project.write("till/till.yaml", FAULTS.replace("shop/other", "shop/app"))

    assert found(terminal, "lint", "shop.yml") == [(21, "G214"), (28, "G012")]


def test_an_image_that_its_layout_lacks_hides_nothing(
    terminal: Terminal, project: FakeProject
) -> None:
    write_images(project.root / "layout", {"shop/other:v2": make_image([])})
    project.settings('[images]\nlayouts = ["layout"]\n')
    project.write("many.yml", FAULTS)

    shown = terminal.run("lint").err

    assert (
        "21: error[G010 image-not-locked]: Deployment/many: image shop/other:v1: in no layout"
        in shown
    )
    assert [code for _, code in found(terminal, "lint", "many.yml")] == [
        *("G202", "G030", "G214", "G020", "G010", "G020")
    ]


def test_the_mode_of_a_claim_among_the_sources_counts(
    terminal: Terminal, project: FakeProject
) -> None:
    claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: disk}\nspec: {volumeMode: %s}\n"
    use = "          volumeDevices: [{name: d, devicePath: /dev/d}]\n      volumes: [{name: d, persistentVolumeClaim: {claimName: disk}}]\n"
    project.write("disk.yml", stream(deployment("disk", extra=use), claim % "Filesystem"))
    assert "deployment/disk.yml:18: error[G020 volume]" in terminal.run("lint").err

    project.write("disk.yml", stream(deployment("disk", extra=use), claim % "Block"))
    assert "G020" not in terminal.run("lint").err
