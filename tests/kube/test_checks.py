"""The catalogue of checks: each finding has a code, a line, what was found, what was wanted and a way out."""

import pytest

from contrast_tasks.annotations import INGRESS
from contrast_tasks.findings import Finding, Severity
from contrast_tasks.kube.check_annotations import check_annotations
from contrast_tasks.kube.check_containers import check_images
from contrast_tasks.kube.check_structure import check_structure
from contrast_tasks.kube.checks import check_deployment, check_workload
from contrast_tasks.kube.documents import parse_documents
from contrast_tasks.kube.index import DocIndex, FileIndex, index_file
from contrast_tasks.platforms import is_confidential_class, platform
from contrast_tasks.releases.table import V1_12, Release

DIGEST = "a@sha256:" + "0" * 64
GOOD = f"""\
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: web
spec:
  template:
    metadata:
      labels: {{app: web}}
    spec:
      runtimeClassName: contrast-cc
      containers:
      - name: web
        image: {DIGEST}
        resources:
          limits: {{memory: 1Gi}}
          requests: {{memory: 1024Mi}}
        volumeMounts:
        - {{name: scratch, mountPath: /tmp}}
      volumes:
      - {{name: scratch, emptyDir: {{}}}}
"""
MEMORY = "          limits: {memory: 1Gi}\n          requests: {memory: 1024Mi}\n"
VOLUME = "{name: scratch, emptyDir: {}}"
PREFIX = "contrast.edgeless.systems/"


def judged(text: str, name: str = "k3s-qemu-snp", release: Release = V1_12) -> list[Finding]:
    document = parse_documents(text, "web.yml")[0]
    return [
        *check_structure(document),
        *check_workload(document, document.obj, platform=platform(name), release=release),
    ]


