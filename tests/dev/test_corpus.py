"""Real deployments (data only, from outside the repository): each workload gets its policy, or is refused for a known reason."""

from pathlib import Path

import pytest

from dev.corpus.chore import find_deployments, verdicts_on
from tests.fakes.testdata import CORPUS

POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec: {{containers: [{{name: c, image: 'shop/app:v1'{more}}}]}}
"""


@pytest.mark.e2e
def test_a_refusal_that_nobody_looked_at_fails(tmp_path: Path) -> None:
    folder = tmp_path / "yaml" / "shop"
    folder.mkdir(parents=True)
    pods = {
        "good": "",
        "known": ", resources: {requests: {memory: 1Gi}, limits: {memory: 2Gi}}",
        "new": ", securityContext: {unheard: true}",
    }
    text = "---\n".join(POD.format(name=name, more=more) for name, more in pods.items())
    (folder / "pods.yml").write_text(text)

    (deployment,) = find_deployments(tmp_path)

    assert [str(each) for each in verdicts_on(deployment, "local")] == [
        "ok shop on local: Pod/good generated",
        "ok shop on local: Pod/known refused: G030 memory-request",
        (
            "FAILED shop on local: Pod/new refused: G201 unknown-field: G201 Pod/new: the field unheard is"
            " unknown, so its effect on the guest is unknown too"
        ),
    ]


@pytest.mark.sweep
@pytest.mark.parametrize("platform", ["local", "metal-qemu-snp"])
@pytest.mark.parametrize("deployment", find_deployments(CORPUS), ids=lambda each: each.name)
def test_real_deployments_are_refused_for_known_reasons_only(
    deployment: Path, platform: str
) -> None:
    verdicts = list(verdicts_on(deployment, platform))

    assert [str(each) for each in verdicts if each.reason] == []
    assert verdicts
