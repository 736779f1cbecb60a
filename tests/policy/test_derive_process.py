"""Arguments, environment, identity and rights of processes, from pod and image (docs/internals/policy.md 4.3, 4.4, 4.6)."""

import pytest

from contrast_tasks.findings import FindingsError
from contrast_tasks.policy.derive import derive
from contrast_tasks.policy.expectations import Container, Pattern
from contrast_tasks.policy.model import ImageFacts
from contrast_tasks.policy.profiles import ALL_CAPS, DEFAULT_CAPS, KATA_QEMU
from tests.fakes.policy import DIGEST, given, image, one_container, workload

REFERENCE = f"example.com/app:1@{DIGEST}"


def app(
    fields: str, *, pod: str = "", facts: dict[str, object] | None = None, **rest: object
) -> Container:
    images = {REFERENCE: image(REFERENCE, **(facts or {}))}
    return one_container(fields, pod=pod, images=images, **rest).container("app")


def codes(fields: str, *, pod: str = "", **rest: object) -> list[tuple[str, str]]:
    with pytest.raises(FindingsError) as caught:
        app(fields, pod=pod, **rest)
    return [(f.code, f.where.pointer) for f in caught.value.findings]


@pytest.mark.parametrize(
    ("fields", "args"),
    [
        ("", ("/entry", "cmd")),
        ("command: [a, b]", ("a", "b")),
        ("args: [c]", ("/entry", "c")),
        ("command: [a], args: [c, d]", ("a", "c", "d")),
        ("command: [], args: []", ("/entry", "cmd")),
        (
            'command: [echo, "$(X) $(Y) $$(X)"], env: [{name: X, value: "1"}]',
            ("echo", "1 $(Y) $(X)"),
        ),
        ('args: ["$(PATH)"]', ("/entry", "$(PATH)")),
    ],
)
def test_arguments_come_from_pod_and_image(fields: str, args: tuple[str, ...]) -> None:
    facts = {"entrypoint": ("/entry",), "cmd": ("cmd",)}

    assert app(fields, facts=facts).process.args == args


def test_a_container_with_nothing_to_run_is_an_error() -> None:
    assert codes("", facts={"entrypoint": (), "cmd": ()}) == [("G213", "/spec/containers/0")]


@pytest.mark.parametrize(
    ("fields", "facts", "cwd"),
    [
        ("", {}, "/srv"),
        ("workingDir: /here", {}, "/here"),
        ("", {"working_dir": ""}, "/"),
    ],
)
def test_the_directory_comes_from_pod_then_image(
    fields: str, facts: dict[str, object], cwd: str
) -> None:
    assert app(fields, facts=facts).process.cwd == cwd


CONFIGS = {
    ("ConfigMap", None, "c"): {
        "k": "v",
        "with-dash": "d",
        "bin": b"\xff",
        "9": "nine",
        "bad name": "x",
        "e": "",
    },
    ("Secret", None, "s"): {"password": b"p\xc3\xa4ss"},
    ("Secret", None, "binary"): {"raw": b"\xff"},
    ("Secret", None, "nul"): {"end": b"a\0b"},
}


