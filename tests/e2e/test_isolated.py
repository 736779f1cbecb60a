"""Pods in namespaces of this machine: an unmodified redis, judged by its policy, found by name, and gone when anything is killed."""

import json
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.local.client import NodeClient, running_pids
from contrast_tasks.local.paths import local_paths
from contrast_tasks.local.processes import descendants
from dev.others.layout import write_other_images
from tests.fakes.shop import CACHE, CHECKOUT, SETTINGS, Shop, redis_layout, require_namespaces

pytestmark = pytest.mark.e2e

PING = ("redis-cli", "-h", "cache", "-p", "7000", "ping")
CONTROL_GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_namespaces()
    return redis_layout(tmp_path_factory.mktemp("layout") / "others")


@pytest.fixture
def shop(tmp_path: Path, layout: Path) -> Iterator[Shop]:
    # A name that programs which take lists or lines apart would stumble over.
    project = Shop(tmp_path / "my shop v1:2", layout)
    yield project
    NodeClient(paths=local_paths(project.root)).shutdown()


def client(shop: Shop) -> NodeClient:
    return NodeClient(paths=local_paths(shop.root))


def traces(shop: Shop) -> list[str]:
    """Return what a node has left on this machine: mounts, links, its memory."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found = [line for line in mounts if str(shop.root) in line]
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True)
    found += [line for line in links.stdout.splitlines() if line.startswith(("contrast", "pod"))]
    run = local_paths(shop.root).run
    return found + [str(path) for path in (run.iterdir() if run.exists() else ())]


def test_an_unmodified_redis_starts_serves_and_is_found_by_name(shop: Shop) -> None:
    shop.succeed("deploy", "set", "verify")
    shop.succeed("status", "--wait", "60")

    pong = shop.inside("redis-cli", "-h", "cache.default", "-p", "7000", "ping")
    refused = shop.run("exec", "cache", "--", "sh", "-c", "nc -w 2 cache 6379 </dev/null; exit $?")
    status = shop.run("exec", "cache", "--", "sh", "-c", "exit 7").returncode
    resolv = shop.inside("busybox", "cat", "/etc/resolv.conf")
    hostname = shop.inside("busybox", "hostname")
    cache = next(pod for pod in client(shop).status() if pod.name == "cache")
    with socket.create_connection((cache.address, 6379), timeout=10) as forwarded:
        forwarded.sendall(b"PING\r\n")
        answer = forwarded.recv(100)

    assert (pong, answer, status) == ("PONG", b"+PONG\r\n", 7)
    assert refused.returncode != 0, "a Service has its own ports only"
    assert "search default.svc.cluster.local svc.cluster.local cluster.local" in resolv
    assert hostname.startswith("cache-")
    assert shop.inside("busybox", "cat", "/proc/1/comm") == "redis-server"
    assert "Ready to accept connections" in shop.succeed("logs", "cache")
    assert memory_limit(cache.pids["redis"]) == 100 * 2**20
    assert traces(shop) == []


OTHERS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  replicas: 2
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec:
      containers:
        - name: nginx
          image: others/nginx:v1
          ports: [{containerPort: 80}]
          readinessProbe: {httpGet: {path: /, port: 80}}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {selector: {app: front}, ports: [{port: 8080, targetPort: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      securityContext: {fsGroup: 999}
      containers:
        - name: postgres
          image: others/postgres:v1
          securityContext: {runAsUser: 999, runAsGroup: 999}
          env: [{name: PGDATA, value: /var/lib/postgresql/data/inside}]
          ports: [{containerPort: 5432, name: pg}]
          readinessProbe: {exec: {command: [pg_isready, -h, 127.0.0.1]}}
          volumeMounts: [{name: data, mountPath: /var/lib/postgresql/data}]
      volumes: [{name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432, name: pg}]}
"""


def test_unmodified_nginx_and_postgres_serve_and_reach_each_other(tmp_path: Path) -> None:
    require_namespaces()
    names = ["others/nginx:v1", "others/postgres:v1"]
    write_other_images(tmp_path / "layout", names)
    settings = SETTINGS.replace("100Mi", "300Mi")
    shop = Shop(tmp_path / "shop", tmp_path / "layout", settings=settings, deployment=OTHERS)
    try:
        shop.succeed("deploy", "set")
        shop.succeed("status", "--wait", "90")
        page = shop.succeed("exec", "front-0", "--", "wget", "-qO-", "http://front:8080/")
        ready = shop.succeed("exec", "db", "--", "pg_isready", "-h", "db-0.db")
        user = shop.succeed("exec", "db", "--", "id")
        pods = {pod.name: pod for pod in client(shop).status()}
        with urllib.request.urlopen(f"http://{pods['front-1'].address}:80/") as answer:
            forwarded = answer.read().decode()
    finally:
        client(shop).shutdown()

    assert "a page of nginx" in page
    assert "a page of nginx" in forwarded
    assert ready.strip() == "db-0.db:5432 - accepting connections"
    assert user.startswith("uid=999(postgres) gid=999(postgres)")


