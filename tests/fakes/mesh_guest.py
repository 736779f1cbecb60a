"""Pods with the sidecar in network namespaces: the guest's rule against connections first, then the real program and Envoy."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contrast_tasks.guest.secret_files import SecretFiles
from tests.fakes.mesh_pki import Authority
from tests.fakes.mesh_traffic import files_of
from tests.fakes.pod_network import Pod, with_files

ROOT = Path(__file__).parents[2]


@dataclass
class MeshGuest:
    """A pod of the mesh; name: in its certificate. names: what its hosts file knows, by name. program: the sidecar."""

    pod: Pod
    folder: Path
    authority: Authority
    name: str
    processor: Path
    names: dict[str, str] = field(default_factory=dict)
    resolver: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    program: Sequence[str] = (sys.executable, "-m", "contrast_tasks.guest.sidecar")

    def __post_init__(self) -> None:
        self.files = files_of(self.folder / "contrast", self.authority, self.name)
        (self.folder / "run").mkdir(parents=True, exist_ok=True)
        self.pod.close_inbound()

    def renew(self, authority: Authority) -> SecretFiles:
        """Write files as the initializer would for another mesh CA."""
        return files_of(self.folder / "contrast", authority, self.name)

    def start(self) -> subprocess.Popen[str]:
        """Start the sidecar; the caller ends it."""
        hosts, resolver = self.folder / "hosts", self.folder / "resolv.conf"
        lines = ["127.0.0.1 localhost", *(f"{ip} {name}" for name, ip in self.names.items())]
        hosts.write_text("\n".join(lines) + "\n")
        resolver.write_text(f"nameserver {self.resolver}\n" if self.resolver else "")
        with self.pod.inside():
            return subprocess.Popen(
                with_files(str(hosts), str(resolver), self.program),
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT),
                    "CONTRAST_EVIDENCE": f"simulated:{self.processor}",
                    "CONTRAST_HOST_DATA": "00" * 32,
                    "CONTRAST_PACKET_FILTER": "on",
                    "CONTRAST_SECRETS_DIR": str(self.folder / "contrast"),
                    "CONTRAST_MESH_DIR": str(self.folder / "run"),
                    "CONTRAST_READY_FILE": str(self.folder / "run" / "ready"),
                    **self.environ,
                },
                stderr=subprocess.PIPE,
                text=True,
            )

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """Run the sidecar; inside the context it is ready."""
        with self.start() as process:
            try:
                until_ready(process)
                yield process
            finally:
                process.terminate()
                process.wait(timeout=30)


def until_ready(process: subprocess.Popen[str]) -> str:
    """Return what the sidecar has said when Envoy's listeners are active."""
    return until_said(process, "envoy is ready")


def until_said(process: subprocess.Popen[str], text: str) -> str:
    """Return what the sidecar has said up to the line with a text."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if text in line:
            return said
    raise AssertionError(said)