@pytest.mark.parametrize(
    ("fields", "fixed"),
    [
        ("env: [{name: A, value: x}]", {"A": "x"}),
        ("env: [{name: A}]", {"A": ""}),
        ("env: [{name: A, value: null}]", {"A": ""}),
        ('env: [{name: A, value: "x=y=z"}]', {"A": "x=y=z"}),
        ('env: [{name: A, value: x}, {name: B, value: "$(A)$(A)"}]', {"A": "x", "B": "xx"}),
        ('env: [{name: B, value: "$(A)"}, {name: A, value: x}]', {"B": "$(A)", "A": "x"}),
        ('env: [{name: A, value: x}, {name: A, value: "$(A)y"}]', {"A": "xy"}),
        ("env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: k}}}]", {"A": "v"}),
        ("env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: e}}}]", {"A": ""}),
        ("env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: password}}}]", {"A": "p\xe4ss"}),
        ("envFrom: [{configMapRef: {name: c}}]", {"k": "v", "with-dash": "d", "e": ""}),
        (
            "envFrom: [{prefix: P_, configMapRef: {name: c}}]",
            {"P_k": "v", "P_with-dash": "d", "P_9": "nine", "P_e": ""},
        ),
        ("envFrom: [{secretRef: {name: s}}]", {"password": "p\xe4ss"}),
        (
            "envFrom: [{configMapRef: {name: c}}], env: [{name: k, value: mine}]",
            {"k": "mine", "with-dash": "d", "e": ""},
        ),
        (
            'envFrom: [{configMapRef: {name: c}}], env: [{name: A, value: "$(k)"}]',
            {"A": "v", "k": "v", "with-dash": "d", "e": ""},
        ),
        ("env: [{name: TERM, value: dumb}]", {"TERM": "dumb"}),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}]",
            {"A": "default"},
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['l']\"}}}]",
            {"A": "text"},
        ),
        ("env: [{name: A, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}]", {"A": "0"}),
        (
            "resources: {limits: {memory: 700Mi}}, env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}]",
            {"A": "700"},
        ),
        (
            "resources: {limits: {cpu: 1500m}}, env: [{name: A, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}]",
            {"A": "2"},
        ),
        (
            'resources: {limits: {cpu: 2}}, env: [{name: A, valueFrom: {resourceFieldRef: {containerName: app, resource: limits.cpu, divisor: "0"}}}]',
            {"A": "2"},
        ),
    ],
)
def test_variables_are_computed_as_the_kubelet_does(fields: str, fixed: dict[str, str]) -> None:
    env = app(fields, configs=CONFIGS, labels="{l: text}").env

    assert dict(env.fixed) == fixed


# The orders of testdata/oci: env-override, env-override-tty, env-dup-path, env-hostname-both, env-term-pod-no-tty.
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST = "^HOSTNAME=$(hostname)$"


@pytest.mark.parametrize(
    ("fields", "image", "head"),
    [
        pytest.param("", ("LANG=C",), [PATH, HOST, "LANG=C"], id="no path"),
        pytest.param("", ("A=1", "PATH=/x"), ["PATH=/x", HOST, "A=1"], id="path in place"),
        pytest.param("", ("PATH=/one", "PATH=/two"), ["PATH=/two", HOST], id="last path"),
        pytest.param("", ("A=1", "A=2", "A=1"), [PATH, HOST, "A=1", "A=2", "A=1"], id="repeats"),
        pytest.param("", ("ODD", "A="), [PATH, HOST, "A="], id="without value"),
        pytest.param("", ("PATH",), [HOST], id="path taken away"),
        pytest.param("", ("TERM=vt100",), [PATH, HOST, "TERM=vt100"], id="term without tty"),
        pytest.param("tty: true", ("TERM=vt100",), [PATH, "TERM=vt100", HOST], id="term of image"),
        pytest.param("tty: true", (), [PATH, "TERM=xterm", HOST], id="term"),
        pytest.param(
            "env: [{name: PORT, value: '8080'}]",
            ("PORT=80",),
            [PATH, HOST, "PORT=80"],
            id="of image and pod",
        ),
        pytest.param(
            "env: [{name: HOSTNAME, value: pod}, {name: PATH, value: /pod}]",
            ("HOSTNAME=image",),
            ["PATH=/pod", "HOSTNAME=pod"],
            id="of all three",
        ),
        pytest.param(
            "env: [{name: PATH, valueFrom: {configMapKeyRef: {name: c, key: k, optional: true}}}]",
            (),
            [f"{PATH} or PATH=v", HOST],
            id="maybe absent",
        ),
    ],
)
def test_variables_of_runtime_and_image_come_first(
    fields: str, image: tuple[str, ...], head: list[str]
) -> None:
    env = app(fields, facts={"env": image}, configs=CONFIGS).env

    shown = [
        " or ".join(text if isinstance(text, str) else text.regex for text in each.choices)
        for each in env.head
    ]
    assert shown == head


