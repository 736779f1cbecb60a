"""The commands of the user's own document, in one shell, as written but for the program's name and the platform.

Programs that need the network or a cluster are stand-ins: `curl` downloads from this checkout, `kubectl` has platform
`local` behind it. The document's sources are annotated in place, which one variable asks for; there is no contrast.toml.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from contrast_tasks.local.client import NodeClient
from contrast_tasks.local.paths import local_paths
from tests.fakes.testdata import WALKTHROUGH

pytestmark = pytest.mark.e2e

CHECKOUT = Path(__file__).parents[2]
PREFIX = "contrast.edgeless.systems/servicemesh-"
# The annotations of the document's step 1, on the workloads' own metadata.
MESH = {
    "emoji": {"ingress": ""},
    "voting": {"ingress": ""},
    "web": {
        "egress": "emoji#127.137.0.1:8081#emoji-svc:8080##voting#127.137.0.2:8081#voting-svc:8080",
        "ingress": "web#8080#false",
    },
}
# "You must configure your application to connect to that proxy address": of the application, not of the document.
ENV = {"EMOJISVC_HOST": "127.137.0.1:8081", "VOTINGSVC_HOST": "127.137.0.2:8081"}

LOCAL = "CONTRAST_PLATFORM=local CONTRAST_SOURCES=deployment contrast"
TOOLS = {
    "contrast": """exec "$PYTHON" -m contrast_tasks "$@" """,
    "curl": f"""
case "$*" in
    *emojivoto-demo.yml*) mkdir -p deployment; cp "$DEMO" deployment/emojivoto-demo.yml;;
    *coordinator.yml*) contrast coordinator > deployment/coordinator.yml;;
    *) exec {shutil.which("curl")} $(echo "$@" | sed s/:443/:8080/);;
esac
""",
    "openssl": f"""exec {shutil.which("openssl")} $(echo "$@" | sed s/:443/:8080/) """,
    "kubectl": f"""
address() {{ {LOCAL} status --wait 60 2> status.txt | awk -v name="$1" '$1 == name {{ print $2 }}'; }}
case "$*" in
    "apply -f https://"*) ;;
    "apply -f deployment/") {LOCAL} deploy;;
    "get svc coordinator "*) {LOCAL} status 2> status.txt | awk '$1 ~ /coordinator/ {{ print $2 }}';;
    "get svc web-svc "*) address Deployment/web;;
    "rollout restart deployment/"*) {LOCAL} restart "Deployment/${{3#deployment/}}";;
    *) echo "kubectl $*: not expected" >&2; exit 1;;
esac
""",
}


def blocks() -> list[str]:
    """Return the document's blocks of commands, of its tabs that of SEV-SNP on bare metal, with our platform in its place."""
    found = re.findall(r"```sh\n(.*?)```", WALKTHROUGH.read_text(), re.DOTALL)
    own = [block for block in found if not re.search(r"aks-clh-snp|k3s-qemu-tdx|^\$ ", block)]
    return [block.replace("k3s-qemu-snp", "local") for block in own]


def adjusted() -> str:
    """Return the example with the document's step 1 carried out."""
    source = CHECKOUT / "examples/emojivoto/deployment/emojivoto.yml"
    documents = list(yaml.safe_load_all(source.read_text()))
    for document in documents:
        if document["kind"] != "Deployment":
            continue
        pod = document["spec"]["template"]["spec"]
        pod["runtimeClassName"] = "contrast-cc"
        for container in pod["containers"]:
            container["resources"] = {key: {"memory": "700Mi"} for key in ("limits", "requests")}
            for variable in container.get("env", ()):
                if document["metadata"]["name"] == "web":
                    variable["value"] = ENV.get(variable["name"], variable["value"])
        mesh = MESH.get(document["metadata"]["name"], {})
        if mesh:
            annotations = {f"{PREFIX}{key}": value for key, value in mesh.items()}
            document["metadata"]["annotations"] = annotations
    return yaml.safe_dump_all(documents)


class Shell:
    """A folder with nothing in it, and the programs that the document names."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "work"
        self.root.mkdir()
        (folder / "bin").mkdir()
        (folder / "demo.yml").write_text(adjusted())
        for name, text in TOOLS.items():
            path = folder / "bin" / name
            path.write_text(f"#!/bin/sh\nset -e\n{text}\n")
            path.chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CONTRAST_")}
        self._environ = {
            **kept,
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "PYTHONPATH": str(CHECKOUT),
            "DEMO": str(folder / "demo.yml"),
            "NO_COLOR": "1",
            "CONTRAST_CACHE_DIR": str(folder / "cache"),
            "CONTRAST_OUTPUT_IN_PLACE": "true",
            "CONTRAST_IMAGES_LAYOUTS": str(CHECKOUT / "build/images"),
        }

    def type(self, script: str) -> str:
        done = subprocess.run(
            ["sh", "-eu", "-c", script],
            cwd=self.root,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    subprocess.run(
        [sys.executable, "-m", "contrast_tasks", "pack"],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        check=True,
        timeout=240,
    )
    shell = Shell(tmp_path)
    yield shell
    NodeClient(paths=local_paths(shell.root)).shutdown()


def test_all_eight_steps_and_the_optional_part_work_as_written(shell: Shell) -> None:
    steps = blocks()
    assert len(steps) == 12
    optional = next(number for number, block in enumerate(steps) if "rollout" in block) - 1
    first = "".join(steps[:optional])
    names = "\n".join(
        f"echo \"{name}='${name}'\" >> names" for name in ("coordinator", "frontendIP")
    )

    shown = shell.type(f"{first}\n{names}")

    assert "contrast set -c" in first
    assert "set manifest.json at coordinator" in shown
    assert "verified coordinator" in shown
    assert "Verify return code: 0 (ok)" in shown
    text = (shell.root / "deployment/emojivoto-demo.yml").read_text()
    assert text.count("io.katacontainers.config.agent.policy: ") == 4
    assert text.count("name: contrast-service-mesh") == 3
    again = [shell.type("contrast generate --reference-values local deployment/") for _ in "12"]
    assert "5 workloads up to date, 0 files written" in again[0]
    assert again[1].startswith("up to date (5 workloads")
    assert (shell.root / "deployment/emojivoto-demo.yml").read_text() == text
    refused = shell.type(
        '. ./names; curl --cacert verify/mesh-ca.pem "https://$frontendIP:443" || true'
    )
    assert "no alternative certificate subject name matches" in refused
    # "Add the frontendIP to the list of SANs", in the manifest itself.
    address = re.search(r"frontendIP='(.*)'", (shell.root / "names").read_text())
    assert address is not None
    path = shell.root / "manifest.json"
    manifest = json.loads(path.read_text())
    [web] = [entry for entry in manifest["Policies"].values() if entry["SANs"][0] == "web"]
    web["SANs"].append(address[1])
    path.write_text(json.dumps(manifest, indent=2) + "\n")

    shown = shell.type(". ./names\n" + "".join(steps[optional:]))

    assert "the mesh CA was rotated" in shown
    assert "(generation 2)" in shown
    assert "<html" in shown.lower()