def test_the_images_that_a_cluster_gets_run_here_too(tmp_path: Path) -> None:
    require_namespaces()
    for name in ("contrast.toml", "dodo.py"):
        shutil.copy(CHECKOUT / name, tmp_path / name)
    shutil.copytree(CHECKOUT / "examples", tmp_path / "examples")
    shop = Shop.existing(tmp_path)
    shop.variables = {"CONTRAST_LOCAL_ISOLATION": "namespaces"}
    shop.succeed("images", "build", "--layout", "whole", "--keep-settings")
    whole = ("--set", 'images.layouts=["whole"]')
    try:
        shop.succeed("deploy", *whole, "set", *whole)
        shop.succeed("status", "--wait", "90", *whole)
        system = ["python3", "-c", "print(open('/etc/os-release').read())"]
        found = shop.succeed("exec", *whole, "web", "--", *system)
    finally:
        client(shop).shutdown()

    assert 'PRETTY_NAME="Debian GNU/Linux 13' in found


def memory_limit(pid: int) -> int:
    """Return the bytes that the control group of a process may use, of either version of control groups."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    groups = {names: path for _, names, path in (line.split(":", 2) for line in lines)}
    if "memory" in groups:
        return int(
            (CONTROL_GROUPS / f"memory{groups['memory']}" / "memory.limit_in_bytes").read_text()
        )
    return int((CONTROL_GROUPS / groups[""].lstrip("/") / "memory.max").read_text())


@pytest.mark.parametrize("part", ["guard", "unshare", "daemon"])
def test_when_any_part_is_killed_nothing_is_left(shop: Shop, part: str) -> None:
    shop.succeed("deploy")
    node = client(shop)
    pids = [pid for pod in node.status() for pid in pod.pids.values()]
    guard, unshare = running_pids(node.paths)
    daemon = descendants(unshare)[0]
    watched = [os.pidfd_open(pid) for pid in (guard, unshare, daemon, *pids)]

    os.kill({"guard": guard, "unshare": unshare, "daemon": daemon}[part], signal.SIGKILL)
    for watch in watched:
        wait_for_end(watch)

    assert len(pids) >= 2
    assert traces(shop) == []
    assert not node.is_running()
    assert "started cache" in shop.succeed("deploy")
    shop.succeed("stop")
    net = json.loads(node.paths.network.read_bytes())["net"]
    assert not list(CONTROL_GROUPS.glob(f"**/contrast-tasks-{net}"))


def wait_for_end(watch: int) -> None:
    """Wait until a process has ended."""
    ready, _, _ = select.select([watch], [], [], 30)
    os.close(watch)
    assert ready, "a process is left"


def test_a_killed_container_is_started_again_with_a_new_guest(shop: Shop) -> None:
    shop.succeed("deploy", "set")
    shop.succeed("status", "--wait", "60")
    before = next(pod for pod in client(shop).status() if pod.name == "cache")

    os.kill(before.pids["redis"], signal.SIGKILL)
    client(shop).wait(["cache"], until="started", timeout_s=30)
    shop.succeed("status", "--wait", "60")

    after = next(pod for pod in client(shop).status() if pod.name == "cache")
    assert (after.restarts, after.ready) == (1, True)
    assert after.pids["redis"] != before.pids["redis"]


def test_what_a_policy_denies_is_seen_at_deploy_in_status_and_in_logs(
    tmp_path: Path, layout: Path
) -> None:
    settings = SETTINGS.replace("[defaults]", "[defaults]\ninitializer = false")
    shop = Shop(tmp_path / "shop", layout, settings=settings)
    shop.succeed("generate")
    annotated = shop.root / "build" / "deployment" / "shop.yml"
    annotated.write_text(annotated.read_text().replace("hello", "goodbye"))
    line = "DENY CreateContainerRequest container=redis codes=E_ENV(GREETING)"
    script = (
        "from pathlib import Path; from contrast_tasks.settings.load import load_settings;"
        "from contrast_tasks.deploy.apply import run_deploy;"
        "run_deploy(load_settings(Path.cwd(), environ={}), say=print)"
    )
    try:
        deploy = subprocess.run(
            [sys.executable, "-c", script],
            cwd=shop.root,
            env=shop.environment({}),
            capture_output=True,
            text=True,
            check=False,
        )
        status, logs = shop.run("status"), shop.succeed("logs", "cache")
    finally:
        client(shop).shutdown()

    assert f"PolicyDenied: Deployment/cache: {line}" in deploy.stderr
    assert line in status.stdout
    assert f"cache/redis: {line}" in logs


def test_claims_survive_a_restart_and_stop_deletes_what_kubectl_would(
    tmp_path: Path, layout: Path
) -> None:
    deployment = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers:
        - name: redis
          image: others/redis:v1
          args: [--protected-mode, "no", --save, "", --dir, /data]
          volumeMounts: [{name: data, mountPath: /data}, {name: own, mountPath: /own}]
      volumes: [{name: own, persistentVolumeClaim: {claimName: own}}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 6379, name: redis}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: own}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
    settings = SETTINGS + '[workloads."StatefulSet/db"]\nruntime_class = false\n'
    deployment += f"---{CACHE}"
    shop = Shop(tmp_path / "shop", layout, settings=settings, deployment=deployment)
    volumes = local_paths(shop.root).volumes
    try:
        shop.succeed("deploy")
        client(shop).wait(["db-0", "db-1"], until="ready", timeout_s=60)
        write = "busybox hostname >/data/who; busybox hostname >/own/who"
        shop.succeed("exec", "db-1", "--", "sh", "-c", write)
        pong = shop.succeed("exec", "db-0", "--", "redis-cli", "-h", "db-1.db", "ping")
        shop.succeed("restart", "db")
        kept = shop.succeed("exec", "db-1", "--", "busybox", "cat", "/data/who", "/own/who")
        shop.succeed("stop")
    finally:
        client(shop).shutdown()

    assert pong == "PONG\n"
    assert kept.split() == ["db-1", "db-1"]
    assert sorted(path.name for path in volumes.iterdir()) == ["data-db-0", "data-db-1"]
    assert (volumes / "data-db-1" / "who").read_text() == "db-1\n"


# Gives a user what is only root's here: the checkout, the installed packages, and an entry in /etc/subuid.
AS_NOBODY = """
mount --bind "$1/checkout.from" "$1/checkout"
mount --bind "$1/site-packages.from" "$1/site-packages"
mount --bind "$1/subid" /etc/subuid
mount --bind "$1/subid" /etc/subgid
shift
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """Return a folder that everybody can reach, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("users", ["one", "mapped"])
def test_a_user_without_privileges_has_it_too(home: Path, layout: Path, users: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    shop = nobodys_shop(home, layout, users)
    try:
        deploy = shop.succeed("deploy")
        shop.succeed("set")
        shop.succeed("status", "--wait", "60")
        pong = shop.inside(*PING)
        (redis,) = [pod.pids["redis"] for pod in client(shop).status() if pod.name == "cache"]
        uids = Path(f"/proc/{redis}/status").read_text().partition("Uid:")[2].split()[:1]
    finally:
        shop.run("stop")

    assert pong == "PONG"
    assert ("pods have root only here" in deploy) == (users == "one")
    # User 999 of the container: the first subordinate one stands for user 1.
    assert uids == ["65534" if users == "one" else "100998"]
    assert traces(shop) == []


def nobodys_shop(home: Path, layout: Path, users: str) -> Shop:
    """Return a shop of the user 65534, who has subordinate users or none."""
    owner = pwd.getpwuid(65534).pw_name if users == "mapped" else "somebody-else"
    (home / "subid").write_text(f"{owner}:100000:65536\n")
    for path in ("/etc/subuid", "/etc/subgid"):
        Path(path).touch()
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    for name, source in (("checkout", CHECKOUT), ("site-packages", packages)):
        (home / name).mkdir()
        (home / f"{name}.from").symlink_to(source)
    interpreter = shutil.which("python3", path="/usr/bin") or sys.executable
    venv = home / "venv"
    subprocess.run([interpreter, "-m", "venv", "--without-pip", venv], check=True)
    pth = next(venv.glob("lib/python*/site-packages")) / "packages.pth"
    pth.write_text(f"{home}/site-packages\n")
    user = "securityContext: {runAsUser: 999, runAsGroup: 999}"
    deployment = CACHE if users == "one" else CACHE.replace("env: [", f"{user}\n          env: [")
    shop = Shop(home / "shop", layout, deployment=deployment)
    for path in (shop.root, *shop.root.rglob("*")):
        os.lchown(path, 65534, 65534)
    nobody = ("unshare", "--mount", "sh", "-eu", "-c", AS_NOBODY, "sh", str(home))
    shop.prefix = (*nobody, str(venv / "bin" / "python3"))
    shop.variables = {"HOME": str(home), "PYTHONPATH": str(home / "checkout")}
    return shop


def test_without_the_tools_deploy_says_so_in_one_line_and_runs_processes(
    tmp_path: Path, layout: Path
) -> None:
    settings = SETTINGS.replace('"namespaces"', '"auto"')
    shop = Shop(tmp_path / "shop", layout, settings=settings)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("unshare", "nsenter", "mount", "ip", "iptables", "sh"):
        (tools / name).symlink_to(shutil.which(name) or "/bin/false")
    try:
        done = shop.run("deploy", PATH=str(tools))
        isolated = client(shop).is_isolated()
    finally:
        client(shop).shutdown()

    assert done.returncode == 0, done.stderr
    wanted = (
        "pods are processes without namespaces or policies here: there is no runc (install runc)"
    )
    assert wanted in done.stderr
    assert not isolated
    assert json.loads((shop.root / "manifest.json").read_text())
