"""The files of the local backend, all below `.contrast/local/` of a project."""

from pathlib import Path

from contrast_tasks.errors import ClusterError
from contrast_tasks.records import Record
from contrast_tasks.settings.outputs import LOCAL_STATE, PROCESSOR


class LocalPaths(Record):
    """The files and folders of one project's local backend.

    control: the daemon's socket; pid_file: its process IDs. network: the net in use and the pods' addresses. hosts:
    cluster names for applications. images: unpacked, one folder per digest. pulled: the layout of those from
    registries. processor: keys and certificates of the
    simulated processor. run: where a node of namespaces mounts its own memory. state: the Coordinator's history. volumes: of claims; configs: of ConfigMaps and Secrets.
    """

    project: Path
    base: Path
    control: Path
    pid_file: Path
    lock: Path
    network: Path
    hosts: Path
    logs: Path
    images: Path
    pulled: Path
    run: Path
    processor: Path
    state: Path
    volumes: Path
    configs: Path

    def pod(self, name: str) -> Path:
        """Return the working folder of one pod: volumes, start-up markers, container folders."""
        return self.base / "pods" / name

    def logs_of(self, pod: str) -> dict[str, Path]:
        """Return the logs of a pod's containers that there are, by container, the oldest first."""
        found = [path for path in self.logs.glob(f"{pod}-*.log") if path.is_file()]
        found.sort(key=lambda path: path.stat().st_mtime_ns)
        return {path.stem.removeprefix(f"{pod}-"): path for path in found}

    def log(self, pod: str, container: str) -> Path:
        """Return the log of one container."""
        return self.logs / f"{pod}-{container}.log"


def local_paths(project: Path) -> LocalPaths:
    """Make the private base folder of a project and return the paths. Raises ClusterError if that fails."""
    project = project.resolve()
    base = project / LOCAL_STATE
    try:
        base.mkdir(parents=True, exist_ok=True)
        base.chmod(0o700)
    except OSError as err:
        raise ClusterError(f"cannot make {base}: {err.strerror}") from err
    return LocalPaths(
        project=project,
        base=base,
        control=base / "node.sock",
        pid_file=base / "node.json",
        lock=base / "node.lock",
        network=base / "network.json",
        hosts=base / "hosts.json",
        logs=base / "logs",
        images=base / "images",
        pulled=base / "pulled",
        run=base / "run",
        processor=project / PROCESSOR,
        state=base / "state",
        volumes=base / "volumes",
        configs=base / "configs",
    )
