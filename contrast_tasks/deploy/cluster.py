"""What deploy, restart, status and stop need of a Kubernetes cluster, done by the user's own kubectl.

With kubectl every authentication plugin works. Server-side apply leaves fields of other controllers alone, and applying
the same objects again changes nothing.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.errors import ClusterError
from contrast_tasks.kubectl import KubectlFailed, OnLine, Run, run_kubectl, unheard, verb_of
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS
from contrast_tasks.progress import Watch, unseen
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings

FIELD_MANAGER = "contrast-tasks"
ROLLED_OUT = frozenset(name for name, kind in WORKLOAD_KINDS.items() if kind.is_rolled_out)
_LOOK_S, _KINDS_S = 5, 60
# What kubectl says of a workload with the strategy OnDelete.
_NO_ROLLOUT = "only available for RollingUpdate"
# After so many seconds whoever watches is told that it still goes on.
_TELL_S = 10
_WHICH_CLUSTER = "choose a context with 'kubectl config use-context', or --context"

Object = Mapping[str, Any]


class Id(NamedTuple):
    """An object's place: API version, kind, namespace ("" if it has none), name."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @property
    def key(self) -> str:
        """Return `Kind/name`, with the namespace before it."""
        return (
            f"{self.namespace}/{self.kind}/{self.name}"
            if self.namespace
            else f"{self.kind}/{self.name}"
        )

    def render(self) -> dict[str, Any]:
        """Return an object that names no more than this."""
        place = {"namespace": self.namespace} if self.namespace else {}
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {"name": self.name, **place},
        }


class Access(NamedTuple):
    """Which cluster is meant; "" leaves it to kubectl's configuration."""

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Access":
        """Return what the settings say."""
        cluster = settings.cluster
        kubeconfig = str(settings.root / cluster.kubeconfig) if cluster.kubeconfig else ""
        return cls(kubeconfig, cluster.context or "", cluster.namespace or "")

    def words(self) -> list[str]:
        """Return kubectl's options."""
        given = zip(("--kubeconfig", "--context", "--namespace"), self, strict=True)
        return [f"{option}={value}" for option, value in given if value]


class Target(NamedTuple):
    """Where kubectl goes: the context's name, the API server's address, and the namespace of objects that name none."""

    context: str
    server: str
    namespace: str

    @property
    def told(self) -> str:
        """Return it in words."""
        return f"context {self.context}, namespace {self.namespace} of {self.server}"


