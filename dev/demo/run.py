"""The demo: the whole walkthrough on this machine, from plain YAML to HTTPS under the mesh CA, each step with its proof.

    generate -> deploy -> set -> verify -> votes -> curl, openssl, refusals -> SAN for the address -> curl by address

At the end everything is stopped and the Coordinator's history deleted, also when a step fails, on Ctrl-C, and when the demo
is killed: the node notices the end of this process by a pipe.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.client.history import MESH_CA_FILE
from contrast_tasks.client.set import run_set
from contrast_tasks.client.verify import FOLDER, run_verify
from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.deploy.apply import run_deploy, run_restart
from contrast_tasks.errors import ContrastError
from contrast_tasks.file_errors import file_error
from contrast_tasks.files import write_atomic
from contrast_tasks.local.client import NodeClient, Tether
from contrast_tasks.local.paths import local_paths
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings
from dev.demo import proofs
from dev.demo.proofs import DemoFailed
from dev.demo.redis import missing_redis, run_redis

FRONTEND_SERVICE, FRONTEND_PORT = "web-svc", "443"
PROTECTED_SERVICE, PROTECTED_PORT = "emoji-svc", "8080"
FRONTEND_WORKLOAD = "Deployment/web"
FRONTEND_CONTAINER = "web-svc"
READY_LIMIT_S = 60.0
# Most services set CI=true, some CI=1.
_NOT_CI = frozenset({"", "0", "false", "no"})
_LOGS = "the logs of the pods are in .contrast/local/logs"

Say = Callable[[str], None]
LoadSettings = Callable[[Sequence[str]], Settings]
"""Returns the settings with additional lines of TOML, as of `--set`."""
Generate = Callable[[Sequence[str]], None]
"""Generates with additional lines of TOML; raises ContrastError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStep:
    """One step and what it proved."""

    name: str
    proven: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """All steps passed. urls: of the front end, if it keeps running."""

    steps: tuple[DemoStep, ...]
    seconds: float
    with_mesh: bool
    kept: bool
    urls: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Log:
    """Reports each step when it ends."""

    say: Say
    clock: Callable[[], float]
    steps: list[DemoStep] = field(default_factory=list)

    def step(self, name: str, action: Callable[[], str]) -> None:
        before = self.clock()
        try:
            proven = action()
        except ContrastError as err:
            err.hint = err.hint or _LOGS
            raise
        except (OSError, DecodeError, subprocess.SubprocessError) as err:
            if isinstance(err, OSError) and (refused := file_error(err)) is not None:
                raise refused from err
            raise DemoFailed(f"step '{name}' could not be carried out: {err}", hint=_LOGS) from err
        seconds = self.clock() - before
        self.steps.append(DemoStep(name=name, proven=proven, seconds=seconds))
        self.say(f"{name:<10} {proven} ({seconds:.1f} s)")