@pytest.mark.parametrize(
    ("path", "sample"),
    [
        ("metadata.name", "A=$(name)"),
        ("metadata.namespace", "A=$(namespace)"),
        ("metadata.uid", "A=$(uid)"),
        ("status.podIP", "A=10.0.0.7"),
        ("status.podIPs", "A=10.0.0.7"),
        ("status.hostIP", "A=10.0.0.7"),
        ("status.hostIPs", "A=10.0.0.7"),
        ("spec.nodeName", "A=node-1"),
    ],
)
def test_what_only_the_host_knows_is_a_pattern(path: str, sample: str) -> None:
    env = app(f"env: [{{name: A, valueFrom: {{fieldRef: {{fieldPath: {path}}}}}}}]").env

    assert env.patterns["A"].sample == sample
    assert env.patterns["A"].required


def test_the_namespace_is_a_text_when_the_yaml_names_it() -> None:
    env = app(
        "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}]", namespace="prod"
    ).env

    assert env.fixed["A"] == "prod"


def test_labels_that_a_stateful_set_adds_are_known() -> None:
    field = "{fieldRef: {fieldPath: \"metadata.labels['statefulset.kubernetes.io/pod-name']\"}}"

    env = app(f"env: [{{name: A, valueFrom: {field}}}]", kind="StatefulSet").env

    assert env.patterns["A"].sample == "A=$(name)"


@pytest.mark.parametrize("limit", ["", "resources: {limits: {cpu: 0}}, "])
@pytest.mark.parametrize("name", ["cpu", "memory", "ephemeral-storage"])
def test_an_unset_limit_is_any_number(name: str, limit: str) -> None:
    """The node's; a limit of zero is none (Kubernetes, pkg/api/v1/resource, MergeContainerResourceLimits)."""
    limit = limit.replace("cpu", name)
    env = app(
        f"{limit}env: [{{name: A, valueFrom: {{resourceFieldRef: {{resource: limits.{name}}}}}}}]"
    ).env

    assert env.patterns["A"].regex == "^A=[0-9]+$"


@pytest.mark.parametrize(
    "resource",
    ["requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.hugepages-2Mi"],
)
def test_what_no_node_gives_is_zero(resource: str) -> None:
    """As above: only limits of three resources are taken from the node."""
    env = app(f"env: [{{name: A, valueFrom: {{resourceFieldRef: {{resource: {resource}}}}}}}]").env

    assert env.fixed["A"] == "0"


def test_an_optional_reference_that_is_found_may_still_be_absent() -> None:
    env = app(
        "env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: k, optional: true}}}]",
        configs=CONFIGS,
    ).env

    assert env.optional == {"A": ("v",)}


@pytest.mark.parametrize("name", ["c", "missing"])
def test_an_optional_reference_that_is_not_found_must_be_absent(name: str) -> None:
    env = app(
        f"env: [{{name: A, valueFrom: {{configMapKeyRef: {{name: {name}, key: none, optional: true}}}}}}]",
        configs=CONFIGS,
    ).env

    assert "A" not in {*env.fixed, *env.optional, *env.patterns}


