"""Annotations against the release: placement as recorded from the reference product, and docs/internals/releases.md 6."""

import pytest

from contrast_tasks.findings import Finding
from contrast_tasks.kube.check_release import check_release
from contrast_tasks.kube.documents import parse_documents
from contrast_tasks.releases.choose import row_of
from contrast_tasks.releases.table import Release
from tests.fakes.testdata import RELEASES

AT_HAND = pytest.mark.skipif(not RELEASES.is_dir(), reason="what releases wrote is not at hand")
PREFIX = "contrast.edgeless.systems/"
INGRESS = PREFIX + "servicemesh-ingress"
PLATFORM = "metal-qemu-snp"
JOB = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: nightly
  annotations: {%s}
spec:
  jobTemplate:
    metadata:
      annotations: {%s}
    spec:
      template:
        metadata:
          annotations: {%s}
        spec: {}
"""


def judged(text: str, release: str, platform: str = PLATFORM) -> list[Finding]:
    row = row_of(release)
    assert isinstance(row, Release)
    return [
        finding
        for document in parse_documents(text, "app.yml")
        if document.kind != "Service"
        for finding in check_release(document, row, platform)
    ]


def lines(findings: list[Finding]) -> list[str]:
    return [f"{finding.where.line} {finding.code} {finding.rule}" for finding in findings]


def at(place: str) -> str:
    """Return a CronJob with the mesh annotation at one of its three places."""
    places = ("workload", "job template", "pod template")
    return JOB % tuple(f'{INGRESS}: ""' if each == place else "" for each in places)


@AT_HAND
def test_mesh_annotations_are_read_where_the_recording_has_them_read() -> None:
    recorded = (RELEASES / "placement.txt").read_text().splitlines()
    places = {"meta": "workload", "template": "pod template"}

    for line in recorded:
        release, _, _, where, *_, count = line.split()
        is_read = judged(at(places[where]), release) == []

        assert is_read == (count == "1"), line


@pytest.mark.parametrize("release", ["v1.9.0", "v1.12.0", "v1.13.0", "v1.21.0"])
def test_a_cron_jobs_job_template_is_read_by_no_release(release: str) -> None:
    assert lines(judged(at("job template"), release)) == ["9 G110 annotation-release"]


@AT_HAND
@pytest.mark.parametrize(
    ("file", "release", "expected"),
    [
        pytest.param("v1.13.0", "v1.12.0", [13, 14, 15, 44, 67, 68], id="template-on-1.12"),
        pytest.param("v1.12.0", "v1.13.0", [7, 8, 9, 32, 62, 63], id="workload-on-1.13"),
        pytest.param("v1.12.0", "v1.12.0", [], id="1.12"),
        pytest.param("v1.13.0", "v1.13.0", [], id="1.13"),
        pytest.param("v1.21.0", "v1.21.0", [], id="1.21"),
    ],
)
def test_annotations_at_another_releases_place_are_refused_with_their_line(
    file: str, release: str, expected: list[int]
) -> None:
    found = judged((RELEASES / file / "app.in.yml").read_text(), release)

    assert [finding.where.line for finding in found] == expected
    assert {finding.rule for finding in found} <= {"annotation-release"}


@pytest.mark.parametrize(
    "key", ["servicemesh-egress-peers", "skip-initializer", "secure-pv", "servicemesh-ingress"]
)
def test_every_annotation_that_moved_is_looked_at(key: str) -> None:
    text = JOB % (f'{PREFIX}{key}: ""', "", "")

    assert lines(judged(text, "v1.13.0")) == ["5 G110 annotation-release"]
    assert judged(text, "v1.12.0") == []


def test_the_message_names_both_ways_out() -> None:
    (new,) = judged(at("workload"), "v1.21.0", "metal-qemu-snp")
    (old,) = judged(at("pod template"), "v1.12.0", "k3s-qemu-snp")

    assert new.message == (
        f"CronJob/nightly: the annotation {INGRESS} is in metadata.annotations, where release v1.21.0 does not"
        " read it; expected in spec.jobTemplate.spec.template.metadata.annotations"
    )
    assert new.hint == (
        'move it to spec.jobTemplate.spec.template.metadata.annotations, or set release = "v1.12.0" under [runtime]'
    )
    # No release with this platform reads it on the pod template.
    assert old.hint == "move it to metadata.annotations"


@pytest.mark.parametrize("release", ["v1.11.0", "v1.21.0"])
@pytest.mark.parametrize("place", ["workload", "pod template"])
def test_the_local_platform_reads_both_places(release: str, place: str) -> None:
    assert judged(at(place), release, "local") == []


def test_a_secret_id_is_refused_where_it_would_be_ignored() -> None:
    text = JOB % ("", "", f"{PREFIX}workload-secret-id: a")

    (found,) = judged(text, "v1.9.0")

    assert (found.where.line, found.rule) == (13, "annotation-release")
    assert found.hint == 'remove it, or set release = "v1.10.0" or later under [runtime]'
    assert judged(text, "v1.10.0") == []


@pytest.mark.parametrize("release", ["v1.12.0", "v1.13.0"])
def test_a_pod_has_one_place_for_all_releases(release: str) -> None:
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a, annotations: {{{INGRESS}: ''}}}}\n"

    assert judged(text, release) == []
