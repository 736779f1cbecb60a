"""Where the local backend keeps what it knows: everything below `.contrast/local/` of a project."""

from dataclasses import dataclass
from pathlib import Path

from contrast_tasks.errors import ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPaths:
    """The files and folders of one project's local backend."""

    project: Path

    @property
    def base(self) -> Path:
        """Return `.contrast/local` of the project."""
        return self.project / ".contrast" / "local"

    @property
    def control(self) -> Path:
        """Return the daemon's control socket."""
        return self.base / "node.sock"

    @property
    def pid_file(self) -> Path:
        """Return the file that names the running daemon's processes."""
        return self.base / "node.json"

    @property
    def network(self) -> Path:
        """Return the record of the network in use and of every pod's address."""
        return self.base / "network.json"

    @property
    def hosts(self) -> Path:
        """Return the table of cluster names that applications resolve with."""
        return self.base / "hosts.json"

    @property
    def logs(self) -> Path:
        """Return the folder of the pods' logs."""
        return self.base / "logs"

    @property
    def images(self) -> Path:
        """Return the folder of unpacked images, one folder per digest."""
        return self.base / "images"

    @property
    def processor(self) -> Path:
        """Return the folder of the simulated processor's keys and certificates."""
        return self.base / "processor"

    @property
    def state(self) -> Path:
        """Return the Coordinator's history."""
        return self.base / "state"

    def pod(self, name: str) -> Path:
        """Return the working folder of one pod: volumes, start-up markers, container folders."""
        return self.base / "pods" / name

    def log(self, pod: str, container: str) -> Path:
        """Return the log of one container."""
        return self.logs / f"{pod}-{container}.log"


def local_paths(project: Path) -> LocalPaths:
    """Return the paths of a project after making its private base folder.

    Raises ClusterError if the folder cannot be made.
    """
    paths = LocalPaths(project=project.resolve())
    try:
        paths.base.mkdir(parents=True, exist_ok=True)
        paths.base.chmod(0o700)
    except OSError as err:
        raise ClusterError(f"cannot make {paths.base}: {err.strerror}") from err
    return paths
