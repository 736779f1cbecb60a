"""Whether this machine can give pods namespaces of their own, found out by trying.

The trial makes everything that a node needs, in namespaces that end with it: a bridge, a pair of interfaces, an overlay, and a
container of runc that joins named namespaces. So what it says holds for this kernel, this user and these tools.
"""

import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from contrast_tasks.records import Record

Users = Literal["all", "mapped", "one"]
"""Which users exist in the node: all of this machine (for root), a range of subordinate ones, or the caller only."""

# Each command with the Debian package that has it.
TOOLS: Final = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "util-linux",
    "ip": "iproute2",
    "runc": "runc",
    "iptables": "iptables",
}
_TRIAL_LIMIT_S: Final = 20
_NAMESPACES: Final = (
    *("--mount", "--propagation", "private", "--net", "--pid", "--fork", "--kill-child"),
    "--mount-proc",
)
_TRIAL: Final = """
set -e
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir lower upper work root merged bundle
touch net uts ipc
ip link set lo up
ip link add contrast0 type bridge
ip link add contrast1 master contrast0 type veth peer name contrast2
mount -t overlay overlay -o "$2lowerdir=lower,upperdir=upper,workdir=work" merged
mount --rbind / root
unshare --net=net --uts=uts --ipc=ipc true
filter() { iptables-legacy "$@" 2>/dev/null || iptables "$@"; }
filter -t filter -I INPUT -m conntrack ! --ctstate ESTABLISHED,RELATED -j DROP
filter -t mangle -A PREROUTING -p tcp -j TPROXY --on-port 15006
printf %s "$3" > bundle/config.json
exec runc --root "$1/runc" run --bundle bundle "contrast-trial-$$"
"""


class Ability(Record):
    """How a node can be made here: which users exist in it, and whether containers get control groups."""

    users: Users
    limits: bool

    @property
    def command(self) -> tuple[str, ...]:
        """Return the beginning of a command that runs the rest in new namespaces, and ends it when it is ended itself."""
        return ("unshare", *_USERS[self.users], *_NAMESPACES)

    @property
    def overlay_options(self) -> str:
        """Return the options of an overlay that come before its folders."""
        return "" if self.users == "all" else "userxattr,"


_USERS: Final[Mapping[Users, tuple[str, ...]]] = {
    "all": (),
    "mapped": ("--user", "--map-root-user", "--map-auto"),
    "one": ("--user", "--map-root-user"),
}


def find_ability(which: Callable[[str], str | None] = shutil.which) -> Ability | str:
    """Return how a node can be made here, or in one line what is missing and how to have it."""
    if missing := [tool for tool in TOOLS if which(tool) is None]:
        packages = sorted({TOOLS[tool] for tool in missing})
        return f"there is no {' and no '.join(missing)} (install {' and '.join(packages)})"
    if os.geteuid() == 0:
        return _tried(Ability(users="all", limits=True))
    if _has_subordinates() and which("newuidmap") and which("newgidmap"):
        found = _tried(Ability(users="mapped", limits=False))
        if isinstance(found, Ability):
            return found
    return _tried(Ability(users="one", limits=False))


def _tried(ability: Ability) -> Ability | str:
    """Return the ability if a node of this kind works."""
    with tempfile.TemporaryDirectory(prefix="contrast-trial-") as folder:
        script = ["sh", "-c", _TRIAL, "sh", folder, ability.overlay_options]
        try:
            done = subprocess.run(
                [*ability.command, *script, _container(folder, ability)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=_TRIAL_LIMIT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            return f"namespaces cannot be tried: {err}"
    if done.returncode == 0:
        return ability
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = _without_frame(lines[-1]) if lines else f"status {done.returncode}"
    return f"{reason} ({_way_out(ability, reason)})"


def _without_frame(line: str) -> str:
    """Return the message of a line of runc's log; other lines are the message."""
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', line)
    return found[1] if found else line


def _way_out(ability: Ability, reason: str) -> str:
    if ability.users == "all":
        return "root of this machine may not make what a node needs"
    if reason.startswith("unshare"):
        return (
            "allow user namespaces, with sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces or"
            " kernel.apparmor_restrict_unprivileged_userns=0, or deploy as root"
        )
    return "deploy as root"


def _container(folder: str, ability: Ability) -> str:
    """Return the config.json of a container that runs `true` from this machine's own files."""
    capabilities = ["CAP_NET_ADMIN"]
    namespaces = [
        *({"type": kind} for kind in ("mount", "pid", "cgroup")),
        *(
            {"type": kind, "path": f"{folder}/{name}"}
            for kind, name in (("network", "net"), ("uts", "uts"), ("ipc", "ipc"))
        ),
    ]
    group = {"cgroupsPath": "/contrast-trial"} if ability.limits else {}
    return json.dumps(
        {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/true"],
                "env": [],
                "cwd": "/",
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            },
            "root": {"path": f"{folder}/root", "readonly": True},
            "hostname": "trial",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            ],
            "linux": {**group, "namespaces": namespaces},
        }
    )


def _has_subordinates() -> bool:
    """Return whether this user has ranges of subordinate users and groups, by name or number."""
    try:
        user = pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    owners = {user.pw_name, str(user.pw_uid)}
    return all(_lists(Path(file), owners) for file in ("/etc/subuid", "/etc/subgid"))


def _lists(file: Path, owners: set[str]) -> bool:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return False
    return any(line.partition(":")[0] in owners for line in lines)