def swapped(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def short(findings: list[Finding]) -> list[str]:
    return [f"{finding.where.line} {finding.code} {finding.rule}" for finding in findings]


def test_a_good_workload_has_no_findings() -> None:
    assert judged(GOOD) == []
    assert check_annotations(parse_documents(GOOD, "web.yml")[0]) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(MEMORY, "          limits: {cpu: 1}\n", ["14 G030 memory-limit", "15 G033 cpu-limit"], id="no-memory"),
        pytest.param(MEMORY, "          requests: {memory: 1Gi}\n", ["15 G030 memory-limit"], id="no-limit"),
        pytest.param(MEMORY, "          limits: {memory: 1Gi}\n", ["15 G031 memory-request"], id="no-request"),
        pytest.param("1024Mi", "1023Mi", ["16 G030 memory-request"], id="request-unlike-limit"),
        pytest.param("1024Mi", "a lot", ["16 G030 memory-quantity", "16 G030 memory-request"], id="request-no-quantity"),
        pytest.param("memory: 1Gi", "memory: 1gi", ["15 G030 memory-quantity", "16 G030 memory-request"], id="limit-no-quantity"),
        pytest.param("memory: 1Gi", "memory: 1Gi, cpu: 2", ["15 G033 cpu-limit"], id="cpu-limit"),
        pytest.param("- name: web\n", "- args: []\n", ["12 G011 container-name"], id="no-name"),
        pytest.param(f"        image: {DIGEST}\n", "", ["12 G011 container-image"], id="no-image"),
        pytest.param(f"image: {DIGEST}", "image: 5", ["13 G011 container-image"], id="image-no-text"),
        pytest.param("      volumes:", "      initContainers:\n      - {name: web, image: a}\n      volumes:", ["12 G100 container-clash"], id="name-twice"),
        pytest.param("      volumes:", "      initContainers:\n      - {name: a, image: a, resources: {limits: {memory: 1Gi}}}\n      volumes:", ["20 G031 memory-limit-ignored"], id="limit-on-init"),
        pytest.param(VOLUME, "{name: scratch, hostPath: {path: /}}", ["20 G020 volume-type"], id="host-path"),
        pytest.param(VOLUME, "{name: scratch, persistentVolumeClaim: {claimName: c}}", ["18 G020 volume-mode"], id="claim-as-file-system"),
        pytest.param(VOLUME, "{name: scratch, emptyDir: {}, hostPath: {path: /}}", ["20 G020 volume-type"], id="volume-of-two-types"),
        pytest.param(VOLUME, "{name: scratch, hostPath: {path: /}, emptyDir: null}", ["20 G020 volume-type"], id="one-type-and-null"),
        pytest.param(MEMORY, "          limits: {memory: 0}\n          requests: {memory: 0}\n", ["15 G030 memory-limit"], id="memory-zero"),
        pytest.param(MEMORY, "          limits: {memory: 0Mi}\n", ["15 G030 memory-limit"], id="limit-zero"),
        pytest.param(MEMORY, "          limits: [memory]\n", ["14 G030 memory-limit", "15 G012 field-type"], id="limits-sequence"),
        pytest.param(f"resources:\n{MEMORY}", "resources: 1Gi\n", ["14 G012 field-type", "14 G030 memory-limit"], id="resources-text"),
        pytest.param("spec:\n  template:", "spec:\n  replicas: two\n  template:", ["6 G012 field-type"], id="replicas-text"),
        pytest.param("spec:\n  template:", "spec:\n  replicas: -1\n  template:", ["6 G012 field-type"], id="replicas-negative"),
        pytest.param("spec:\n  template:", "spec:\n  replicas: .inf\n  template:", ["6 G012 field-type"], id="replicas-infinite"),
        pytest.param("spec:\n  template:", "spec:\n  replicas: 0\n  template:", [], id="no-replicas"),
        pytest.param("labels: {app: web}", "labels: [app]", ["8 G012 field-type"], id="labels-sequence"),
        pytest.param("labels: {app: web}", "labels: {app: 1.0}", ["8 G012 field-type"], id="label-number"),
        pytest.param("labels: {app: web}", "annotations: [a]", ["8 G012 field-type"], id="annotations-sequence"),
        pytest.param("        volumeMounts:", '        env: [{name: A, value: "a\\0b"}]\n        volumeMounts:', ["17 G012 field-type"], id="value-with-nul"),
        pytest.param("        volumeMounts:", '        args: ["a\\0"]\n        volumeMounts:', ["17 G012 field-type"], id="argument-with-nul"),
        pytest.param("labels: {app: web}", "annotations: {a.example/scrape: true}", ["8 G012 field-type"], id="annotation-boolean"),
        pytest.param("  name: web\nspec", "  name: Web\nspec", ["4 G012 name"], id="upper-case-name"),
        pytest.param("  name: web\nspec", "  name: a_b\nspec", ["4 G012 name"], id="underscore-in-name"),
        pytest.param("  name: web\nspec", "  name: b\u00fccher\nspec", ["4 G012 name"], id="name-not-ascii"),
        pytest.param("  name: web\nspec", f"  name: {'a' * 240}\nspec", ["4 G012 name"], id="long-name"),
        pytest.param("- name: web\n", "- name: [web]\n", ["12 G011 container-name", "12 G012 field-type"], id="name-sequence"),
        pytest.param("        volumeMounts:", "        ports: [{containerPort: 80, name: {}}]\n        volumeMounts:", ["17 G012 field-type"], id="port-name-mapping"),
        pytest.param("        volumeMounts:", "        startupProbe: {tcpSocket: {port: [80]}}\n        volumeMounts:", ["17 G012 field-type"], id="probe-port-sequence"),
        pytest.param("runtimeClassName: contrast-cc", "runtimeClassName: 1", ["10 G012 field-type"], id="runtime-class-number"),
        pytest.param("labels: {app: web}", "annotations: {contrast.edgeless.systems/pod-role: contrast-node-installer}", ["8 G060 role-confidential"], id="installer"),
        pytest.param(VOLUME, "{name: other, emptyDir: {}}", ["18 G020 mount-without-volume"], id="mount-without-volume"),
        pytest.param("runtimeClassName: contrast-cc", "runtimeClassName: contrast-cc-k3s-qemu-sev", ["10 G070 unknown-platform"], id="unknown-platform"),
        pytest.param("        volumeMounts:", "        env: {A: b}\n        volumeMounts:", ["17 G012 field-type"], id="env-mapping"),
        pytest.param("        volumeMounts:", "        env: [{name: A, value: 8080}]\n        volumeMounts:", ["17 G012 field-type"], id="env-number"),
        pytest.param("        volumeMounts:", "        args: [1, a]\n        volumeMounts:", ["17 G012 field-type"], id="args-number"),
        pytest.param("        volumeMounts:", "        ports: [80]\n        volumeMounts:", ["17 G012 field-type"], id="ports-number"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_at_its_line(old: str, new: str, expected: list[str]) -> None:
    assert sorted(short(judged(swapped(old, new)))) == expected


@pytest.mark.parametrize(
    ("kind", "metadata", "found"),
    [
        # Source: Kubernetes, pkg/apis/batch/validation; names become labels of pods.
        ("Job", f"name: {'j' * 63}", []),
        ("Job", f"name: {'j' * 64}", ["3 G012 name"]),
        ("CronJob", f"name: {'j' * 52}", []),
        ("CronJob", f"name: {'j' * 53}", ["3 G012 name"]),
        ("Job", "generateName: nightly-", []),
        ("Job", "generateName: a.b.", []),
        ("Job", "generateName: Nightly-", ["3 G012 name"]),
    ],
)
def test_names_of_jobs_and_generated_ones_have_their_own_rules(
    kind: str, metadata: str, found: list[str]
) -> None:
    text = f"apiVersion: batch/v1\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {{}}\n"

    assert short(check_structure(parse_documents(text, "a.yml")[0])) == found


def test_all_findings_of_a_workload_are_listed() -> None:
    text = (
        swapped("1024Mi", "1Mi")
        .replace(VOLUME, "{name: b, nfs: {}}")
        .replace("- name: web\n", "-\n")
    )

    assert {finding.code for finding in judged(text)} == {"G011", "G020", "G030"}


@pytest.mark.parametrize(
    "name", ["contrast-cc", "contrast-cc-k3s-qemu-snp", "contrast-cc-K3s-QEMU-TDX-0a1b2c3d"]
)
def test_runtime_classes_of_known_platforms_are_fine(name: str) -> None:
    assert judged(swapped("runtimeClassName: contrast-cc", f"runtimeClassName: {name}")) == []


def test_a_misspelt_platform_is_suggested() -> None:
    (found,) = judged(swapped("contrast-cc\n", "contrast-cc-k3s-qemu-snpp\n"))

    assert found.hint == "did you mean 'k3s-qemu-snp'?"


def test_a_cpu_limit_matters_only_where_it_is_measured() -> None:
    text = swapped("memory: 1Gi", "memory: 1Gi, cpu: 2")

    assert judged(text, "local") == []


def test_a_finding_says_found_wanted_and_what_to_do() -> None:
    (found,) = judged(swapped("1024Mi", "512Mi"))

    assert str(found) == (
        "web.yml:16: error[G030 memory-request]: StatefulSet/web: container web has the memory request 512Mi"
        " and the limit 1Gi, expected the same value\n  hint: set both to 1Gi, or fit_memory = true under [defaults] in contrast.toml"
    )


CLAIM = """\
  volumeClaimTemplates:
  - metadata: {name: state}
    spec: {volumeMode: Block}
"""


def test_a_block_claim_template_is_used_as_a_device() -> None:
    text = swapped(
        "        volumeMounts:",
        "        volumeDevices: [{name: state, devicePath: /d}]\n        volumeMounts:",
    )

    assert judged(text + CLAIM) == []
    assert short(judged(text + CLAIM.replace("Block", "Filesystem"))) == ["23 G020 volume-mode"]
    assert short(judged(text + CLAIM.replace("{volumeMode: Block}", "{}"))) == [
        "23 G020 volume-mode"
    ]
    assert short(judged(text)) == ["17 G020 mount-without-volume"]


def test_a_claim_template_is_a_block_device_even_if_nothing_uses_it() -> None:
    assert judged(GOOD + CLAIM) == []
    assert short(judged(GOOD + CLAIM.replace("Block", "Filesystem"))) == ["22 G020 volume-mode"]
    assert short(judged(GOOD + "  volumeClaimTemplates: [state]\n")) == ["21 G012 field-type"]


def test_a_claim_template_is_not_mounted() -> None:
    text = swapped("{name: scratch, mountPath: /tmp}", "{name: state, mountPath: /tmp}")

    assert short(judged(text + CLAIM)) == ["18 G020 volume-mode"]


@pytest.mark.parametrize(
    ("name", "setting"), [("k3s-qemu-snp", "encrypted_claims"), ("local", "empty_dirs")]
)
def test_the_way_out_of_a_claim_is_one_that_the_platform_has(name: str, setting: str) -> None:
    found = judged(GOOD + CLAIM.replace("Block", "Filesystem"), name)

    (mode,) = [each for each in found if each.rule == "volume-mode"]
    assert f'{setting} = ["state"] under [workloads."StatefulSet/web"]' in mode.hint


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("state:data", [], id="new-mount"),
        pytest.param("state:scratch", [], id="empty-dir"),
        pytest.param("state", ["secure-pv"], id="one-part"),
        pytest.param("state:a:b", ["secure-pv"], id="three-parts"),
        pytest.param(":a", ["secure-pv"], id="empty-device"),
        pytest.param("state:", ["secure-pv"], id="empty-mount"),
        pytest.param("disk:data", ["secure-pv"], id="no-device"),
        pytest.param("scratch:data", ["secure-pv"], id="device-is-a-folder"),
        pytest.param("state:state", ["secure-pv"], id="mount-is-the-device"),
        pytest.param("state:data,", ["secure-pv"], id="comma-at-the-end"),
        pytest.param("state:data,state:other", ["secure-pv"], id="device-twice"),
        pytest.param("state:data,disk:data", ["secure-pv"], id="mount-twice"),
        pytest.param("state:data,disk:other", ["secure-pv"], id="no-second-device"),
    ],
)
def test_an_encrypted_volume_leads_from_a_device_to_a_folder(
    value: str, expected: list[str]
) -> None:
    annotations = f'labels: {{app: web}}\n      annotations: {{{PREFIX}secure-pv: "{value}"}}'

    found = judged(swapped("labels: {app: web}", annotations) + CLAIM)

    assert [finding.rule for finding in found] == expected
    assert {finding.code for finding in found} <= {"G050"}


