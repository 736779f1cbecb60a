"""Mounts, volumes, images, names and fields of pods (docs/internals/policy.md 4.1, 4.5, 4.12, 6.2)."""

import copy
import json
import re

import pytest

from contrast_tasks.findings import FindingsError
from contrast_tasks.policy.derive import derive
from contrast_tasks.policy.expectations import Mount, Pattern, PolicyData
from contrast_tasks.policy.model import ImageFacts
from contrast_tasks.policy.profiles import KATA_QEMU
from contrast_tasks.prepare.policy_input import policy_input
from tests.fakes.policy import (
    DIGEST,
    derived,
    given,
    image,
    one_container,
    web,
    workload,
)

REFERENCE = f"example.com/app:1@{DIGEST}"
MEMORY = "volumes: [{name: v, emptyDir: {medium: Memory}}]"
CLAIM = "volumes: [{name: v, persistentVolumeClaim: {claimName: v}}]"


def mount(data: PolicyData, destination: str, name: str = "app") -> Mount:
    (found,) = (m for m in data.container(name).mounts if m.destination == destination)
    return found


def failures(fields: str, *, pod: str = "", **rest: object) -> list[tuple[str, str]]:
    with pytest.raises(FindingsError) as caught:
        one_container(fields, pod=pod, **rest)
    return [(f.code, f.where.pointer) for f in caught.value.findings]


def test_every_container_has_the_runtimes_and_kubelets_mounts() -> None:
    destinations = [m.destination for m in one_container("").container("app").mounts]

    assert destinations == [
        "/dev",
        "/dev/mqueue",
        "/dev/pts",
        "/dev/shm",
        "/dev/termination-log",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/proc",
        "/sys",
        "/sys/fs/cgroup",
        "/var/run/secrets/kubernetes.io/serviceaccount",
    ]


def test_the_pause_container_has_only_the_runtimes_mounts() -> None:
    destinations = [m.destination for m in one_container("").container("").mounts]

    assert destinations == [
        "/dev",
        "/dev/mqueue",
        "/dev/pts",
        "/dev/shm",
        "/etc/resolv.conf",
        "/proc",
        "/sys",
    ]


@pytest.mark.parametrize(
    ("volume", "source", "options"),
    [
        ("emptyDir: {}", ("local", "v"), ("rbind", "rprivate", "rw")),
        ("emptyDir: null", ("local", "v"), ("rbind", "rprivate", "rw")),
        (
            "emptyDir: {medium: Memory, sizeLimit: 1Mi}",
            ("ephemeral", "v"),
            ("rbind", "rprivate", "rw"),
        ),
        ("configMap: {name: c}", ("file", "m"), ("rbind", "rprivate", "ro")),
        ("secret: {secretName: c}", ("file", "m"), ("rbind", "rprivate", "ro")),
        ("projected: {sources: []}", ("file", "m"), ("rbind", "rprivate", "ro")),
        ("downwardAPI: {items: []}", ("file", "m"), ("rbind", "rprivate", "ro")),
    ],
)
def test_volumes_reach_the_guest_in_their_own_way(
    volume: str, source: object, options: object
) -> None:
    data = one_container(
        "volumeMounts: [{name: v, mountPath: /a/m}]", pod=f"volumes: [{{name: v, {volume}}}]"
    )

    assert mount(data, "/a/m").source == source
    assert mount(data, "/a/m").options == (options,)


def test_only_copied_volumes_may_change_later() -> None:
    data = one_container(
        "volumeMounts: [{name: c, mountPath: /a/conf}, {name: v, mountPath: /a/vol}]",
        pod="volumes: [{name: c, configMap: {name: c}}, {name: v, emptyDir: {}}]",
    )

    assert data.copy_watched == ("conf", "serviceaccount")
    assert data.copy_names == (
        "conf",
        "hostname",
        "hosts",
        "resolv.conf",
        "serviceaccount",
        "termination-log",
    )


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ("readOnly: true", ("rbind", "rprivate", "ro")),
        ("mountPropagation: HostToContainer", ("rbind", "rslave", "rw")),
        ("mountPropagation: Bidirectional", ("rbind", "rshared", "rw")),
        ("mountPropagation: None", ("rbind", "rprivate", "rw")),
    ],
)
def test_mount_options_follow_the_mount(fields: str, options: tuple[str, ...]) -> None:
    data = one_container(f"volumeMounts: [{{name: v, mountPath: /m, {fields}}}]", pod=MEMORY)

    assert mount(data, "/m").options == (options,)


