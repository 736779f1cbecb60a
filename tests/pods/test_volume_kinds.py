"""Every kind of volume of the Kubernetes API: what a confidential pod may have, refused once and with one way out."""

import pytest

from contrast_tasks.findings import FindingsError
from contrast_tasks.kube.check_volumes import check_volumes
from contrast_tasks.kube.documents import parse_documents
from contrast_tasks.kube.subject import Subject
from contrast_tasks.pods.volume_kinds import (
    ALLOWED,
    MADE_DIRECTORIES,
    MEDIA,
    VOLUME_KINDS,
    Reach,
    kind_of,
)
from contrast_tasks.policy.simulate import denials
from contrast_tasks.policy.text import render_policy
from tests.fakes.policy import DIGEST, life_of, one_container

# Kubernetes API reference, core/v1 Volume: all members but the name.
_API = """
awsElasticBlockStore azureDisk azureFile cephfs cinder configMap csi downwardAPI emptyDir ephemeral fc flexVolume
flocker gcePersistentDisk gitRepo glusterfs hostPath image iscsi nfs persistentVolumeClaim photonPersistentDisk
portworxVolume projected quobyte rbd scaleIO secret storageos vsphereVolume
"""
API_KINDS = tuple(_API.split())


def _checked(kind: str, use: str) -> list[str]:
    text = f"""
apiVersion: v1
kind: Pod
metadata: {{name: app}}
spec:
  containers: [{{name: app, image: 'example.com/app:1@{DIGEST}', {use}}}]
  volumes: [{{name: v, {kind}: {{}}}}]
"""
    (document,) = parse_documents(text, "app.yml")
    subject = Subject(document, document.obj)
    check_volumes(subject)
    return [f"{finding.rule}: {finding.hint}" for finding in subject.findings]


def _derived(kind: str, use: str) -> list[str]:
    try:
        one_container(use, pod=f"volumes: [{{name: v, {kind}: {{}}}}]")
    except FindingsError as error:
        return [finding.hint for finding in error.findings]
    return []


MOUNTED = "volumeMounts: [{name: v, mountPath: /v}]"
ATTACHED = "volumeDevices: [{name: v, devicePath: /dev/v}]"


def test_the_table_holds_every_kind_of_the_api() -> None:
    assert tuple(VOLUME_KINDS) == API_KINDS


def test_these_kinds_are_allowed() -> None:
    assert ALLOWED == (
        "configMap",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    )


@pytest.mark.first(2)
@pytest.mark.parametrize("kind", ALLOWED)
def test_checks_and_policy_take_an_allowed_kind_by_the_same_use(kind: str) -> None:
    use = ATTACHED if VOLUME_KINDS[kind].reach is Reach.DEVICE else MOUNTED
    source = "{volumeClaimTemplate: {spec: {volumeMode: Block}}}" if kind == "ephemeral" else "{}"

    data = one_container(use, pod=f"volumes: [{{name: v, {kind}: {source}}}]")

    assert _checked(kind, use) == []
    assert denials(render_policy(data), life_of(data)) == ()


@pytest.mark.parametrize("kind", sorted(set(API_KINDS) - set(ALLOWED)))
@pytest.mark.parametrize("use", [MOUNTED, ATTACHED], ids=["mounted", "attached"])
def test_any_other_kind_is_refused_once_whatever_it_is_used_for(kind: str, use: str) -> None:
    assert _checked(kind, use) == [f"volume-type: {VOLUME_KINDS[kind].remedy}"]


@pytest.mark.parametrize("kind", sorted(set(API_KINDS) - set(ALLOWED)))
def test_the_policy_knows_the_same_remedy(kind: str) -> None:
    assert _derived(kind, MOUNTED) == [VOLUME_KINDS[kind].remedy]


def test_a_disk_that_kubernetes_cannot_attach_leads_to_a_claim() -> None:
    (finding,) = _checked("iscsi", MOUNTED)

    assert "persistentVolumeClaim with volumeMode: Block" in finding
    assert _checked("persistentVolumeClaim", ATTACHED) == []
    assert _derived("persistentVolumeClaim", ATTACHED) == []


@pytest.mark.parametrize("kind", ["persistentVolumeClaim", "ephemeral"])
def test_a_claim_is_never_mounted(kind: str) -> None:
    assert [each.partition(":")[0] for each in _checked(kind, MOUNTED)] == ["volume-mode"]
    assert len(_derived(kind, MOUNTED)) == 1


def test_every_medium_has_a_directory_that_the_guest_makes() -> None:
    assert set(MEDIA.values()) == set(MADE_DIRECTORIES)


@pytest.mark.parametrize(
    ("volume", "kind"),
    [
        ({"name": "v", "secret": {}}, "secret"),
        ({"name": "v", "emptyDir": None}, "emptyDir"),
        ({"name": "v", "emptyDir": None, "hostPath": {}}, "hostPath"),
        ({"name": "v", "hostPath": None}, "emptyDir"),
        ({"name": "v"}, "emptyDir"),
        ({"name": "v", "secret": {}, "hostPath": {}}, "secret and hostPath"),
    ],
    ids=str,
)
def test_null_is_no_kind_and_two_are_none_that_is_allowed(
    volume: dict[str, object], kind: str
) -> None:
    assert kind_of(volume) == kind


@pytest.mark.parametrize("path", ["/sys", "/etc"])
def test_where_there_is_no_guest_its_folders_are_refused_too(path: str) -> None:
    text = f"""
apiVersion: v1
kind: Pod
metadata: {{name: app}}
spec:
  containers: [{{name: app, image: 'example.com/app:1@{DIGEST}', {MOUNTED}}}]
  volumes: [{{name: v, hostPath: {{path: {path}}}}}]
"""
    (document,) = parse_documents(text, "app.yml")
    subject = Subject(document, document.obj)

    check_volumes(subject, has_guest=False)

    assert [finding.rule for finding in subject.findings] == ["volume-type"]


@pytest.mark.parametrize(
    ("volume", "rules"),
    [
        ("downwardAPI: {}", ["volume-isolation"]),
        ("projected: {sources: []}", ["volume-isolation"]),
        ("configMap: {name: c}", []),
    ],
)
def test_where_there_is_no_guest_what_needs_namespaces_is_noted(
    volume: str, rules: list[str]
) -> None:
    text = f"""
apiVersion: v1
kind: Pod
metadata: {{name: app}}
spec:
  containers: [{{name: app, image: 'example.com/app:1@{DIGEST}', {MOUNTED}}}]
  volumes: [{{name: v, {volume}}}]
"""
    (document,) = parse_documents(text, "app.yml")
    local, guest = Subject(document, document.obj), Subject(document, document.obj)

    check_volumes(local, has_guest=False)
    check_volumes(guest)

    assert [finding.rule for finding in local.findings] == rules
    assert guest.findings == []