def test_the_decrypted_volume_may_be_mounted_without_being_declared() -> None:
    annotations = f"labels: {{app: web}}\n      annotations: {{{PREFIX}secure-pv: 'state:data'}}"
    text = swapped("labels: {app: web}", annotations) + CLAIM

    assert judged(text.replace("{name: scratch, mountPath", "{name: data, mountPath")) == []


def test_an_encrypted_volume_needs_the_initializer() -> None:
    lines = f"{PREFIX}secure-pv: 'state:data', {PREFIX}skip-initializer: 'true'"
    text = swapped("labels: {app: web}", f"annotations: {{{lines}}}") + CLAIM

    (found,) = judged(text)

    assert (found.code, found.rule, found.where.line) == ("G050", "secure-pv", 8)
    assert "skip-initializer" in found.message


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", []),
        ("10Gi", []),
        ("big", ["annotation-value error"]),
        ("-1Gi", ["annotation-value error"]),
    ],
)
def test_the_size_of_an_image_store_is_a_quantity(value: str, expected: list[str]) -> None:
    found = annotated("template", f"{PREFIX}image-store-size: '{value}'")

    assert [f"{finding.rule} {finding.severity.value}" for finding in found] == expected


@pytest.mark.parametrize(
    ("image", "is_found"),
    [
        (DIGEST, False),
        ("registry:5000/a/b:v1@sha256:" + "a" * 64, False),
        ("locked:1", False),
        ("a", True),
        ("a:latest", True),
        ("a@sha256:abc", True),
        ("a@sha256:" + "A" * 64, True),
        ("a@sha512:" + "0" * 64, True),
        ("a@sha256:" + "0" * 65, True),
    ],
)
def test_an_image_is_pinned_or_locked(image: str, is_found: object) -> None:
    document = parse_documents(GOOD.replace(DIGEST, image), "web.yml")[0]

    found = check_images(document, lambda reference: reference == "locked:1")

    assert [finding.where.line for finding in found] == ([13] if is_found else [])