def indexed(fields: str = "", *, kind: str = "Job") -> Container:
    job = workload(f"containers: [{{name: app, image: '{REFERENCE}', {fields}}}]", kind=kind)
    spec = job["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else job["spec"]
    spec["completionMode"] = "Indexed"
    return derive(given(job), KATA_QEMU).container("app")


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_an_indexed_job_sets_its_index(kind: str) -> None:
    env = indexed(kind=kind).env

    assert env.patterns["JOB_COMPLETION_INDEX"].regex == "^JOB_COMPLETION_INDEX=[0-9]+$"


def test_the_index_of_a_job_is_expanded_in_arguments_and_not_in_probes() -> None:
    container = indexed(
        'args: ["--part=$(JOB_COMPLETION_INDEX)"], '
        'livenessProbe: {exec: {command: [check, "$(JOB_COMPLETION_INDEX)"]}}'
    )

    assert container.process.args[-1] == Pattern(regex="^\\-\\-part=[0-9]+$", sample="--part=2")
    assert container.exec == (("check", ""),)


def test_the_index_of_a_job_may_come_from_its_annotation() -> None:
    path = "metadata.annotations['batch.kubernetes.io/job-completion-index']"

    env = indexed(f'env: [{{name: A, valueFrom: {{fieldRef: {{fieldPath: "{path}"}}}}}}]').env

    assert env.patterns["A"].regex == "^A=[0-9]+$"


def test_a_variable_of_the_jobs_pod_takes_the_place_of_its_index() -> None:
    env = indexed("env: [{name: JOB_COMPLETION_INDEX, value: mine}]").env

    assert env.fixed["JOB_COMPLETION_INDEX"] == "mine"


def test_names_that_only_later_kubelets_accept_may_be_absent() -> None:
    env = app("envFrom: [{configMapRef: {name: c}}]", configs=CONFIGS).env

    assert env.optional == {"9": ("nine",), "bad name": ("x",)}


@pytest.mark.parametrize("name", ["binary", "nul"])
def test_a_value_that_no_variable_can_have_is_an_error(name: str) -> None:
    found = codes(f"envFrom: [{{secretRef: {{name: {name}}}}}]", configs=CONFIGS)

    assert ("G080", "/spec/containers/0/envFrom/0/secretRef") in found


def test_secret_values_in_the_environment_are_warned_of() -> None:
    data = one_container("envFrom: [{secretRef: {name: s}}]", configs=CONFIGS)

    assert [(f.code, f.severity.value, f.where.pointer) for f in data.findings] == [
        ("W120", "warning", "/spec/containers/0/envFrom/0/secretRef")
    ]


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        pytest.param(
            "env: [{name: A, valueFrom: {configMapKeyRef: {name: x, key: k}}}]",
            "G080",
            "env/0/valueFrom/configMapKeyRef",
            id="g01 no such ConfigMap",
        ),
        pytest.param(
            "env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: x}}}]",
            "G080",
            "env/0/valueFrom/configMapKeyRef",
            id="g01 no such key",
        ),
        (
            "env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: bin}}}]",
            "G080",
            "env/0/valueFrom/configMapKeyRef",
        ),
        ("envFrom: [{configMapRef: {name: x}}]", "G080", "envFrom/0/configMapRef"),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.x}}}]",
            "G212",
            "env/0/valueFrom/fieldRef/fieldPath",
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['x']\"}}}]",
            "G212",
            "env/0/valueFrom/fieldRef/fieldPath",
        ),
        (
            "env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.annotations['x']\"}}}]",
            "G212",
            "env/0/valueFrom/fieldRef/fieldPath",
        ),
        (
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: cpu}}}]",
            "G212",
            "env/0/valueFrom/resourceFieldRef/resource",
        ),
        (
            "env: [{name: A, valueFrom: {resourceFieldRef: {containerName: x, resource: limits.cpu}}}]",
            "G212",
            "env/0/valueFrom/resourceFieldRef/containerName",
        ),
        (
            "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: x}}}]",
            "G200",
            "env/0/valueFrom/resourceFieldRef/divisor",
        ),
        ("env: [{name: A, valueFrom: {fileKeyRef: {}}}]", "G201", "env/0/valueFrom"),
        ("env: [{value: x}]", "G211", "env/0/name"),
        ('env: [{name: "A=B", value: x}]', "G211", "env/0/name"),
        ("env: [{name: A, value: 5}]", "G200", "env/0/value"),
        ("env: {A: b}", "G200", "env"),
        ("env: [A]", "G200", "env/0"),
        ("args: [5]", "G200", "args/0"),
        ("command: x", "G200", "command"),
        ("tty: 1", "G200", "tty"),
        (
            "securityContext: {capabilities: {add: [CAP_KILL]}}",
            "G214",
            "securityContext/capabilities/add/0",
        ),
        (
            "securityContext: {capabilities: {drop: [[]]}}",
            "G214",
            "securityContext/capabilities/drop/0",
        ),
        ("securityContext: {runAsUser: -1}", "G200", "securityContext/runAsUser"),
        ("securityContext: {runAsUser: true}", "G200", "securityContext/runAsUser"),
    ],
)
def test_what_is_not_understood_is_an_error_with_its_place(
    fields: str, code: str, pointer: str
) -> None:
    assert (code, f"/spec/containers/0/{pointer}") in codes(fields, configs=CONFIGS)


