"""What is said after a success: a line per change, and one that sums up."""

from pathlib import Path

import pytest

from contrast_tasks.cli import summaries
from contrast_tasks.client.recover import RecoverResult
from contrast_tasks.client.set import SetResult
from contrast_tasks.client.verify import VerifyResult
from contrast_tasks.deploy.apply import StatusResult
from contrast_tasks.deploy.pods_report import PodLine
from contrast_tasks.local.messages import PodStatus

IN_FORCE = "manifest aaaaaaaaaaaa is in force"
ROTATED = (
    "the mesh CA was rotated, workloads have certificates of the old one until "
    "'contrast-tasks restart'"
)

POD = PodLine("Deployment/web", "web-1", "Pending", is_ready=False, restarts=0, reason="")


def was_set(generation: int, *files: str) -> SetResult:
    return SetResult(
        coordinator="host:1",
        generation=generation,
        is_repeat=False,
        manifest_sha256="a" * 64,
        mesh_ca_sha256="b" * 64,
        files=files,
    )


def test_the_first_set_tells_what_it_wrote_and_what_is_in_force() -> None:
    assert summaries.set_lines(was_set(1, "mesh-ca.pem", "seed-shares.json"), "manifest.json") == [
        "wrote mesh-ca.pem",
        "wrote seed-shares.json",
        f"set manifest.json at coordinator host:1: {IN_FORCE} (generation 1), mesh CA bbbbbbbbbbbb",
    ]


def test_a_later_set_tells_that_workloads_need_a_restart() -> None:
    assert summaries.set_lines(was_set(2), "manifest.json") == [
        ROTATED,
        f"set manifest.json at coordinator host:1: {IN_FORCE} (generation 2), mesh CA bbbbbbbbbbbb",
    ]


def test_verify_tells_the_files_below_their_folder() -> None:
    found = VerifyResult(
        coordinator="host:1",
        folder=Path("/project/verify"),
        files=("manifest.0.json", "mesh-ca.pem"),
        generations=1,
        manifest_sha256="a" * 64,
        root_ca_sha256="c" * 64,
        mesh_ca_sha256="b" * 64,
    )

    assert summaries.verify_lines(found, "my.json", "verify") == [
        "wrote verify/manifest.0.json",
        "wrote verify/mesh-ca.pem",
        f"verified coordinator host:1 against my.json: {IN_FORCE} (generation 1), mesh CA {'b' * 12}",
    ]


@pytest.mark.parametrize(("restart", "lines"), [((), []), (("Deployment/web",), [ROTATED])])
def test_recover_tells_that_workloads_need_a_restart(
    restart: tuple[str, ...], lines: list[str]
) -> None:
    done = RecoverResult(
        coordinator="host:1",
        generation=3,
        manifest_sha256="a" * 64,
        mesh_ca_sha256="b" * 64,
        files=("verify/mesh-ca.pem", "mesh-ca.pem"),
        restart=restart,
    )

    assert summaries.recover_lines(done) == [
        "wrote verify/mesh-ca.pem",
        "wrote mesh-ca.pem",
        *lines,
        f"recovered coordinator host:1: {IN_FORCE} (generation 3), mesh CA bbbbbbbbbbbb",
    ]


@pytest.mark.parametrize(
    ("count", "unit", "waited", "line"),
    [
        (0, "pod", True, "there is nothing to restart"),
        (1, "pod", True, "1 pod restarted, all ready"),
        (2, "workload", False, "2 workloads restarted"),
    ],
)
def test_restart_is_summed_up(count: int, unit: str, waited: bool, line: str) -> None:
    assert summaries.restart_line(count, unit, waited=waited) == line


def pod(name: str, *, ready: bool, message: str = "") -> PodStatus:
    return PodStatus(
        name=name,
        workload=f"Deployment/{name}",
        role="",
        address="127.0.0.1",
        phase="ready" if ready else "initializing",
        started=ready,
        ready=ready,
        restarts=0,
        message=message,
        policy_sha256="",
        digest="",
        pids={},
    )


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (StatusResult(platform="local", running=False), "nothing is running"),
        (
            StatusResult(platform="k3s-qemu-snp", running=True, on_cluster=(POD,)),
            "1 of 1 pods is not ready",
        ),
        (
            StatusResult(platform="local", running=True, pods=(pod("web", ready=True),)),
            "all 1 pods are ready",
        ),
        (
            StatusResult(
                platform="local",
                running=True,
                pods=(pod("web", ready=True), pod("emoji", ready=False)),
            ),
            "1 of 2 pods is not ready",
        ),
    ],
    ids=["nothing", "cluster", "ready", "behind"],
)
def test_status_says_whether_all_is_ready(found: StatusResult, line: str) -> None:
    assert summaries.status_line(found) == line


@pytest.mark.parametrize(
    ("state", "message", "hint"),
    [
        ("", "", "'contrast-tasks logs Deployment/web' shows what its containers wrote"),
        (
            "initial",
            "",
            "the coordinator has no manifest, and pods wait for it: 'contrast-tasks set'",
        ),
        (
            "recovery",
            "",
            (
                "give it its seed back with 'contrast-tasks recover', or begin a new history with"
                " 'contrast-tasks deploy --fresh' (platform local)"
            ),
        ),
        (
            "active",
            "contrast-initializer: certificates are in /contrast",
            (
                "pods are starting: 'contrast-tasks status --wait 60' waits for them;"
                " their logs are in .contrast/local/logs"
            ),
        ),
        (
            "active",
            "contrast-initializer: attempt 4: coordinator refused a certificate: policy hash 8d5d not found in manifest",
            (
                "a pod gets its certificate when the manifest in force has its policy:"
                " 'contrast-tasks set'; its log is in .contrast/local/logs"
            ),
        ),
    ],
)
def test_status_tells_the_next_command_to_those_who_wait(
    state: str, message: str, hint: str
) -> None:
    pods = (pod("web", ready=False, message=message),)

    found = StatusResult(platform="local", running=True, pods=pods, coordinator=state)

    assert summaries.status_hint(found) == hint