def annotated(place: str, *lines: str, kind: str = "StatefulSet") -> list[Finding]:
    block = "".join(f"{'      ' if place == 'template' else '  '}  {line}\n" for line in lines)
    if place == "template":
        text = swapped("      labels:", f"      annotations:\n{block}      labels:")
    else:
        text = swapped("  name: web\n", f"  annotations:\n{block}  name: web\n")
    api = "v1" if kind in {"Service", "Pod"} else "apps/v1"
    text = text.replace("apps/v1", api, 1).replace("kind: StatefulSet", f"kind: {kind}")
    return check_annotations(parse_documents(text, "web.yml")[0])


@pytest.mark.parametrize(
    ("place", "line", "code", "rule"),
    [
        pytest.param("template", "servicemesh-ingres: ''", "G110", "unknown-annotation", id="typo"),
        pytest.param("object", "servicemesh-egres: ''", "G110", "unknown-annotation", id="typo-on-object"),
        pytest.param("template", "expose-service: 'true'", "G110", "annotation-place", id="service-key-on-pod"),
        pytest.param("object", "workload-secret-id: a", "G110", "annotation-place", id="template-key-on-object"),
        pytest.param("object", "pod-role: coordinator", "G060", "annotation-place", id="role-on-object"),
        pytest.param("template", "pod-role: coordinater", "G060", "unknown-role", id="role-typo"),
        pytest.param("template", "servicemesh-admin-interface-port: 9901", "G110", "annotation-value", id="number"),
        pytest.param("template", "servicemesh-ingress:", "G110", "annotation-value", id="null"),
        pytest.param("template", "skip-initializer: 'yes'", "G110", "annotation-value", id="skip-value"),
    ],
)  # fmt: skip
def test_an_annotation_that_would_do_nothing_is_an_error(
    place: str, line: str, code: str, rule: str
) -> None:
    found = annotated(place, PREFIX + line)

    assert [(finding.code, finding.rule, finding.severity) for finding in found] == [
        (code, rule, Severity.ERROR)
    ]
    assert found[0].where.line == (5 if place == "object" else 9)