@pytest.mark.parametrize(
    ("pod", "config", "found"),
    [
        (None, None, True),
        (None, "default", True),
        (None, "", True),
        ("default", None, True),
        ("default", "default", True),
        ("prod", "prod", True),
        ("prod", None, False),
        ("prod", "default", False),
        (None, "prod", False),
    ],
)
def test_a_config_map_is_looked_up_in_the_pods_namespace(
    pod: str | None, config: str | None, *, found: bool
) -> None:
    field = "env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: k, optional: true}}}]"

    env = app(field, namespace=pod, configs={("ConfigMap", config, "c"): {"k": "v"}}).env

    assert ("A" in env.optional) is found


# Identity.

PASSWD = "root:x:0:0::/:/bin/sh\nweb:x:1000:1001::/:/bin/sh\nbroken\n"
GROUP = "root:x:0:\nweb:x:1001:web\nextra:x:2000:web,other\nlast:x:3000:\n"


def identity(fields: str, user: str, *, pod: str = "") -> tuple[int, int, tuple[int, ...]]:
    facts = {"user": user, "passwd": PASSWD, "group": GROUP}
    found = app(fields, pod=pod, facts=facts, tolerant=True).process.user
    return found.uid, found.gid, found.gids


@pytest.mark.parametrize(
    ("fields", "pod", "user", "expected"),
    [
        ("", "", "", (0, 0, (0,))),
        ("", "", "1000", (1000, 1001, (1001, 2000))),
        ("", "", "1000:5", (1000, 1001, (1001, 2000))),
        ("", "", "web", (1000, 1001, (1001, 2000))),
        ("", "", "web:5", (1000, 1001, (1001, 2000))),
        ("", "", "77", (77, 0, (0,))),
        ("securityContext: {runAsUser: 77}", "", "web", (77, 0, (0,))),
        ("securityContext: {runAsUser: 1000}", "", "", (1000, 1001, (1001, 2000))),
        ("securityContext: {runAsUser: 1000, runAsGroup: 9}", "", "", (1000, 9, (9, 2000))),
        ("securityContext: {runAsGroup: 9}", "", "", (0, 9, (9,))),
        ("", "securityContext: {runAsUser: 5, runAsGroup: 6}", "web", (5, 6, (6,))),
        (
            "securityContext: {runAsUser: 7}",
            "securityContext: {runAsUser: 5, runAsGroup: 6}",
            "",
            (7, 6, (6,)),
        ),
        ("", "securityContext: {fsGroup: 8, supplementalGroups: [9, 8]}", "", (0, 0, (0, 8, 9))),
    ],
)
def test_identity_is_computed_as_kubelet_and_runtime_do(
    fields: str, pod: str, user: str, expected: tuple[int, int, tuple[int, ...]]
) -> None:
    assert identity(fields, user, pod=pod) == expected


# docs/internals/reality.md 1.11: with the image's files in sight, and without.
@pytest.mark.parametrize(
    ("fields", "pod", "user", "unseen"),
    [
        pytest.param("", "", "1000", (0, (0,)), id="number of the image"),
        pytest.param("securityContext: {runAsUser: 1000}", "", "", (0, (0,)), id="number"),
        pytest.param(
            "securityContext: {runAsUser: 1000, runAsGroup: 1001}",
            "",
            "",
            (1001, (1001,)),
            id="both",
        ),
        pytest.param(
            "", "securityContext: {supplementalGroups: [7]}", "1000", (0, (0, 7)), id="pod's groups"
        ),
    ],
)
def test_a_node_without_the_images_files_knows_none_of_its_groups(
    fields: str, pod: str, user: str, unseen: tuple[int, tuple[int, ...]]
) -> None:
    facts = {"user": user, "passwd": PASSWD, "group": GROUP}

    found = app(fields, pod=pod, facts=facts).process.user

    assert found.unseen == unseen
    assert found.to_json()["groups"][1] == {"gid": unseen[0], "gids": list(unseen[1])}


def test_one_identity_is_written_once() -> None:
    assert app("").process.user.to_json() == {"uid": 0, "groups": [{"gid": 0, "gids": [0]}]}


