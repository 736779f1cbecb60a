"""What users of other tools reported about sources: cases of testdata/reports as their expected.txt say.

Most of them are written for a platform that the policy has rules of its own for. Where the rules are those of every
platform, the case runs on `local` too.
"""

import json
import re
from collections.abc import Callable

import pytest

from tests.fakes.commands import Terminal
from tests.fakes.reported import on_local, said

Reported = Callable[[str], Terminal]


def test_02_whole_numbers_are_those_that_kubectl_reads(reported: Reported) -> None:
    assert said(reported("02-not-octal-0008")) == []

    terminal = on_local(reported("02-not-octal-0008"))
    assert terminal.run("generate").code == 0
    policy = (terminal.root / "build/policies/Deployment.nooctal.rego").read_text()
    ids = re.findall(r"[`\"](gid|uid)[`\"]: ?(\d+)", policy)
    # Root is our initializer.
    assert set(ids) == {("gid", "1000"), ("uid", "8"), ("uid", "0")}
    assert terminal.run("simulate").code == 0


def test_07_the_pods_of_a_generated_name_have_its_pattern(reported: Reported) -> None:
    """The characters of a suffix are those of Kubernetes' apimachinery, util/rand."""
    terminal = reported("07-generate-name-job")
    (line,) = said(terminal)
    assert line.startswith("4: warning[G013 generated-name]: Job/nightly-: ")

    assert on_local(terminal).run("generate").code == 0
    suffix = "[bcdfghjklmnpqrstvwxz2456789]+"
    policy = (terminal.root / "build/policies/Job.nightly-.rego").read_text()
    assert rf"^nightly\\-{suffix}(?:-[0-9]+)?-{suffix}$" in policy
    assert terminal.run("simulate").code == 0


def test_16b_a_first_part_with_capitals_is_a_registry(reported: Reported) -> None:
    assert [
        line for line in said(reported("16b-image-upper-host")) if "image-reference" in line
    ] == []


def test_23b_documents_after_a_byte_order_mark_are_read(reported: Reported) -> None:
    terminal = reported("23b-bom-at-second-document")

    assert said(terminal) == []
    assert "\n3 workloads checked" in terminal.run("lint").err  # with the Coordinator
    assert on_local(terminal).run("generate").code == 0
    found = {path.name for path in (terminal.root / "build/policies").glob("Deployment.*")}
    assert found == {"Deployment.one.rego", "Deployment.three.rego"}


def with_a_part_by_a_variable(terminal: Terminal) -> Terminal:
    """Let the mounted part of the volume be one that no policy can have: a plain one becomes a volume of its own."""
    source = terminal.root / "deployment/a.yml"
    source.write_text(source.read_text().replace("subPath: sub", "subPathExpr: sub"))
    return terminal


@pytest.mark.parametrize("command", ["generate", "lint"])
def test_95_findings_in_init_containers_name_the_right_one(
    reported: Reported, command: str
) -> None:
    found = said(with_a_part_by_a_variable(reported("95-init-finding-line")), command)

    assert [line for line in found if "subPath" in line and not line.startswith("20: ")] == []
    assert [line for line in found if "absent" in line and line[:4] not in {"24: ", "25: "}] == []
    assert any("subPath" in line for line in found)
    assert any("absent" in line for line in found)


def test_95_their_pointers_are_those_of_the_right_one(reported: Reported) -> None:
    terminal = with_a_part_by_a_variable(reported("95-init-finding-line"))
    shown = terminal.run("lint", "--output", "json")

    found = json.loads(shown.out)["findings"]
    pointers = {each["code"]: each["where"].get("pointer", "") for each in found}
    inits = "/spec/template/spec/initContainers"
    assert pointers["G202"] == f"{inits}/0/volumeMounts/0/subPathExpr"
    assert pointers["G080"] == f"{inits}/1/env/0/valueFrom/configMapKeyRef/name"