def test_a_mount_of_the_pod_replaces_a_default_one() -> None:
    data = one_container("volumeMounts: [{name: v, mountPath: /dev/shm}]", pod=MEMORY)

    assert mount(data, "/dev/shm").source == ("ephemeral", "v")


def test_a_read_only_root_makes_the_runtimes_files_read_only() -> None:
    data = one_container("securityContext: {readOnlyRootFilesystem: true}")

    assert mount(data, "/etc/hostname").options == (("rbind", "rprivate", "ro"),)
    assert mount(data, "/etc/resolv.conf").options == (("rbind", "rprivate", "ro"),)
    assert mount(data, "/etc/hosts").options == (("rbind", "rprivate", "rw"),)


def test_a_privileged_container_may_write_to_sys() -> None:
    data = one_container("securityContext: {privileged: true}")

    assert mount(data, "/sys").options == (("nosuid", "noexec", "nodev", "rw"),)
    assert mount(data, "/sys/fs/cgroup").options[0][-1] == "rw"
    assert len(mount(data, "/sys", "").options) == 2


def test_the_termination_log_is_where_the_pod_wants_it() -> None:
    data = one_container("terminationMessagePath: /tmp/why")

    assert mount(data, "/tmp/why").source == ("file", "why")


def test_an_empty_path_of_the_termination_log_is_the_default_one() -> None:
    data = one_container('terminationMessagePath: ""')

    assert mount(data, "/dev/termination-log").source == ("file", "termination-log")


@pytest.mark.parametrize(
    ("pod", "account", "expected"),
    [
        ("", True, True),
        ("automountServiceAccountToken: false", True, False),
        ("", False, False),
        ("automountServiceAccountToken: true", False, True),
    ],
)
def test_the_token_is_mounted_as_pod_and_account_say(
    pod: str, account: bool, expected: bool
) -> None:
    data = one_container("", pod=pod, service_account_automount=account)

    found = any("serviceaccount" in m.destination for m in data.container("app").mounts)
    assert found is expected


def test_storages_come_with_memory_volumes() -> None:
    data = one_container(
        "volumeMounts: [{name: v, mountPath: /m}, {name: v, mountPath: /n}]",
        pod=f"{MEMORY}\nsecurityContext: {{fsGroup: 7, runAsUser: 0}}",
    )

    (storage,) = data.container("app").storages
    assert (storage.kind, storage.volume) == ("ephemeral", "v")
    assert (storage.options, storage.counts) == (("fsgid=7",), (1, 2))


def test_devices_of_block_claims_are_expected() -> None:
    stateful = workload(
        f"containers: [{{name: app, image: '{REFERENCE}', volumeDevices: [{{name: d, devicePath: /dev/d}}]}}]",
        kind="StatefulSet",
    )
    stateful["spec"]["volumeClaimTemplates"] = [
        {"metadata": {"name": "d"}, "spec": {"volumeMode": "Block"}}
    ]

    data = derive(given(stateful), KATA_QEMU)

    assert data.container("app").devices == ("/dev/d",)