class Kubectl:
    """The cluster that an Access means. say: receives the API server's warnings, each once."""

    def __init__(
        self,
        access: Access = Access(),  # noqa: B008  # a tuple never changes
        *,
        run: Run = run_kubectl,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._access = access
        self._run = run
        self._clock = clock
        self._say = say
        self._warned: set[str] = set()
        self._target: Target | None = None

    def target(self) -> Target:
        """Return where everything goes; raises ClusterError if kubectl has no such context."""
        if self._target is None:
            self._target = self._find_target()
        return self._target

    def _find_target(self) -> Target:
        kubeconfig = self._access.kubeconfig
        if kubeconfig and not Path(kubeconfig).exists():
            # kubectl goes on as if it were an empty one.
            raise ClusterError(f"there is no configuration of kubectl at {kubeconfig}")
        try:
            found = self._json("config", "view", "--minify", "--output=json")
        except KubectlFailed as err:
            raise ClusterError(str(err), hint=_WHICH_CLUSTER) from err
        try:
            context = found.at("contexts").items()[0]
            namespace = context.at("context").filled("namespace")
            server = found.at("clusters").items()[0].at("cluster").at("server").text()
        except (DecodeError, IndexError) as err:
            raise ClusterError(
                "kubectl's configuration names no cluster",
                hint=_WHICH_CLUSTER,
            ) from err
        own = namespace.text() if namespace is not None else "default"
        return Target(context.at("name").text(), server, self._access.namespace or own)

    def get(self, wanted: Sequence[Id], *, with_owners: bool = False) -> dict[Id, Json]:
        """Return those objects that exist; with_owners: each with the managers of its fields."""
        if not wanted:
            return {}
        arguments = ["get", "--ignore-not-found", "--output=json", "--filename=-"]
        if with_owners:
            arguments.append("--show-managed-fields")
        text = self._ask([*arguments], _stream([each.render() for each in wanted]))
        return {id_of(item): item for item in _items(text)} if text.strip() else {}

    def all_of(self, kind: str, namespace: str) -> list[Json]:
        """Return all objects of a kind in a namespace; "": in the access's."""
        place = [f"--namespace={namespace}"] if namespace else []
        return _items(self._ask(["get", kind, *place, "--output=json"]))

    def apply(
        self,
        objects: Sequence[Object],
        *,
        take_over: bool = False,
        is_trial: bool = False,
        watch: Watch = unseen,
    ) -> None:
        """Apply objects server-side, in their order. take_over: also fields of others. is_trial: store nothing.

        Raises KubectlFailed; what stands before the refused object is applied then, and often what stands behind it.
        """
        arguments = ["apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--filename=-"]
        if take_over:
            arguments.append("--force-conflicts")
        if is_trial:
            arguments.append("--dry-run=server")
        if not objects:
            return
        with watch("trying" if is_trial else "applying", len(objects), "object") as progress:
            # kubectl prints a line for each one that it has applied.
            waiting = [f"{each['kind']}/{each['metadata']['name']}" for each in reversed(objects)]

            def next_one(_line: str) -> None:
                if waiting:
                    progress.end(waiting.pop())
                if waiting:
                    progress.begin(waiting[-1])

            progress.begin(waiting[-1])
            self._ask(arguments, _stream(objects), next_one)

    def replace(self, objects: Sequence[Object]) -> None:
        """Replace objects, each by itself as it was read but for what shall differ."""
        if objects:
            self._ask(
                ["replace", f"--field-manager={FIELD_MANAGER}", "--filename=-"], _stream(objects)
            )

    def create(self, objects: Sequence[Object]) -> list[str]:
        """Create objects whose names the API server completes; return a line for each."""
        if not objects:
            return []
        arguments = ["create", f"--field-manager={FIELD_MANAGER}", "--filename=-"]
        return self._ask(arguments, _stream(objects)).splitlines()

    def delete(self, gone: Sequence[Id]) -> None:
        """Delete objects, those that do not exist any more too, without waiting for their end."""
        arguments = ["delete", "--ignore-not-found", "--wait=false", "--filename=-"]
        if gone:
            self._ask(arguments, _stream([each.render() for each in gone]))

    def restart(self, workloads: Sequence[Id]) -> None:
        """Restart workloads by new rollouts. Raises ClusterError before any restart if one of them is absent."""
        live = self.get(workloads)
        if absent := [each.key for each in workloads if each not in live]:
            raise ClusterError(
                f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not on the cluster, nothing was restarted",
                hint="deploy first",
            )
        for number, workload in enumerate(workloads):
            try:
                self._ask(["rollout", "restart", *named(workload)])
            except KubectlFailed as err:
                done, rest = workloads[:number], workloads[number:]
                raise ClusterError(
                    f"{err}\nrestarted: {_listed(done)}\nnot restarted: {_listed(rest)}",
                    hint=err.hint,
                ) from err

    def wait(self, workloads: Sequence[Id], *, timeout_s: float, watch: Watch = unseen) -> None:
        """Return when all workloads with rollouts are rolled out. Raises ClusterError naming the one that takes longer."""
        end = self._clock() + timeout_s
        waited = [each for each in workloads if each.kind in ROLLED_OUT]
        with watch("waiting for", len(waited), "workload") as progress:
            for workload in waited:
                progress.begin(workload.key)
                while not self._await(workload, max(1, round(end - self._clock()))):
                    progress.begin(workload.key)
                progress.end(workload.key)

    def _await(self, workload: Id, left_s: int) -> bool:
        """Return whether a workload is rolled out within some seconds, of left_s. Raises ClusterError if it never will be."""
        wait_s = min(left_s, _TELL_S)
        limit = f"--timeout={wait_s}s"
        try:
            try:
                self._ask(["rollout", "status", limit, *named(workload)])
            except KubectlFailed as err:
                if _NO_ROLLOUT not in str(err):
                    raise
                self._await_ready(workload, limit)
        except KubectlFailed as err:
            if err.is_late and wait_s < left_s:
                return False
            told = "the time is over" if err.is_late else err
            hint = err.hint or f"'{command('status')}' tells why"
            raise ClusterError(f"{workload.key} is not rolled out: {told}", hint=hint) from err
        return True

    def _await_ready(self, workload: Id, limit: str) -> None:
        """Return when all pods are ready of a workload whose pods somebody replaces by hand. Raises KubectlFailed."""
        live: Mapping[str, Any] = self.get([workload])[workload].value
        status = live.get("status") or {}
        is_daemon = workload.kind == "DaemonSet"
        field = "numberReady" if is_daemon else "readyReplicas"
        wanted = status.get("desiredNumberScheduled") if is_daemon else live["spec"]["replicas"]
        if wanted:
            condition = f"--for=jsonpath={{.status.{field}}}={wanted}"
            self._ask(["wait", condition, limit, *named(workload)])

    def await_kinds(self, names: Sequence[str]) -> None:
        """Return when the API server serves new kinds; names: of their definitions. Raises ClusterError."""
        if names:
            definitions = [f"customresourcedefinition/{name}" for name in names]
            limit = f"--timeout={_KINDS_S}s"
            self._ask(["wait", "--for=condition=Established", limit, *definitions])

    def runtime_classes(self) -> frozenset[str]:
        """Return the names of the cluster's runtime classes; raises ClusterError if they cannot be read."""
        limit = f"--request-timeout={_LOOK_S}s"
        output = self._ask(["get", "runtimeclasses", "--output=name", limit])
        return frozenset(line.rpartition("/")[2] for line in output.split())

    def logs(self, pod: Id, *, container: str, lines: int) -> str:
        """Return what a pod wrote last, each line with where it comes from, or why a container of it tells nothing."""
        which = ["--container", container] if container else ["--all-containers"]
        arguments = ["logs", "--prefix", f"--tail={lines}", "--ignore-errors", *which, *named(pod)]
        return self._ask(arguments)

    def command(self, *arguments: str) -> list[str]:
        """Return the words of a kubectl that runs longer than a call here."""
        return ["kubectl", *self._access.words(), *arguments]

    def _ask(self, arguments: Sequence[str], content: str = "", on_line: OnLine = unheard) -> str:
        said = self._run([*self._access.words(), *arguments], content, on_line)
        for warning in said.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self._say(f"warning of the API server: {warning}")
        return said.text

    def _json(self, *arguments: str) -> Json:
        try:
            return parse_json(self._ask(arguments))
        except DecodeError as err:
            raise ClusterError(f"kubectl {verb_of(arguments)} printed no JSON") from err


def _listed(workloads: Sequence[Id]) -> str:
    return ", ".join(each.key for each in workloads) or "nothing"


def id_of(item: Json) -> Id:
    """Return an object's place. Raises ClusterError if it is malformed."""
    try:
        metadata = item.at("metadata")
        namespace = metadata.filled("namespace")
        return Id(
            item.at("apiVersion").text(),
            item.at("kind").text(),
            "" if namespace is None else namespace.text(),
            metadata.at("name").text(),
        )
    except DecodeError as err:
        raise ClusterError(f"the cluster has a malformed object: {err}") from err


def _items(text: str) -> list[Json]:
    try:
        found = parse_json(text)
        return found.at("items").items() if found.at("kind").text() == "List" else [found]
    except DecodeError as err:
        raise ClusterError("kubectl get printed no objects") from err


def _stream(objects: Sequence[Object]) -> str:
    # A List would be validated as an object of its own, whose kind no API server has; a stream that begins with a brace is JSON,
    # which older releases of kubectl cannot part.
    return "".join(f"---\n{json.dumps(each)}\n" for each in objects)


def named(workload: Id) -> list[str]:
    """Return the words that mean an object to kubectl."""
    place = [f"--namespace={workload.namespace}"] if workload.namespace else []
    return [*place, f"{workload.kind.lower()}/{workload.name}"]
