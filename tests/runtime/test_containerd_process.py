"""Process of a container: docs/internals/reality.md 1.1 to 1.3, from the rules of the recordings."""

from typing import Any

import pytest

from contrast_tasks.runtime.node import KERNEL_CAPABILITIES, Image
from tests.fakes.runtime import IMAGE, VERSIONS, app, node_with, pod_of, refusal, sandbox

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def env_of(container: dict[str, Any], *image: str) -> list[str]:
    """Return the environment without the variables of the API server."""
    spec = app(pod_of(container), image=Image(entrypoint=("/bin/app",), env=image))
    return [each for each in spec["process"]["env"] if not each.startswith("KUBERNETES_")]


def given(**variables: str) -> dict[str, Any]:
    return {"env": [{"name": name, "value": value} for name, value in variables.items()]}


@pytest.mark.parametrize(
    ("container", "image", "expected"),
    [
        pytest.param({}, (), [PATH, "HOSTNAME=web"], id="containerd's own"),
        pytest.param({"tty": True}, (), [PATH, "TERM=xterm", "HOSTNAME=web"], id="terminal"),
        pytest.param(
            given(PORT="8080"),
            ("PORT=80",),
            [PATH, "HOSTNAME=web", "PORT=80", "PORT=8080"],
            id="an overridden name comes twice",
        ),
        pytest.param(
            given(A="3"),
            ("A=1", "A=2", "A=1"),
            [PATH, "HOSTNAME=web", "A=1", "A=2", "A=1", "A=3"],
            id="repeats are kept",
        ),
        pytest.param(
            {}, ("PATH=/one", "PATH=/two"), ["PATH=/two", "HOSTNAME=web"], id="PATH in place"
        ),
        pytest.param(
            given(HOSTNAME="mine"),
            ("HOSTNAME=image",),
            [PATH, "HOSTNAME=mine"],
            id="HOSTNAME in place",
        ),
        pytest.param(
            {"tty": True}, ("TERM=vt100",), [PATH, "TERM=vt100", "HOSTNAME=web"], id="TERM in place"
        ),
        pytest.param(
            given(TERM="dumb"),
            ("TERM=vt100",),
            [PATH, "HOSTNAME=web", "TERM=vt100", "TERM=dumb"],
            id="TERM without a terminal is a name like others",
        ),
        pytest.param({}, ("ODD", "X=a=b", "E="), [PATH, "HOSTNAME=web", "X=a=b", "E="], id="odd"),
        pytest.param({}, ("PATH",), ["HOSTNAME=web"], id="a bare own name removes it"),
        pytest.param(
            given(PATH="/x"), ("PATH",), ["PATH=/x", "HOSTNAME=web"], id="removed and set again"
        ),
    ],
)
def test_the_environment(
    container: dict[str, Any], image: tuple[str, ...], expected: list[str]
) -> None:
    assert env_of(container, *image) == expected


def test_the_pause_container_has_no_host_name() -> None:
    spec = sandbox(pod_of())

    assert spec["process"]["env"] == [PATH]


@pytest.mark.parametrize(
    ("container", "image", "expected"),
    [
        pytest.param({}, (["/e"], ["c"]), ["/e", "c"], id="image"),
        pytest.param({"args": ["a"]}, (["/e"], ["c"]), ["/e", "a"], id="args"),
        pytest.param({"command": ["/x"]}, (["/e"], ["c"]), ["/x"], id="command drops both"),
        pytest.param({"command": ["/x"], "args": ["a"]}, (["/e"], []), ["/x", "a"], id="both"),
        pytest.param({}, ([""], ["/bin/sleep"]), ["/bin/sleep"], id="empty entry point"),
        pytest.param({"args": ["/a"]}, ([""], ["c"]), ["/a"], id="empty entry point, args"),
        pytest.param({}, (["", "x"], []), ["", "x"], id="two words, the first empty"),
        pytest.param({}, (["/e"], [""]), ["/e", ""], id="empty command of the image"),
        pytest.param({"command": [""], "args": ["/a"]}, (["/e"], []), ["", "/a"], id="empty word"),
    ],
)
def test_the_arguments(
    container: dict[str, Any], image: tuple[list[str], list[str]], expected: list[str]
) -> None:
    entrypoint, cmd = image

    spec = app(pod_of(container), image=Image(entrypoint=tuple(entrypoint), cmd=tuple(cmd)))

    assert spec["process"]["args"] == expected