@pytest.mark.parametrize(
    ("fields", "pod", "code", "pointer"),
    [
        (
            "volumeMounts: [{name: x, mountPath: /m}]",
            "",
            "G020",
            "/spec/containers/0/volumeMounts/0/name",
        ),
        (
            "volumeMounts: [{name: v, mountPath: /m}]",
            "volumes: [{name: v, hostPath: {path: /}}]",
            "G020",
            "/spec/volumes/0",
        ),
        (
            "volumeMounts: [{name: v, mountPath: /m}]",
            "volumes: [{name: v, nfs: {}}]",
            "G020",
            "/spec/volumes/0",
        ),
        (
            "volumeMounts: [{name: v, mountPath: /m}]",
            CLAIM,
            "G020",
            "/spec/containers/0/volumeMounts/0",
        ),
        (
            "volumeMounts: [{name: v, mountPath: /m}]",
            "volumes: [{name: v, emptyDir: {medium: HugePages}}]",
            "G020",
            "/spec/volumes/0/emptyDir/medium",
        ),
        (
            "volumeDevices: [{name: x, devicePath: /dev/d}]",
            "",
            "G020",
            "/spec/containers/0/volumeDevices/0/name",
        ),
        (
            "volumeDevices: [{name: v, devicePath: /dev/d}]",
            "volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {}}}}]",
            "G020",
            "/spec/containers/0/volumeDevices/0/name",
        ),
        (
            "volumeDevices: [{name: v, devicePath: /etc/d}]",
            CLAIM,
            "G216",
            "/spec/containers/0/volumeDevices/0/devicePath",
        ),
        pytest.param(
            "volumeMounts: [{name: v, mountPath: /m, subPath: a}]",
            MEMORY,
            "G202",
            "/spec/containers/0/volumeMounts/0/subPath",
            id="g03 subPath",
        ),
        (
            "volumeMounts: [{name: v, mountPath: /m, subPathExpr: a}]",
            MEMORY,
            "G202",
            "/spec/containers/0/volumeMounts/0/subPathExpr",
        ),
        (
            "volumeMounts: [{name: v, mountPath: /m, recursiveReadOnly: Enabled}]",
            MEMORY,
            "G202",
            "/spec/containers/0/volumeMounts/0/recursiveReadOnly",
        ),
        (
            "volumeMounts: [{name: v, mountPath: /m, mountPropagation: x}]",
            MEMORY,
            "G200",
            "/spec/containers/0/volumeMounts/0/mountPropagation",
        ),
        (
            "volumeMounts: [{name: v, mountPath: '/a:b'}]",
            MEMORY,
            "G216",
            "/spec/containers/0/volumeMounts/0/mountPath",
        ),
        (
            "volumeMounts: [{name: v, mountPath: /}]",
            MEMORY,
            "G216",
            "/spec/containers/0/volumeMounts/0/mountPath",
        ),
        (
            "volumeMounts: [{name: v}]",
            MEMORY,
            "G216",
            "/spec/containers/0/volumeMounts/0/mountPath",
        ),
        (
            "volumeMounts: [{name: v, mountPath: /m}, {name: v, mountPath: /m/}]",
            MEMORY,
            "G216",
            "/spec/containers/0/volumeMounts/1",
        ),
        (
            'volumeMounts: [{name: v, mountPath: "/a\\nb"}]',
            "volumes: [{name: v, emptyDir: {}}]",
            "G216",
            "/spec/containers/0/volumeMounts/0/mountPath",
        ),
        ("terminationMessagePath: /.", "", "G216", "/spec/containers/0/terminationMessagePath"),
        ("", "hostNetwork: true", "G202", "/spec/hostNetwork"),
        pytest.param("", "hostPID: true", "G202", "/spec/hostPID", id="g04 hostPID"),
        ("", "hostIPC: true", "G202", "/spec/hostIPC"),
        ("", "hostUsers: false", "G202", "/spec/hostUsers"),
        ("", "ephemeralContainers: [{name: x}]", "G202", "/spec/ephemeralContainers"),
        (
            "",
            "securityContext: {windowsOptions: {x: y}}",
            "G202",
            "/spec/securityContext/windowsOptions",
        ),
        (
            "",
            "securityContext: {supplementalGroupsPolicy: Strict}",
            "G202",
            "/spec/securityContext/supplementalGroupsPolicy",
        ),
        (
            "",
            "securityContext: {sysctls: [{name: a, value: []}]}",
            "G200",
            "/spec/securityContext/sysctls/0/value",
        ),
        (
            "",
            "securityContext: {supplementalGroups: [x]}",
            "G200",
            "/spec/securityContext/supplementalGroups/0",
        ),
        ("", "hostPid: true", "G201", "/spec/hostPid"),
        ("", "volumes: {}", "G200", "/spec/volumes"),
        ("volumeMount: []", "", "G201", "/spec/containers/0/volumeMount"),
        ("restartPolicy: Always", "", "G202", "/spec/containers/0/restartPolicy"),
        (
            "volumeMounts: [{name: ../v, mountPath: /m}]",
            "volumes: [{name: ../v, emptyDir: {}}]",
            "G020",
            "/spec/volumes/0/name",
        ),
        (
            "securityContext: {procMount: Unmasked}",
            "",
            "G202",
            "/spec/containers/0/securityContext/procMount",
        ),
        (
            "securityContext: {seLinuxOptions: {level: s0}}",
            "",
            "G202",
            "/spec/containers/0/securityContext/seLinuxOptions",
        ),
        ("securityContext: {user: 5}", "", "G201", "/spec/containers/0/securityContext/user"),
        ("livenessProbe: {command: [x]}", "", "G201", "/spec/containers/0/livenessProbe/command"),
        ("lifecycle: {preStart: {}}", "", "G201", "/spec/containers/0/lifecycle/preStart"),
        (
            "resources: {limits: {nvidia.com/gpu: 1}}",
            "",
            "G202",
            "/spec/containers/0/resources/limits/nvidia.com~1gpu",
        ),
        (
            "resources: {limits: {nvidia.com/mig-1g.5gb: 1}}",
            "",
            "G202",
            "/spec/containers/0/resources/limits/nvidia.com~1mig-1g.5gb",
        ),
        (
            "resources: {limits: {nvidia.com/gpu.shared: 1}}",
            "",
            "G202",
            "/spec/containers/0/resources/limits/nvidia.com~1gpu.shared",
        ),
        (
            "resources: {limits: {nvidia.com/pgpu: 500m}}",
            "",
            "G200",
            "/spec/containers/0/resources/limits/nvidia.com~1pgpu",
        ),
        (
            "resources: {requests: {amd.com/gpu: 1}}",
            "",
            "G202",
            "/spec/containers/0/resources/requests/amd.com~1gpu",
        ),
        (
            "volumeDevices: [{name: d, devicePath: /dev/vfio/devices/vfio0}]",
            "volumes: [{name: d, persistentVolumeClaim: {claimName: d}}]",
            "G216",
            "/spec/containers/0/volumeDevices/0/devicePath",
        ),
        (
            "volumeDevices: [{name: d, devicePath: /dev//vfio/devices/vfio0}]",
            "volumes: [{name: d, persistentVolumeClaim: {claimName: d}}]",
            "G216",
            "/spec/containers/0/volumeDevices/0/devicePath",
        ),
        ("env: [{name: A, vlaue: x}]", "", "G201", "/spec/containers/0/env/0/vlaue"),
        (
            "envFrom: [{configmapRef: {name: a}}]",
            "",
            "G201",
            "/spec/containers/0/envFrom/0/configmapRef",
        ),
        (
            "envFrom: [{configMapRef: {name: a, optionl: true}}]",
            "",
            "G201",
            "/spec/containers/0/envFrom/0/configMapRef/optionl",
        ),
        (
            "env: [{name: A, valueFrom: {secretKeyRef: {name: a, keys: b}}}]",
            "",
            "G201",
            "/spec/containers/0/env/0/valueFrom/secretKeyRef/keys",
        ),
        (
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, by: 5}}}]",
            "",
            "G201",
            "/spec/containers/0/env/0/valueFrom/resourceFieldRef/by",
        ),
        (
            "env: [{name: A, valueFrom: {fileKeyRef: {path: a}}}]",
            "",
            "G201",
            "/spec/containers/0/env/0/valueFrom",
        ),
        (
            "securityContext: {capabilities: {dropped: [ALL]}}",
            "",
            "G201",
            "/spec/containers/0/securityContext/capabilities/dropped",
        ),
        (
            "livenessProbe: {exec: {cmd: [x]}}",
            "",
            "G201",
            "/spec/containers/0/livenessProbe/exec/cmd",
        ),
        (
            "lifecycle: {preStop: {exec: {args: [x]}}}",
            "",
            "G201",
            "/spec/containers/0/lifecycle/preStop/exec/args",
        ),
        ("resources: {claims: [{name: x}]}", "", "G202", "/spec/containers/0/resources/claims"),
        ("resources: {limit: {cpu: 1}}", "", "G201", "/spec/containers/0/resources/limit"),
        (
            "",
            "volumes: [{name: a, emptyDir: {size: 5Mi}}]",
            "G201",
            "/spec/volumes/0/emptyDir/size",
        ),
    ],
)
def test_what_is_not_supported_is_an_error_with_its_place(
    fields: str, pod: str, code: str, pointer: str
) -> None:
    assert (code, pointer) in failures(fields, pod=pod)