def run_demo(
    load: LoadSettings,
    generate: Generate,
    *,
    say: Say,
    keep: bool = False,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> DemoResult:
    """Stop what runs here, run every step, and return what was proven. Raises ContrastError for the first failed step.

    keep: leave everything running. Without Envoy, curl or openssl the steps through the mesh are left out with a warning;
    if CI is set, this is an error.
    """
    environ = os.environ if environ is None else environ
    settings = load(())
    if not settings.is_local:
        raise DemoFailed(
            f"the demo runs on platform local, contrast.toml says {settings.platform}",
            hint=f"use '{command('deploy set verify')}' on other platforms",
        )
    with_mesh = _is_complete(environ, say)
    begun = clock()
    log = _Log(say=say, clock=clock)
    log.step("generate", lambda: _generate(settings, generate))
    with _deployment(
        settings,
        keep=keep,
        with_mesh=with_mesh,
        environ=environ,
        log=log,
        restore=lambda: generate(()),
    ) as client:
        log.step("set", lambda: _set(settings))
        log.step("verify", lambda: _verify(settings))
        log.step("ready", lambda: _ready(client))
        urls: tuple[str, ...] = ()
        overrides: tuple[str, ...] = ()
        if with_mesh:
            urls, overrides = _mesh_steps(load, generate, client, log)
        _isolated_steps(load, generate, client, log, overrides=overrides, environ=environ)
    seconds = clock() - begun
    say(f"all {len(log.steps)} steps passed in {seconds:.1f} s")
    if keep:
        for url in urls:
            say(f"still running: {url}")
        say(f"stop it with: {command('stop')}")
    return DemoResult(
        steps=tuple(log.steps), seconds=seconds, with_mesh=with_mesh, kept=keep, urls=urls
    )


def _ignore(_line: str) -> None:
    """Drop a line of a command: the demo has its own line for each step."""


def _is_complete(environ: Mapping[str, str], say: Say) -> bool:
    """Return whether Envoy and all tools are installed. Raises ContrastError in CI, where nothing may be left out."""
    missing = _missing(environ)
    if missing is None:
        return True
    if environ.get("CI", "").lower() not in _NOT_CI:
        raise missing
    say(f"warning: {missing}: the steps through the mesh are left out ({missing.hint})")
    return False


def _missing(environ: Mapping[str, str]) -> ContrastError | None:
    from contrast_tasks.mesh.envoy_binary import EnvoyMissing, find_envoy

    try:
        find_envoy(environ)
    except EnvoyMissing as err:
        return err
    if missing := proofs.missing_tools():
        return DemoFailed(f"found no {' and no '.join(missing)}", hint="install them to see it all")
    return None


@contextlib.contextmanager
def _deployment(
    settings: Settings,
    *,
    keep: bool,
    with_mesh: bool,
    environ: Mapping[str, str],
    log: _Log,
    restore: Callable[[], None],
) -> Iterator[NodeClient]:
    """Deploy from a clean state and leave a clean state, also after errors; keep: leave the deployment running."""
    client = NodeClient(paths=local_paths(settings.root))
    if client.shutdown():
        log.say("stopped what was running here, the demo begins anew")
    if (client.paths.state / "transitions").is_dir():
        log.say("the coordinator's earlier history is forgotten, the demo begins anew")
    with Tether() as tether:
        try:
            log.step(
                "deploy",
                lambda: _deploy(settings, with_mesh=with_mesh, environ=environ, trial=tether),
            )
            yield client
            if keep:
                tether.let_go()
            else:
                log.step("stop", lambda: _stop(client, restore))
        except BaseException:
            client.shutdown()
            raise


def _generate(settings: Settings, generate: Generate) -> str:
    generate(())
    records = list((settings.root / settings.build_dir / "workloads").glob("**/*.json"))
    return f"{len(records)} workloads have an execution policy, {settings.manifest} names each by its hash"


def _deploy(
    settings: Settings,
    *,
    with_mesh: bool,
    environ: Mapping[str, str],
    trial: Tether,
) -> str:
    done = run_deploy(
        settings,
        say=_ignore,
        environ=environ,
        with_mesh=with_mesh,
        fresh=True,
        trial=trial,
    )
    pods = len(done.started) + len(done.replaced) + len(done.unchanged)
    is_isolated = NodeClient(paths=local_paths(settings.root)).is_isolated()
    how = "in namespaces of their own, asking their policies," if is_isolated else "as processes,"
    return f"{pods} pods run {how} with the policy's hash as host data, the coordinator at {done.coordinator}"


def _set(settings: Settings) -> str:
    done = run_set(settings, say=_ignore)
    return (
        f"the coordinator proved its policy, manifest {done.manifest_sha256[:12]} is in force "
        f"(generation {done.generation})"
    )


def _verify(settings: Settings) -> str:
    done = run_verify(settings, say=_ignore)
    return (
        f"evidence accepted, the manifest in force is {settings.manifest} byte for byte, "
        f"mesh CA {done.mesh_ca_sha256[:12]} is in {FOLDER}/"
    )


def _ready(client: NodeClient) -> str:
    pods = client.wait([], until="ready", timeout_s=READY_LIMIT_S)
    attested = [pod for pod in pods if pod.role != ROLE_COORDINATOR]
    return f"{len(attested)} pods proved their policy to the coordinator and have certificates"


def _stop(client: NodeClient, restore: Callable[[], None]) -> str:
    from contrast_tasks.local.processes import is_alive

    pids = [pid for pod in client.status() for pid in pod.pids.values()]
    client.shutdown()
    if left := [pid for pid in pids if is_alive(pid)]:
        raise DemoFailed(f"{len(left)} of {len(pids)} processes are left: {left}")
    # The demo's SAN is not in contrast.toml.
    restore()
    return f"all {len(pids)} processes have ended, generated files are as contrast.toml says"


def _endpoint(client: NodeClient, service: str, port: str) -> tuple[str, int]:
    """Return the first endpoint of a Service on this machine."""
    try:
        endpoints = parse_json(client.paths.hosts.read_bytes()).at(service).at(port).items()
        address, number = endpoints[0].items()
    except (OSError, DecodeError, IndexError) as err:
        raise DemoFailed(f"the deployment has no Service {service} with port {port}") from err
    return address.text(), number.integer()


def _mesh_steps(
    load: LoadSettings,
    generate: Generate,
    client: NodeClient,
    log: _Log,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prove what the mesh accepts and refuses; return the URLs of the front end, and the lines of TOML in force."""
    settings = load(())
    mesh_ca = settings.root / FOLDER / MESH_CA_FILE
    web = _endpoint(client, FRONTEND_SERVICE, FRONTEND_PORT)
    emoji = _endpoint(client, PROTECTED_SERVICE, PROTECTED_PORT)
    log.step("votes", lambda: proofs.cast_votes(web, mesh_ca))
    log.step("by name", lambda: proofs.curl_by_name(web, mesh_ca))
    log.step("openssl", lambda: proofs.openssl_accepts(web, mesh_ca))
    log.step("plain", lambda: proofs.plain_refused(emoji))
    log.step("anonymous", lambda: proofs.anonymous_refused(emoji, mesh_ca))
    sans = settings.workloads[FRONTEND_WORKLOAD].sans
    if web[0] not in sans:
        log.step(
            "by address",
            lambda: proofs.curl_refuses(web, mesh_ca, "before its address is a SAN"),
        )
        sans = (*sans, web[0])
    override = f'workloads."{FRONTEND_WORKLOAD}".sans={json.dumps(list(sans))}'
    changed = load((override,))
    old_ca = client.paths.base / "previous-mesh-ca.pem"
    write_atomic(old_ca, mesh_ca.read_bytes())
    log.step("update", lambda: _update(generate, changed, override))
    log.step("restart", lambda: _restart(changed))
    log.step("verify", lambda: _verify(changed))
    log.step("by address", lambda: proofs.curl_by_address(web, mesh_ca))
    log.step("old ca", lambda: proofs.curl_refuses(web, old_ca, "under the previous mesh CA"))
    return (f"https://{web[0]}:{web[1]}/",), (override,)


def _isolated_steps(
    load: LoadSettings,
    generate: Generate,
    client: NodeClient,
    log: _Log,
    *,
    overrides: Sequence[str],
    environ: Mapping[str, str],
) -> None:
    """Where pods have namespaces, prove that policies deny, and run a program of somebody else if it can be had."""
    if not client.is_isolated():
        return
    web = next((pod for pod in client.status() if pod.workload == FRONTEND_WORKLOAD), None)
    if web is not None and FRONTEND_CONTAINER in web.pids:
        shell = partial(client.execute, web.name, FRONTEND_CONTAINER)
        log.step("denied", lambda: proofs.shell_denied(shell))
    is_ci = environ.get("CI", "").lower() not in _NOT_CI
    if why := missing_redis(load(overrides), offline=not is_ci):
        log.say(f"redis is left out: {why} ('{command('other_images')}' downloads it)")
        return
    log.step("redis", lambda: run_redis(load, generate, client, overrides, environ))


def _update(generate: Generate, settings: Settings, override: str) -> str:
    generate((override,))
    done = run_set(settings, say=_ignore)
    return (
        f"the owner's key set the manifest with the new SAN, the mesh CA is now "
        f"{done.mesh_ca_sha256[:12]} (generation {done.generation})"
    )


def _restart(settings: Settings) -> str:
    restarted = run_restart(settings, say=_ignore, wait_s=READY_LIMIT_S)
    return f"{', '.join(restarted)} have certificates of the new mesh CA"