@pytest.mark.parametrize("image", [Image(), Image(entrypoint=("",))], ids=["nothing", "empty"])
def test_nothing_to_run_is_refused(image: Image) -> None:
    by, message = refusal(pod_of(), image=image)

    assert by == "containerd"
    assert message.endswith("no command specified")


@pytest.mark.parametrize(
    ("container", "image", "expected"),
    [
        ({}, "", "/"),
        ({}, "srv/../app/", "srv/../app/"),
        ({"workingDir": "/a/b/"}, "/srv", "/a/b/"),
    ],
)
def test_the_folder_is_as_written(container: dict[str, Any], image: str, expected: str) -> None:
    spec = app(pod_of(container), image=IMAGE.replace(working_dir=image))

    assert spec["process"]["cwd"] == expected


def caps_of(security: dict[str, Any]) -> set[str]:
    sets = app(pod_of({"securityContext": security}))["process"]["capabilities"]
    assert set(sets) <= {"bounding", "effective", "permitted"}
    assert sets.get("bounding") == sets.get("effective") == sets.get("permitted")
    return {name.removeprefix("CAP_") for name in sets.get("bounding", [])}


# The default set of containerd, in alphabetical order.
DEFAULT = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}
ALL = set(KERNEL_CAPABILITIES)


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        pytest.param({}, DEFAULT, id="default"),
        pytest.param({"capabilities": {"drop": ["ALL"]}}, set(), id="drop all"),
        pytest.param({"capabilities": {"add": ["ALL"]}}, ALL, id="add all"),
        pytest.param(
            {"capabilities": {"add": ["All"], "drop": ["net_raw"]}}, ALL - {"NET_RAW"}, id="but one"
        ),
        pytest.param({"capabilities": {"add": ["ALL"], "drop": ["ALL"]}}, set(), id="both all"),
        pytest.param(
            {"capabilities": {"add": ["SYS_TIME"], "drop": ["SYS_TIME", "KILL"]}},
            DEFAULT - {"KILL"},
            id="in both",
        ),
        pytest.param(
            {"capabilities": {"drop": ["all"], "add": ["net_bind_service", "CAP_CHOWN"]}},
            {"NET_BIND_SERVICE", "CAP_CHOWN"},
            id="case and prefix",
        ),
        pytest.param(
            {"privileged": True, "capabilities": {"drop": ["ALL"]}}, ALL, id="privileged ignores"
        ),
        pytest.param(
            {"runAsUser": 1000, "capabilities": {"add": ["NET_ADMIN"]}},
            {*DEFAULT, "NET_ADMIN"},
            id="another user has them too",
        ),
    ],
)
def test_capabilities(security: dict[str, Any], expected: set[str]) -> None:
    assert caps_of(security) == expected


def test_all_means_what_the_daemon_has() -> None:
    node = node_with("2.4.2", capabilities=("CHOWN", "KILL"))

    sets = app(pod_of({"securityContext": {"privileged": True}}), node=node)["process"]

    assert sets["capabilities"]["bounding"] == ["CAP_CHOWN", "CAP_KILL"]


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ({}, None),
        ({"allowPrivilegeEscalation": True}, None),
        ({"allowPrivilegeEscalation": False}, True),
    ],
)
def test_no_new_privileges_only_on_request(security: dict[str, Any], expected: object) -> None:
    process = app(pod_of({"securityContext": security}))["process"]

    assert process.get("noNewPrivileges") is expected
    assert sandbox(pod_of())["process"]["noNewPrivileges"] is True


@pytest.mark.parametrize("version", VERSIONS)
def test_the_score_for_lack_of_memory_is_not_below_the_daemons(version: str) -> None:
    limits = {"resources": {"limits": {"cpu": "1", "memory": "64Mi"}}}
    strict = node_with(version, restrict_oom_score=True, daemon_oom_score=-500)

    assert app(pod_of(limits), node=node_with(version))["process"]["oomScoreAdj"] == -997
    assert app(pod_of(limits), node=strict)["process"]["oomScoreAdj"] == -500
    assert sandbox(pod_of(), node=node_with(version))["process"]["oomScoreAdj"] == -998
    assert sandbox(pod_of(), node=strict)["process"]["oomScoreAdj"] == -500
