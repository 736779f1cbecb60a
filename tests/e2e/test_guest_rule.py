"""The guest's rule against incoming connections, and who of our programs lifts it: in network namespaces, with the kernel's rules."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.packet_filter.deny import DENY
from tests.fakes.mesh_guest import ROOT, until_said
from tests.fakes.mesh_traffic import connect, http_app, serving
from tests.fakes.pod_network import Pod, PodNetwork, needed

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("mesh-guest")]

REFUSED_S = 1.5
LIFTED = "the guest's rule was there once"


@pytest.fixture
def network() -> Iterator[PodNetwork]:
    needed()
    made = PodNetwork()
    yield made
    made.close()


def start(pod: Pod, folder: Path, module: str, *words: str, **more: str) -> subprocess.Popen[str]:
    SimulatedProcessor.load_or_create(folder / "processor")
    with pod.inside():
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "CONTRAST_EVIDENCE": f"simulated:{folder / 'processor'}",
                "CONTRAST_HOST_DATA": "00" * 32,
                **more,
            },
            stderr=subprocess.PIPE,
            text=True,
        )


def initializer(pod: Pod, folder: Path, **more: str) -> subprocess.Popen[str]:
    return start(
        pod,
        folder,
        "contrast_tasks.guest.initializer",
        COORDINATOR_HOST="127.0.0.1:1",
        CONTRAST_SECRETS_DIR=str(folder / "contrast"),
        CONTRAST_DONE_FILE=str(folder / "done"),
        **more,
    )


@pytest.mark.parametrize("variant", ["iptables-legacy", "iptables-nft"])
def test_the_coordinator_lets_connections_in_by_itself(
    network: PodNetwork, tmp_path: Path, variant: str
) -> None:
    pod, stranger = network.add(), network.add()
    pod.run(variant, *DENY.line("-I").split())

    process = start(
        pod,
        tmp_path,
        "coordinator",
        *("--state", str(tmp_path / "state")),
        CONTRAST_PACKET_FILTER="on",
    )
    with process:
        until_said(process, "Coordinator started")
        with stranger.inside():
            connect(pod.ipv4, 1313).close()
        process.terminate()
        assert process.wait(timeout=30) == 0

    assert "DROP" not in pod.run(variant, "-S", "INPUT")


def test_a_coordinator_of_a_machine_leaves_its_rules_alone(
    network: PodNetwork, tmp_path: Path
) -> None:
    pod = network.add()
    pod.close_inbound()

    with start(pod, tmp_path, "coordinator", "--state", str(tmp_path / "state")) as process:
        until_said(process, "Coordinator started")
        process.terminate()
        process.wait(timeout=30)

    assert pod.is_closed()


def test_the_initializer_of_a_pod_without_a_mesh_lets_connections_in(
    network: PodNetwork, tmp_path: Path
) -> None:
    pod = network.add()
    pod.close_inbound()

    process = initializer(
        pod, tmp_path, CONTRAST_SERVICE_MESH_DISABLED="true", CONTRAST_PACKET_FILTER="on"
    )
    with process:
        until_said(process, LIFTED)
        process.terminate()
        process.wait(timeout=30)

    assert not pod.is_closed()


def test_the_initializer_of_a_pod_with_a_mesh_leaves_the_rule_to_the_sidecar_and_closes_ipv6(
    network: PodNetwork, tmp_path: Path
) -> None:
    pod, stranger = network.add(), network.add()
    pod.close_inbound()
    with pod.inside():
        app = http_app(8080)
    with serving(app), initializer(pod, tmp_path, CONTRAST_PACKET_FILTER="on") as process:
        said = until_said(process, "attempt 1")
        for address in (pod.ipv4, pod.ipv6):
            with stranger.inside(), pytest.raises(OSError, match="timed out"):
                connect(address, 8080, REFUSED_S)
        process.terminate()
        process.wait(timeout=30)

    assert LIFTED not in said
    assert pod.is_closed()


def test_an_initializer_that_cannot_lift_the_rule_ends_and_says_why(
    network: PodNetwork, tmp_path: Path
) -> None:
    pod = network.add()
    pod.close_inbound()
    # The image has no iptables.
    (tmp_path / "bin").mkdir()
    hidden = {"CONTRAST_SERVICE_MESH_DISABLED": "true", "CONTRAST_PACKET_FILTER": "on"}

    with pod.inside():
        refused = subprocess.run(
            [
                *("unshare", "--mount", "sh", "-ec"),
                'for folder in /usr/sbin /sbin; do mount --bind "$0" "$folder"; done; exec "$@"',
                str(tmp_path / "bin"),
                *(sys.executable, "-m", "contrast_tasks.guest.initializer"),
            ],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "CONTRAST_EVIDENCE": f"simulated:{processor(tmp_path)}",
                "CONTRAST_HOST_DATA": "00" * 32,
                "COORDINATOR_HOST": "127.0.0.1:1",
                **hidden,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert refused.returncode == 1
    assert "cannot lift the guest's rule against incoming connections" in refused.stderr
    assert "the image needs iptables-legacy" in refused.stderr
    assert pod.is_closed()


def processor(folder: Path) -> Path:
    SimulatedProcessor.load_or_create(folder / "processor")
    return folder / "processor"