def test_the_nearest_known_annotation_is_suggested() -> None:
    (found,) = annotated("template", PREFIX + "servicemesh-ingres: ''")

    assert found.hint == f"did you mean '{PREFIX}servicemesh-ingress'?"


def test_a_mesh_annotation_on_a_service_is_an_error() -> None:
    (found,) = annotated("object", PREFIX + "servicemesh-ingress: ''", kind="Service")

    assert (found.code, found.rule) == ("G110", "annotation-place")


def test_a_service_may_be_exposed() -> None:
    assert annotated("object", PREFIX + "expose-service: 'true'", kind="Service") == []


def test_only_a_stateful_set_may_be_the_coordinator() -> None:
    assert annotated("template", PREFIX + "pod-role: coordinator") == []
    (found,) = annotated("template", PREFIX + "pod-role: coordinator", kind="Deployment")
    assert (found.code, found.rule) == ("G060", "coordinator-kind")


def test_other_peoples_annotations_are_none_of_our_business() -> None:
    assert annotated("template", "example.com/servicemesh-ingres: ''", "plain: 1") == []


@pytest.mark.parametrize(
    ("key", "code", "severity"),
    [
        ("servicemesh-ingress", "G040", Severity.ERROR),
        ("secure-pv", "W101", Severity.WARNING),
    ],
)
def test_two_places_that_differ_are_reported(key: str, code: str, severity: Severity) -> None:
    text = swapped("      labels:", f"      annotations: {{{PREFIX}{key}: 'a'}}\n      labels:")
    text = text.replace("  name: web\n", f"  annotations: {{{PREFIX}{key}: 'b'}}\n  name: web\n", 1)

    (found,) = check_annotations(parse_documents(text, "web.yml")[0])

    assert (found.code, found.severity, found.where.line) == (code, severity, 4)
    assert "'a' in spec.template.metadata.annotations" in found.message


SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {selector: {app: web}}\n"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
COORDINATOR = GOOD.replace("  name: web\n", "  name: coordinator\n", 1).replace(
    "      labels: {app: web}\n", f"      annotations: {{{PREFIX}pod-role: coordinator}}\n"
)


ELSEWHERE = ("Secret", "default", "made-elsewhere")


def together(*indexes: FileIndex, needs_coordinator: bool = False) -> list[Finding]:
    return check_deployment(
        indexes,
        is_confidential=lambda doc: is_confidential_class(doc.runtime_class),
        has_ingress=lambda doc: INGRESS in doc.annotations,
        needs_coordinator=needs_coordinator,
        has_links=lambda doc: not doc.has_no_links,
        is_elsewhere=lambda kind, namespace, name: (kind, namespace, name) == ELSEWHERE,
    )


def deployed(*texts: str, needs_coordinator: bool = False) -> list[str]:
    indexes = [index_file(text, f"{number}.yml") for number, text in enumerate(texts)]
    found = together(*indexes, needs_coordinator=needs_coordinator)
    return [f"{finding.where} {finding.code} {finding.severity.value}" for finding in found]


def test_a_workload_outside_the_deployment_is_listed() -> None:
    text = GOOD.replace("      runtimeClassName: contrast-cc\n", "")

    assert deployed(text) == ["0.yml:1 G004 warning"]
    assert deployed(swapped("contrast-cc", "gvisor")) == ["0.yml:1 G004 warning"]


def test_a_service_in_front_of_an_unprotected_pod_is_a_warning() -> None:
    assert deployed(GOOD, SERVICE) == ["0.yml:1 G042 warning"]
    assert deployed(GOOD, SERVICE.replace("name: s", "name: s, namespace: x")) == []
    protected = swapped(
        "  name: web\n", f"  annotations: {{{PREFIX}servicemesh-ingress: ''}}\n  name: web\n"
    )
    assert deployed(protected, SERVICE) == []