@pytest.mark.parametrize(
    ("fields", "pod"),
    [
        ("", "hostPID: false\nhostIPC: false\nhostUsers: true"),
        ("securityContext: {procMount: Default, seLinuxOptions: {}}", ""),
        (
            "ports: [{containerPort: 1}], imagePullPolicy: Always",
            "nodeSelector: {a: b}\ntolerations: []",
        ),
        ("env: null, volumeMounts: null, securityContext: null", "affinity: null\nvolumes: null"),
    ],
)
def test_fields_without_meaning_for_the_guest_are_accepted(fields: str, pod: str) -> None:
    assert one_container(fields, pod=pod).findings == ()


@pytest.mark.parametrize(
    ("fields", "pod", "pointer"),
    [
        (
            "securityContext: {seccompProfile: {type: RuntimeDefault}}",
            "",
            "/spec/containers/0/securityContext/seccompProfile",
        ),
        (
            "",
            "securityContext: {appArmorProfile: {type: Unconfined}}",
            "/spec/securityContext/appArmorProfile",
        ),
        ("stdin: true", "", "/spec/containers/0/stdin"),
    ],
)
def test_what_is_weaker_in_the_guest_is_warned_of(fields: str, pod: str, pointer: str) -> None:
    assert [(f.code, f.where.pointer) for f in one_container(fields, pod=pod).findings] == [
        ("G203", pointer)
    ]


