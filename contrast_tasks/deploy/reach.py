"""How a Coordinator on a cluster is reached: at its load balancer, or at a port of this machine that kubectl forwards.

A relay on the way learns nothing and can change nothing, for the connection is attested end to end.
"""

import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Self

from contrast_tasks.addresses import joined
from contrast_tasks.deploy.cluster import Id, Kubectl, named
from contrast_tasks.errors import ClusterError
from contrast_tasks.kubectl import refused
from contrast_tasks.progress import Watch, unseen
from contrast_tasks.report.hints import command

# A pod of this name relays to the Service: nodes forward no ports into virtual machines (docs/howto/cluster.md).
RELAY = "port-forwarder-coordinator"
_LISTENS = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")
_START_S, _PAUSE_S = 30.0, 1.0
# After so many seconds whoever watches is told that it still goes on.
_TELL_S = 10.0
# What kubectl says of a pod that is still to come.
_NO_POD = "timed out waiting for the condition"
_PASSING = ("is not running", "found no pod")

Say = Callable[[str], None]


@contextmanager
def reached(
    cluster: Kubectl, port: int, *, limit_s: float, say: Say, watch: Watch = unseen
) -> Iterator[str]:
    """Yield host:port of the Coordinator's user API; limit_s: how long its pod may take to run. Raises ClusterError.

    watch: is told that the pod is waited for.
    """
    place = cluster.target()
    service = Id("v1", "Service", place.namespace, "coordinator")
    relay = Id("v1", "Pod", place.namespace, RELAY)
    found = cluster.get([service])
    if service not in found:
        raise ClusterError(
            f"{service.key} is not on the cluster of context {place.context}",
            hint=f"start it with '{command('deploy')}', or name the coordinator with -c HOST:PORT",
        )
    status = found[service].value.get("status") or {}
    ingress = (status.get("loadBalancer") or {}).get("ingress") or []
    hosts = [one.get("ip") or one.get("hostname") for one in ingress]
    host = next((str(each) for each in hosts if each), "")
    if host:
        address = joined(host, port)
        say(f"coordinator {address}")
        yield address
        return
    target = relay if cluster.get([relay]) else service
    patience = f"--pod-running-timeout={min(_TELL_S, max(1.0, limit_s)):.0f}s"
    words = cluster.command("port-forward", "--address=127.0.0.1", patience, *named(target))
    with Forward(words, port, limit_s=limit_s, say=say, watch=watch) as forward:
        say(
            f"coordinator {forward.address}, which kubectl forwards to {target.key}: "
            "its Service has no address of a load balancer"
        )
        yield forward.address


class Forward:
    """A port of this machine that kubectl forwards while the context lasts; a kubectl that ends meanwhile is started again.

    words: kubectl's command but for the ports; limit_s: how long a pod may take that does not run yet; say: is told once why
    kubectl ended; watch: is told that it is waited for at the beginning. Raises ClusterError.
    """

    def __init__(
        self, words: Sequence[str], port: int, *, limit_s: float, say: Say, watch: Watch = unseen
    ) -> None:
        self._words, self._port, self._limit_s, self._say = words, port, limit_s, say
        self._watch = watch
        self._local = 0
        self._is_told = False
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    @property
    def address(self) -> str:
        """Return `host:port` on this machine."""
        return f"127.0.0.1:{self._local}"

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._stop()
            raise
        self._keeper.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop()
        self._keeper.join()

    def _begin(self) -> None:
        end = time.monotonic() + self._limit_s
        with self._watch("waiting for", 1, "pod") as progress:
            while True:
                progress.begin("coordinator")
                try:
                    self._start()
                except ClusterError as err:
                    is_passing = any(words in str(err) for words in _PASSING)
                    if not is_passing or time.monotonic() + _PAUSE_S > end:
                        raise
                    self._tell(err)
                    self._closed.wait(_PAUSE_S)
                else:
                    progress.end("coordinator")
                    return

    def _start(self) -> None:
        """Start kubectl, and return when it listens. Raises ClusterError."""
        with self._lock:
            if self._closed.is_set():
                raise ClusterError("kubectl port-forward was stopped")
            self._errors: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed by _ended
            self._process = process = subprocess.Popen(
                [*self._words, f"{self._local or ''}:{self._port}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                errors="replace",
            )
        limit = threading.Timer(2 * _START_S, process.kill)
        limit.start()
        try:
            listens = _LISTENS.match(_output(process).readline())
        finally:
            limit.cancel()
        if listens is None:
            process.kill()
            raise self._ended(process)
        self._local = int(listens[1])

    def _ended(self, process: "subprocess.Popen[str]") -> ClusterError:
        """Wait for the end of kubectl, and return what it said."""
        output = _output(process)
        with output, self._errors:
            for _ in output:
                pass
            process.wait()
            self._errors.seek(0)
            text = self._errors.read()
        if "connection refused" in text:
            return ClusterError(
                "kubectl port-forward reaches nothing in the pod; most nodes forward no ports into virtual machines",
                hint="wait until the Service has an address, or run a relay: docs/howto/cluster.md",
            )
        if _NO_POD in text:
            return ClusterError(
                "kubectl port-forward found no pod of the coordinator that runs",
                hint=f"'{command('status')}' tells why",
            )
        return refused(["port-forward"], text.strip().splitlines())

    def _keep(self) -> None:
        process = self._process
        while process is not None:
            told = self._ended(process)
            process = None
            while process is None:
                if self._closed.is_set():
                    return
                self._tell(told)
                if self._closed.wait(_PAUSE_S):
                    return
                try:
                    self._start()
                except ClusterError as err:
                    told = err
                else:
                    process = self._process

    def _tell(self, error: ClusterError) -> None:
        if not self._is_told:
            self._is_told = True
            self._say(f"waiting for the coordinator: {error}")
            if error.hint:
                self._say(f"  hint: {error.hint}")

    def _stop(self) -> None:
        with self._lock:
            self._closed.set()
            if self._process is not None:
                self._process.terminate()


def _output(process: "subprocess.Popen[str]") -> IO[str]:
    if process.stdout is None:
        raise ValueError("the process has no pipe")
    return process.stdout