def test_g07_a_user_by_name_is_a_warning_with_its_number() -> None:
    findings = one_container(
        "", images={REFERENCE: image(REFERENCE, user="web", passwd=PASSWD, group=GROUP)}
    ).findings

    assert [(each.code, each.severity.value) for each in findings] == [("G217", "warning")]
    assert "runAsUser: 1000, runAsGroup: 1001" in findings[0].hint


def test_a_user_that_the_image_does_not_know_is_an_error() -> None:
    found = codes("", facts={"user": "nobody", "passwd": PASSWD, "group": ""})

    assert ("G210", "/spec/containers/0") in found


# Source: github.com/moby/sys/user, which tests/runtime/test_real_containerd.py asks for such lines.
@pytest.mark.parametrize(
    ("number", "meant"), [("\u00b2", 0), ("\u0663", 0), ("+5", 5), ("0x1", 0), ("", 0), ("12", 12)]
)
def test_what_is_no_number_in_the_images_accounts_is_0(number: str, meant: int) -> None:
    facts = {
        "user": "odd",
        "passwd": f"odd:x:{number}:{number}::/:\nodd\u2028odd:x:5:5::/:\nodd:x:7:8::/:\n",
        "group": f"more:x:{number}:odd\n",
    }

    found = app("", facts=facts, tolerant=True).process.user

    assert (found.uid, found.gid, found.gids) == (meant, meant, (meant,))


def test_a_line_of_the_images_accounts_counts_as_far_as_it_goes() -> None:
    facts = {
        "user": "odd",
        "passwd": "\n  odd  \nroot:x:0:0\n",
        "group": "extra:x:12:odd\nbroken\nz:x:q:odd",
    }

    found = app("", facts=facts, tolerant=True).process.user

    assert (found.uid, found.gid, found.gids) == (0, 0, (0, 12))


def test_a_user_by_name_has_its_own_group_beside_another_name_of_its_number() -> None:
    facts = {
        "user": "second",
        "passwd": "first:x:7:8::/:\nsecond:x:7:9::/:\n",
        "group": "g:x:5:second",
    }

    found = app("", facts=facts, tolerant=True).process.user

    assert (found.uid, found.gid, found.gids) == (7, 9, (5, 9))


@pytest.mark.parametrize("user", ["\u00b2", "\u0663", "+5"])
def test_a_user_of_other_digits_is_a_name(user: str) -> None:
    assert ("G210", "/spec/containers/0") in codes("", facts={"user": user})


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        ("", (65535, 65535, (65535,))),
        ("securityContext: {runAsUser: 5}", (5, 0, (0,))),
        ("securityContext: {runAsUser: 5, runAsGroup: 6, fsGroup: 7}", (5, 6, (6,))),
        ("securityContext: {supplementalGroups: [9]}", (65535, 65535, (65535,))),
    ],
)
def test_the_pause_container_has_the_pods_or_its_own_identity(
    pod: str, expected: tuple[int, int, tuple[int, ...]]
) -> None:
    user = one_container("", pod=pod).container("").process.user

    assert (user.uid, user.gid, user.gids) == expected


def test_a_group_without_a_user_makes_no_sandbox() -> None:
    """As containerd says; of a container it takes the user of its image (testdata/oci, user-group-no-user)."""
    pod = "securityContext: {runAsGroup: 6}"

    assert codes("", pod=pod) == [("G219", "/spec/securityContext/runAsGroup")]
    assert one_container("securityContext: {runAsGroup: 6}").findings == ()


# Rights.


@pytest.mark.parametrize(
    ("security", "caps"),
    [
        ("{}", set(DEFAULT_CAPS)),
        ("{capabilities: {drop: [ALL]}}", set()),
        ("{capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}", {"NET_BIND_SERVICE"}),
        ("{capabilities: {add: [NET_ADMIN]}}", {*DEFAULT_CAPS, "NET_ADMIN"}),
        ("{capabilities: {drop: [MKNOD]}}", set(DEFAULT_CAPS) - {"MKNOD"}),
        ("{capabilities: {add: [ALL]}}", set(ALL_CAPS)),
        ("{capabilities: {add: [ALL], drop: [SYS_ADMIN]}}", set(ALL_CAPS) - {"SYS_ADMIN"}),
        ("{privileged: true}", set(ALL_CAPS)),
        ("{privileged: true, capabilities: {add: [NET_ADMIN]}}", set(ALL_CAPS)),
        # testdata/oci: caps-privileged-drop, caps-lower, caps-drop-all-add-all.
        ("{privileged: true, capabilities: {drop: [ALL]}}", set(ALL_CAPS)),
        (
            "{capabilities: {add: [net_admin], drop: [Mknod]}}",
            {*DEFAULT_CAPS, "NET_ADMIN"} - {"MKNOD"},
        ),
        ("{capabilities: {drop: [all], add: [ALL]}}", set()),
    ],
)
def test_capabilities_are_dropped_and_added(security: str, caps: set[str]) -> None:
    assert set(app(f"securityContext: {security}").process.caps) == caps