def test_g06_a_misspelt_field_is_answered_with_the_known_one() -> None:
    with pytest.raises(FindingsError) as caught:
        one_container("volumeMount: []")

    assert caught.value.findings[0].hint == "did you mean volumeMounts"


def test_all_errors_of_a_pod_are_reported_at_once() -> None:
    found = failures("tty: 1, restartPolicy: Always", pod="hostPID: true\nhostIPC: true")

    assert [code for code, _ in found] == ["G200", "G202", "G202", "G202"]


@pytest.mark.parametrize(
    "name", ["", "a/b", "A", "-a", "a-", "a.b", "a_b", "a" * 64, "a\\n", "\u00e4"]
)
def test_a_container_is_named_by_a_dns_label(name: str) -> None:
    with pytest.raises(FindingsError) as caught:
        derived(f'containers: [{{name: "{name}", image: "example.com/app:1@{DIGEST}"}}]')

    assert [(f.code, f.where.pointer) for f in caught.value.findings] == [
        ("G011", "/spec/containers/0/name")
    ]


@pytest.mark.parametrize("name", ["A", "a b", "a/b", "-a", "a=b", "a\\n", "\u00e4"])
@pytest.mark.parametrize("kind", ["Pod", "Deployment", "CronJob"])
def test_a_workload_is_named_by_a_dns_name(kind: str, name: str) -> None:
    assert ("G011", "/metadata/name") in failures("", kind=kind, name=name)


def test_a_place_that_is_read_often_is_reported_once() -> None:
    assert failures("env: 5") == [("G200", "/spec/containers/0/env")]


def test_the_pointer_of_a_cron_job_leads_to_its_template() -> None:
    with pytest.raises(FindingsError) as caught:
        one_container("", pod="hostPID: true", kind="CronJob")

    assert caught.value.findings[0].where.pointer == "/spec/jobTemplate/spec/template/spec/hostPID"


