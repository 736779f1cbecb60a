"""A small project whose pods are other people's programs: a cache that is a real redis, for tests of isolated pods."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

from contrast_tasks.local.isolated.ability import find_ability
from dev.others.layout import write_other_images

CHECKOUT = Path(__file__).parents[2]
REDIS = "others/redis:v1"
SETTINGS = """
platform = "local"
sources = ["deployment"]

[defaults]
memory = "100Mi"

[images]
layouts = ["others"]

[local]
isolation = "namespaces"
"""
CACHE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: cache}
spec:
  selector: {matchLabels: {app: cache}}
  template:
    metadata: {labels: {app: cache}}
    spec:
      containers:
        - name: redis
          image: others/redis:v1
          env: [{name: GREETING, value: hello}]
          ports: [{containerPort: 6379, name: redis}]
          readinessProbe: {exec: {command: [redis-cli, ping]}}
          volumeMounts: [{name: data, mountPath: /data}]
      volumes: [{name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: cache}
spec:
  selector: {app: cache}
  ports: [{port: 7000, targetPort: redis, name: redis}]
"""


def require_namespaces() -> None:
    """Skip the calling test where pods cannot have namespaces, but not in CI."""
    found = find_ability()
    if isinstance(found, str):
        if os.environ.get("CI") == "true":
            raise AssertionError(found)
        pytest.skip(found)


def redis_layout(folder: Path) -> Path:
    """Return a new layout with the image of redis, from Debian's own package."""
    write_other_images(folder, [REDIS])
    return folder


class Shop:
    """The project in a folder, and commands of ours in it; prefix: words before each command, variables: of each."""

    def __init__(
        self, root: Path, layout: Path, *, settings: str = SETTINGS, deployment: str = CACHE
    ) -> None:
        self._enter(root)
        (root / "deployment").mkdir(parents=True)
        (root / "contrast.toml").write_text(settings)
        (root / "deployment" / "shop.yml").write_text(deployment)
        shutil.copytree(layout, root / "others")

    @classmethod
    def existing(cls, root: Path) -> Self:
        """Return a project whose files are there already."""
        found = cls.__new__(cls)
        found._enter(root)
        return found

    def _enter(self, root: Path) -> None:
        self.root = root
        self.prefix: tuple[str, ...] = (sys.executable,)
        self.variables: Mapping[str, str] = {}

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command and return how it ended."""
        return subprocess.run(
            [*self.prefix, "-m", "contrast_tasks", *words],
            cwd=self.root,
            env=self.environment(environ),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def succeed(self, *words: str) -> str:
        """Run a command that must work and return all that it said."""
        done = self.run(*words)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}{self.log()}"
        return done.stdout + done.stderr

    def environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of commands: no settings of the caller."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CONTRAST_")}
        return {**kept, "PYTHONPATH": str(CHECKOUT), "NO_COLOR": "1", **self.variables, **changes}

    def inside(self, *command: str, container: Sequence[str] = ()) -> str:
        """Run a command in the cache's pod and return its output."""
        return self.succeed("exec", *container, "cache", "--", *command).strip()

    def log(self) -> str:
        """Return what the node itself wrote."""
        file = self.root / ".contrast" / "local" / "logs" / "node.log"
        return file.read_text() if file.exists() else ""
