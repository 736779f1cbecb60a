"""Projects made of generated workloads: small ones for tests of the graph, large ones for measuring.

Their platform needs nothing but a file of settings: no keys, no simulated processor, no registry; the lock file is
written as `lock` would have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.lock import Layer, Lock, LockedImage, render_lock
from contrast_tasks.platforms import NAMES

IMAGE = "shop/app:v1"
# With the reference product's containers, because no cluster takes pods with ours.
SETTINGS = """\
platform = "metal-qemu-snp"
sources = ["deployment"]
runtime.release = "v1.11.0"
runtime.class = "contrast-cc-{platform}-0a1b2c3d"
components = {{ reference = true, {images} }}
reference_values.products = ["Milan"]
defaults.memory = "160Mi"
owners.seedshare = []
owners.disable_updates = true
[reference_values.snp.Milan]
trusted_measurement = "{measurement}"
minimum_tcb = {{ bootloader = 3, tee = 0, snp = 8, microcode = 115 }}
"""
INITIALIZER = "reference/initializer:dev"
SERVICE_MESH = "reference/service-mesh-proxy:dev"
COORDINATOR = "reference/coordinator:dev"
IMAGES = (IMAGE, INITIALIZER, SERVICE_MESH, COORDINATOR)
COMPONENTS = (
    f'initializer = "{INITIALIZER}", service_mesh = "{SERVICE_MESH}", coordinator = "{COORDINATOR}"'
)


def deployment(name: str, *, config: str = "", extra: str = "") -> str:
    """Return a Deployment; config: the ConfigMap its environment comes from; extra: lines for the container."""
    source = f"          envFrom:\n            - configMapRef:\n                name: {config}\n"
    return (
        "apiVersion: apps/v1\n"
        "kind: Deployment\n"
        "metadata:\n"
        f"  name: {name}\n"
        "spec:\n"
        "  replicas: 1\n"
        "  selector:\n"
        "    matchLabels:\n"
        f"      app: {name}\n"
        "  template:\n"
        "    metadata:\n"
        "      labels:\n"
        f"        app: {name}\n"
        "    spec:\n"
        "      containers:\n"
        f"        - name: {name}\n"
        f"          image: {IMAGE} # the image of {name}\n"
        f"{source if config else ''}"
        f"{extra}"
    )


def service(name: str) -> str:
    """Return a Service in front of nothing."""
    return (
        "apiVersion: v1\n"
        "kind: Service\n"
        "metadata:\n"
        f"  name: {name}\n"
        "spec:\n"
        "  ports:\n"
        "    - port: 80\n"
        "      targetPort: 8080\n"
        "  selector:\n"
        f"    app: {name}-pods\n"
    )


def config_map(name: str, **data: str) -> str:
    """Return a ConfigMap."""
    lines = "".join(f'  {key}: "{value}"\n' for key, value in sorted(data.items()))
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n{lines}"


def stream(*documents: str) -> str:
    """Return one YAML file."""
    return "---\n".join(documents)


def locked(reference: str, *, env: Sequence[str] = ()) -> LockedImage:
    """Return an image whose digest follows from its name."""
    mark = f"{sum(reference.encode()):064x}"
    return LockedImage(
        reference=reference,
        digest=f"sha256:{mark}",
        config=ImageConfig(
            entrypoint=("/app",),
            cmd=(),
            env=("PATH=/usr/bin:/bin", *env),
            working_dir="/",
            user="",
            volumes=(),
            exposed_ports=(),
            os="linux",
            architecture="amd64",
        ),
        layers=(
            Layer(
                digest=f"sha256:{mark}",
                diff_id=f"sha256:{mark}",
                size_bytes=1024,
                unpacked_bytes=1024,
            ),
        ),
        passwd="root:x:0:0:root:/root:/bin/sh\n",
        group="root:x:0:\n",
    )


@dataclass(frozen=True, slots=True)
class FakeProject:
    """A project on disk."""

    root: Path

    def write(self, name: str, content: str) -> Path:
        """Write a file below the deployment folder."""
        path = self.root / "deployment" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def read(self, name: str) -> str:
        """Read a file of the project."""
        return (self.root / name).read_text()

    def settings(self, more: str = "", **replaced: str) -> None:
        """Write contrast.toml, with more lines at its end and values of the first table replaced.

        The runtime class follows the platform.
        """
        platform = replaced.get("platform", "").strip('"')
        if platform not in NAMES:
            platform = "metal-qemu-snp"
        text = SETTINGS.format(measurement="ab" * 48, images=COMPONENTS, platform=platform)
        for key, value in replaced.items():
            text = "".join(
                f"{key} = {value}\n" if line.startswith(f"{key} = ") else line
                for line in text.splitlines(keepends=True)
            )
        (self.root / "contrast.toml").write_text(text + more)

    def lock(self, *images: LockedImage) -> None:
        """Write contrast.lock with the usual images, and others instead of those with the same reference."""
        entries = {reference: locked(reference) for reference in IMAGES}
        entries |= {image.reference: image for image in images}
        (self.root / "contrast.lock").write_bytes(render_lock(Lock(entries.values())))

    def outputs(self) -> dict[str, bytes]:
        """Return everything generate is meant to leave behind, by path."""
        found = {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in sorted((self.root / "build").rglob("*"))
            if path.is_file()
        }
        manifest = self.root / "manifest.json"
        if manifest.exists():
            found["manifest.json"] = manifest.read_bytes()
        return found


def make_project(root: Path) -> FakeProject:
    """Return a project of three workloads in two files; `cart` and `till` take values from the ConfigMap `prices`."""
    project = FakeProject(root)
    root.mkdir(parents=True, exist_ok=True)
    project.settings()
    project.lock()
    project.write(
        "shop.yml",
        stream(
            deployment("cart", config="prices"),
            service("cart"),
            deployment("shelf"),
            config_map("prices", apple="1"),
        ),
    )
    project.write("till/till.yaml", deployment("till", config="prices"))
    return project


def make_large_project(root: Path, *, workloads: int) -> FakeProject:
    """Return a project of `workloads` Deployments, four to a file, each with a Service, a ConfigMap per file."""
    project = FakeProject(root)
    root.mkdir(parents=True, exist_ok=True)
    project.settings()
    # As a real deployment has them, with owners; the first generate makes the keys. A Coordinator of the reference product
    # does not take a thousand policies.
    text = "".join(
        line.replace("reference = true, ", "")
        for line in project.read("contrast.toml").splitlines(keepends=True)
        if not line.startswith("owners.")
    )
    (root / "contrast.toml").write_text(text)
    project.lock()
    for start in range(0, workloads, 4):
        names = [f"app-{number:04d}" for number in range(start, min(start + 4, workloads))]
        config = f"config-{start:04d}"
        documents = [config_map(config, start=str(start))]
        for name in names:
            documents += [deployment(name, config=config), service(name)]
        project.write(f"group-{start // 40:03d}/apps-{start:04d}.yml", stream(*documents))
    return project