# Images.


@pytest.mark.parametrize(
    "reference", ["example.com/app:1", "app", "app@sha256:ab", "app@md5:" + "ab" * 32]
)
def test_g02_an_image_that_is_not_pinned_is_an_error(reference: str) -> None:
    with pytest.raises(FindingsError) as caught:
        derived(f"containers: [{{name: a, image: '{reference}'}}]")

    (finding,) = caught.value.findings
    assert (finding.code, finding.rule, finding.where.pointer) == (
        "G010",
        "image-not-pinned",
        "/spec/containers/0/image",
    )


def test_the_digest_that_is_known_is_proposed() -> None:
    facts = ImageFacts(reference="app:1", digest=DIGEST, entrypoint=("/x",))

    with pytest.raises(FindingsError) as caught:
        derived("containers: [{name: a, image: 'app:1'}]", images={"app:1": facts})

    assert caught.value.findings[0].hint == f"write app:1@{DIGEST}"


def test_an_unknown_image_is_one_error() -> None:
    pod = workload(f"containers: [{{name: a, image: 'x@{DIGEST}'}}]")

    with pytest.raises(FindingsError) as caught:
        derive(policy_input(pod, images={}, configs={}), KATA_QEMU)

    assert [f.code for f in caught.value.findings] == ["G010"]


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ("containers: [{name: a}]", "G011"),
        (f"containers: [{{image: 'x@{DIGEST}'}}]", "G011"),
        (
            f"containers: [{{name: a, image: 'x@{DIGEST}'}}, {{name: a, image: 'x@{DIGEST}'}}]",
            "G011",
        ),
        ("containers: []", "G011"),
        ("{}", "G011"),
    ],
)
def test_a_container_without_name_or_image_is_an_error(spec: str, code: str) -> None:
    with pytest.raises(FindingsError) as caught:
        derived(spec)

    assert code in {f.code for f in caught.value.findings}


def test_an_image_without_layers_is_an_error() -> None:
    images = {REFERENCE: image(REFERENCE, layers=())}

    assert failures("", images=images) == [("G010", "/spec/containers/0/image")]


def test_g05_an_image_volume_must_be_covered_by_the_pod() -> None:
    images = {REFERENCE: image(REFERENCE, volumes=("/var/lib/data",))}

    with pytest.raises(FindingsError) as caught:
        one_container("", images=images)
    covered = one_container(
        "volumeMounts: [{name: v, mountPath: /var/lib/data}]", pod=MEMORY, images=images
    )

    (finding,) = caught.value.findings
    assert finding.code == "G021"
    assert "{name: data-var-lib-data, mountPath: /var/lib/data}" in finding.hint
    assert mount(covered, "/var/lib/data").source == ("ephemeral", "v")


def test_where_a_volume_is_mounted_that_cannot_be_only_that_is_told() -> None:
    images = {REFERENCE: image(REFERENCE, volumes=("/data",))}

    found = failures(
        "volumeMounts: [{name: v, mountPath: /data/}]",
        pod="volumes: [{name: v, hostPath: {path: /srv}}]",
        images=images,
    )

    assert [code for code, _ in found] == ["G020"]


# Names and order.


@pytest.mark.parametrize(
    ("kind", "name", "good", "bad"),
    [
        pytest.param("Pod", "a.b", "a.b", "axb", id="g08 a name that needs escaping"),
        ("Deployment", "web", "web-6c9d7f8b54-x2k9w", "web-x2k9w"),
        ("Deployment", "web", "web-6c9d7f8b54-x2k9w", "webx-6c9d7f8b54-x2k9w"),
        ("ReplicaSet", "web", "web-x2k9w", "web-6c9d7f8b54-x2k9w"),
        ("DaemonSet", "web", "web-x2k9w", "web-aeiou"),
        ("StatefulSet", "db", "db-12", "db-x"),
        ("Job", "j", "j-x2k9w", "k-x2k9w"),
        ("Job", "j", "j-3-x2k9w", "j-x2k9w-3"),
        ("CronJob", "c", "c-27000000-x2k9w", "c-x2k9w"),
        ("Deployment", "n" * 60, "n" * 58 + "x2k9w", "n" * 60 + "-x2k9w"),
    ],
)
def test_pod_names_follow_from_the_owner(kind: str, name: str, good: str, bad: str) -> None:
    pattern = one_container("", kind=kind, name=name).pod.name_re

    assert re.search(pattern, good)
    assert not re.search(pattern, bad)