def _service(name: str, selector: str) -> str:
    return SERVICE.replace("name: s", f"name: {name}").replace("app: web", selector)


def test_a_service_must_select_by_all_its_labels_and_the_first_one_is_named() -> None:
    workload = GOOD.replace("labels: {app: web}", "labels: {part: shop, app: web, tier: x}")
    services = [
        _service("other-value", "part: shop, app: cart"),
        _service("other-key", "part: shop, kind: web"),
        _service("more", "part: shop, app: web, zone: z"),
        _service("first", "part: shop, tier: x"),
        _service("second", "app: web"),
        _service("third", "part: shop"),
    ]
    indexes = [
        index_file(text, f"{number}.yml") for number, text in enumerate((workload, *services))
    ]

    found = together(*indexes)

    assert [(finding.code, finding.where.file) for finding in found] == [("G042", "0.yml")]
    assert "the Service first at 4.yml:1," in found[0].message


def test_a_service_without_a_selector_is_in_front_of_nothing() -> None:
    assert deployed(GOOD, _service("s", "").replace("spec: {selector: {}}", "spec: {}")) == []
    assert deployed(GOOD, _service("s", "")) == []


def test_looking_for_services_does_not_grow_with_the_square_of_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number, asked = 60, []
    selects = DocIndex.selects
    monkeypatch.setattr(
        DocIndex, "selects", lambda service, doc: (asked.append(1), selects(service, doc))[1]
    )
    texts = []
    for each in range(number):
        named = GOOD.replace("name: web", f"name: w{each}")
        texts.append(named.replace("labels: {app: web}", f"labels: {{part: shop, app: w{each}}}"))
        texts.append(_service(f"s{each}", f"part: shop, app: w{each}"))

    assert len(deployed(*texts)) == number
    assert len(asked) == number


def test_there_is_one_coordinator() -> None:
    assert deployed(COORDINATOR, needs_coordinator=True) == []
    assert deployed(GOOD, needs_coordinator=True) == ["contrast.toml G061 error"]
    other = COORDINATOR.replace("name: coordinator\n", "name: other\n", 1)
    assert deployed(COORDINATOR, other) == ["1.yml:1 G061 error"]


def test_a_mounted_config_that_is_nowhere_is_a_note_unless_optional() -> None:
    used = swapped(VOLUME, VOLUME + "\n      - {name: v, configMap: {name: c}}")

    assert deployed(used) == ["0.yml:21 G080 note"]
    assert deployed(used, CONFIG) == []
    assert deployed(used, CONFIG.replace("name: c", "name: c, namespace: x")) == [
        "0.yml:21 G080 note"
    ]
    assert deployed(used, CONFIG.replace("ConfigMap", "Secret")) == ["0.yml:21 G080 note"]
    assert deployed(used.replace("{name: c}", "{name: c, optional: true}")) == []
    assert deployed(used.replace("{name: c}", "{name: kube-root-ca.crt}")) == []


def test_a_config_of_another_namespace_is_named_as_such() -> None:
    used = swapped(VOLUME, VOLUME + "\n      - {name: v, configMap: {name: c}}")
    other = CONFIG.replace("name: c", "name: c, namespace: x")
    indexes = [index_file(used, "a.yml"), index_file(other, "b.yml")]

    (found,) = together(*indexes)

    assert found.code == "G080"
    assert found.hint.startswith("the one at b.yml:1 is in the namespace x, and a pod sees")


@pytest.mark.parametrize(
    ("limit", "proposed"),
    [("512MB", "512Mi"), ("2 gb", "2Gi"), ("64KiB", "64Ki"), ("much", "700Mi")],
)
def test_an_amount_as_other_programs_write_it_is_answered_with_one_of_kubernetes(
    limit: str, proposed: str
) -> None:
    found = judged(swapped("limits: {memory: 1Gi}", f"limits: {{memory: {limit}}}"))

    malformed, differs = sorted(found, key=lambda each: each.rule)
    assert (malformed.rule, differs.rule) == ("memory-quantity", "memory-request")
    assert malformed.hint.endswith(f"such as {proposed}")
    assert malformed.answer is not None
    assert malformed.answer.value == proposed
    assert differs.hint.startswith(f"set both to {proposed}, or")