def test_the_kernel_has_41_capabilities() -> None:
    assert len(set(ALL_CAPS)) == 41


@pytest.mark.parametrize(
    ("security", "nnp"),
    [
        ("{}", False),
        ("{allowPrivilegeEscalation: true}", False),
        ("{allowPrivilegeEscalation: false}", True),
        # The API server refuses this one; the kubelet and containerd look at nothing else.
        ("{allowPrivilegeEscalation: false, privileged: true}", True),
        ("{allowPrivilegeEscalation: false, capabilities: {add: [SYS_ADMIN]}}", True),
    ],
)
def test_privilege_escalation_is_read_as_the_kubelet_does(security: str, nnp: bool) -> None:
    assert app(f"securityContext: {security}").process.nnp is nnp


def test_a_privileged_container_has_no_protected_paths() -> None:
    container = app("securityContext: {privileged: true}")

    assert container.masked == ()
    assert container.readonly == ()


def test_probes_and_hooks_are_the_only_commands() -> None:
    container = app(
        'env: [{name: X, value: "1"}, {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}], '
        'livenessProbe: {exec: {command: [a, "$(X)"]}}, readinessProbe: {exec: {command: [a, "$(X)"]}}, '
        'startupProbe: {exec: {command: ["$(IP)b"]}}, '
        'lifecycle: {postStart: {exec: {command: ["$(X)"]}}, preStop: {httpGet: {port: 1}}}'
    )

    assert container.exec == (("a", "1"), ("b",), ("$(X)",))


def test_an_argument_with_an_unknown_part_is_a_pattern() -> None:
    args = app(
        'args: ["$(IP)"], env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]'
    ).process.args

    assert isinstance(args[1], Pattern)


def test_facts_of_another_image_are_not_taken() -> None:
    facts = ImageFacts(reference=REFERENCE, digest="sha256:" + "00" * 32, entrypoint=("/x",))

    with pytest.raises(FindingsError) as caught:
        one_container("", images={REFERENCE: facts})
    assert caught.value.findings[0].code == "G010"


@pytest.mark.parametrize(
    ("user", "fields", "pod"),
    [
        ("", "", "runAsNonRoot: true"),
        ("0", "", "runAsNonRoot: true"),
        ("app", "", "runAsNonRoot: true"),
        ("7", "runAsUser: 0", "runAsNonRoot: true"),
        ("", "runAsNonRoot: true", "runAsNonRoot: false"),
    ],
)
def test_a_process_that_may_be_roots_is_refused_where_it_must_not(
    user: str, fields: str, pod: str
) -> None:
    # As tests/runtime/test_containerd_users.py has it of the kubelet.
    facts = {"user": user, "passwd": "app:x:7:8::/:/bin/sh\n"}

    found = codes(f"securityContext: {{{fields}}}", pod=f"securityContext: {{{pod}}}", facts=facts)

    assert ("G220", "/spec/containers/0") in found


@pytest.mark.parametrize(
    ("user", "fields"),
    [("7", ""), ("app", "runAsUser: 7"), ("", "runAsNonRoot: false"), ("", "runAsUser: 7")],
)
def test_a_process_that_is_not_roots_is_fine(user: str, fields: str) -> None:
    facts = {"user": user, "passwd": "app:x:7:8::/:/bin/sh\n"}

    assert app(
        f"securityContext: {{{fields}}}", pod="securityContext: {runAsNonRoot: true}", facts=facts
    )