def test_a_generated_name_is_matched() -> None:
    pod = workload(f"containers: [{{name: app, image: '{REFERENCE}'}}]")
    pod["metadata"] = {"generateName": "job-"}

    assert re.search(derive(given(pod), KATA_QEMU).pod.name_re, "job-x2k9w")


@pytest.mark.parametrize(
    ("prefix", "mode", "good", "bad", "host"),
    [
        ("nightly-", "NonIndexed", "nightly-x2k9w-b4c5d", "nightly-x2k9w", None),
        ("nightly-", "Indexed", "nightly-x2k9w-7-b4c5d", "x-x2k9w-7-b4c5d", "nightly-x2k9w-7"),
        ("n" * 60, "NonIndexed", "n" * 58 + "b4c5d", "n" * 57 + "b4c5d", None),
        ("n" * 50, "Indexed", f"{'n' * 50}x2k9w-12b4c5d", f"{'n' * 49}x2k9w-12b4c5d", None),
    ],
)
def test_a_job_with_a_generated_name_has_pods_of_it(
    prefix: str, mode: str, good: str, bad: str, host: str | None
) -> None:
    """Each of the two names is cut to 58 characters before five are drawn (Kubernetes, apiserver/pkg/storage/names)."""
    job = workload(f"containers: [{{name: app, image: '{REFERENCE}'}}]", kind="Job")
    job["metadata"] = {"generateName": prefix}
    job["spec"]["completionMode"] = mode

    pod = derive(given(job), KATA_QEMU).pod

    assert re.search(pod.name_re, good)
    assert not re.search(pod.name_re, bad)
    if host is not None:
        assert isinstance(pod.hostname, Pattern)
        assert re.search(pod.hostname.regex, host)


def test_a_pod_without_any_name_is_an_error() -> None:
    pod = workload(f"containers: [{{name: app, image: '{REFERENCE}'}}]")
    pod["metadata"] = {}

    with pytest.raises(FindingsError) as caught:
        derive(given(pod), KATA_QEMU)

    assert [f.code for f in caught.value.findings] == ["G011"]


def test_containers_wait_for_the_one_before() -> None:
    assert [(c.name, c.kind, c.after) for c in web().containers] == [
        ("", "pause", ()),
        ("contrast-initializer", "init", ("",)),
        ("contrast-service-mesh", "sidecar", ("contrast-initializer",)),
        ("web-svc", "main", ("contrast-service-mesh",)),
    ]


def test_only_annotations_the_runtime_forwards_are_expected() -> None:
    pod = workload(f"containers: [{{name: app, image: '{REFERENCE}'}}]")
    pod["metadata"]["annotations"] = {
        "io.katacontainers.config.hypervisor.default_vcpus": "2",
        "io.katacontainers.config.agent.policy": "old",
        "contrast.edgeless.systems/servicemesh-ingress": "",
    }

    data = derive(given(pod), KATA_QEMU)

    assert data.pod.annotations == {"io.katacontainers.config.hypervisor.default_vcpus": "2"}


def test_deriving_does_not_change_what_it_is_given() -> None:
    pod = workload(f"containers: [{{name: app, image: '{REFERENCE}'}}]\n{MEMORY}")
    before = copy.deepcopy(pod)

    derive(given(pod), KATA_QEMU)

    assert json.dumps(pod) == json.dumps(before)


def test_objects_without_a_pod_are_refused() -> None:
    with pytest.raises(KeyError):
        policy_input({"kind": "Service"}, images={}, configs={})
