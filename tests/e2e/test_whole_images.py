"""Whole images of our components and of other programs, of real packages: made twice, run, pushed, pulled, named.

Where the mirror has other versions by now than packages.lock, those of today are pinned, so that this goes on.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.files import cache_folder
from contrast_tasks.images.base.downloads import Downloads
from contrast_tasks.images.base.pins import parse_pins, render_pins
from contrast_tasks.images.layout import REF_NAME
from contrast_tasks.images.pack import write_layout
from contrast_tasks.images.whole import Assembly, component_plans, project_plans
from contrast_tasks.settings.load import load_settings
from dev.checkout import ROOT
from dev.others.layout import fetched, write_other_images
from tests.fakes.mesh_guest import MeshGuest
from tests.fakes.mesh_pki import Authority
from tests.fakes.mesh_traffic import (
    ANSWER,
    ask,
    connect,
    files_of,
    http_app,
    plain,
    serving,
    shaken,
)
from tests.fakes.pod_network import PodNetwork, needed
from tests.fakes.real_registry import needs_registry, real_registry
from tests.fakes.whole_images import (
    ENVIRON,
    missing_libraries,
    needs_mirrors,
    run,
    unpacked,
)

SKOPEO = shutil.which("skopeo")
NAMES = ("coordinator", "initializer", "service-mesh", "node-installer")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("whole images"),
    pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root"),
]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a layout of our components; the folder beside it has the packages that they were made of."""
    folder = tmp_path_factory.mktemp("whole")
    with needs_mirrors(), Downloads(cache_folder(os.environ) / "packages") as downloads:
        assembly = Assembly(downloads)
        plans = fetched(assembly, component_plans())
        images = [assembly.make(plan, plan.recipe.reference) for plan in plans]
    write_layout(folder / "layout", [image.packed for image in images])
    for image in images:
        name = image.packed.reference.rpartition("/")[2].partition(":")[0]
        (folder / f"{name}.spdx.json").write_bytes(image.sbom)
    assert plans[0].pins is not None
    (folder / "packages.lock").write_bytes(render_pins(plans[0].pins))
    return folder / "layout"


@pytest.fixture(scope="module")
def roots(layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("roots")
    return {name: unpacked(layout, name, folder / name) for name in NAMES}


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("coordinator", ("python3", "-m", "coordinator", "--help"), "usage: coordinator"),
        ("coordinator", ("iptables-legacy", "--version"), "(legacy)"),
        ("coordinator", ("ip6tables-legacy", "--version"), "(legacy)"),
        ("initializer", ("iptables-legacy", "--version"), "(legacy)"),
        ("initializer", ("cryptsetup", "--version"), "cryptsetup 2."),
        ("initializer", ("/bin/mount", "--version"), "util-linux"),
        ("initializer", ("/bin/test", "-f", "/etc/mke2fs.conf"), ""),
        ("node-installer", ("/bin/node-installer", "--help"), "--uninstall"),
        ("node-installer", ("nsenter", "--version"), "util-linux"),
        ("service-mesh", ("iptables-legacy", "--version"), "(legacy)"),
        ("service-mesh", ("envoy", "--version"), "envoy  version"),
        ("service-mesh", ("test", "-f", "/etc/passwd"), ""),
    ],
)
def test_programs_of_the_images_run(
    roots: Mapping[str, Path], name: str, words: tuple[str, ...], told: str
) -> None:
    done = run(roots[name], *words)

    assert done.returncode == 0, done.stderr
    assert told in done.stdout


def test_the_sidecar_of_the_image_protects_a_pod(roots: Mapping[str, Path], tmp_path: Path) -> None:
    needed()
    root = roots["service-mesh"]
    SimulatedProcessor.load_or_create(root / "processor")
    network, authority = PodNetwork(), Authority(now=datetime.now(UTC))
    client = files_of(tmp_path, authority, "web")
    script = 'mount -t proc proc "$0/proc"; mount --bind /dev "$0/dev"; exec chroot "$0" "$@"'
    guest = MeshGuest(
        pod=network.add(),
        folder=root,
        authority=authority,
        name="emoji",
        processor=Path("/processor"),
        environ={
            **ENVIRON,
            "PYTHONPATH": "/app",
            "CONTRAST_SECRETS_DIR": "/contrast",
            "CONTRAST_MESH_DIR": "/",
            "CONTRAST_READY_FILE": "/ready",
        },
        program=["sh", "-ec", script, str(root), "python3", "-m", "contrast_tasks.guest.sidecar"],
    )
    stranger = network.add()
    with guest.pod.inside():
        app = http_app(8080)
    with serving(app), guest.running(), stranger.inside():
        refused = plain(guest.pod.ipv4, 8080)
        connection = shaken(connect(guest.pod.ipv4, 8080), client.mesh_ca, client=client)
        answer = ask(connection)
    network.close()

    assert (refused, answer[-len(ANSWER) :]) == (b"", ANSWER)


def test_a_file_system_is_made_by_the_initializers_own_tools(roots: Mapping[str, Path]) -> None:
    root = roots["initializer"]
    with (root / "tmp/disk").open("wb") as disk:
        disk.truncate(64 << 20)

    made = run(root, "mkfs.ext4", "-q", "/tmp/disk")
    checked = run(root, "e2fsck", "-fn", "/tmp/disk")

    assert (made.returncode, checked.returncode) == (0, 0), made.stderr + checked.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_module_of_an_image_can_be_imported(roots: Mapping[str, Path], name: str) -> None:
    modules = sorted(
        path.relative_to(roots[name] / "app").with_suffix("").as_posix().replace("/", ".")
        for path in (roots[name] / "app").rglob("*.py")
        if path.name not in {"__init__.py", "__main__.py"}
    )

    done = run(roots[name], "python3", "-c", f"import {', '.join(modules)}")

    assert done.returncode == 0, done.stderr
    assert len(modules) > 10


@pytest.mark.parametrize("name", NAMES)
def test_libraries_of_every_program_are_there(roots: Mapping[str, Path], name: str) -> None:
    assert missing_libraries(roots[name]) == {}


def test_tls_finds_authorities(roots: Mapping[str, Path]) -> None:
    code = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'] > 100)"

    assert run(roots["initializer"], "python3", "-c", code).stdout == "True\n"


def test_no_program_gives_rights_away(roots: Mapping[str, Path]) -> None:
    for root in roots.values():
        assert [path for path in root.rglob("*") if path.lstat().st_mode & 0o6000] == []


def test_the_same_images_are_made_on_another_machine(layout: Path, tmp_path: Path) -> None:
    # Another distribution and another Python, those of the initializer's image; another mask, zone, hash seed, language; and
    # copies of our files with other times.
    machine = unpacked(layout, "initializer", tmp_path / "machine")
    for name in ("contrast_tasks", "coordinator", "components", "schemas", "templates"):
        shutil.copytree(ROOT / name, machine / "src" / name, copy_function=shutil.copyfile)
    shutil.copyfile(layout.parent / "packages.lock", machine / "src" / "packages.lock")
    pins = parse_pins((machine / "src" / "packages.lock").read_bytes())
    (machine / "cache").mkdir()
    for package in (*pins.debian, *pins.wheels):
        name = f"{package.sha256}-{package.file}"
        shutil.copyfile(cache_folder(os.environ) / "packages" / name, machine / "cache" / name)
    code = (
        "import os; from pathlib import Path\n"
        "from contrast_tasks.images.base.downloads import Downloads\n"
        "from contrast_tasks.images.base.pins import parse_pins\n"
        "from contrast_tasks.images.pack import write_layout\n"
        "from contrast_tasks.images.whole import Assembly, component_plans\n"
        "os.umask(0o77)\n"
        "pins = parse_pins(Path('/src/packages.lock').read_bytes())\n"
        "plans = [plan._replace(pins=pins) for plan in component_plans()]\n"
        "with Downloads(Path('/cache'), offline=True) as downloads:\n"
        "    assembly = Assembly(downloads)\n"
        "    images = [assembly.make(plan, plan.recipe.reference).packed for plan in plans]\n"
        "write_layout(Path('/layout'), images)\n"
    )
    more = {"PYTHONPATH": "/src", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "LC_ALL": "C"}

    done = run(machine, "python3", "-c", code, **more)

    assert done.returncode == 0, done.stderr
    assert (machine / "layout/index.json").read_bytes() == (layout / "index.json").read_bytes()
    for path in (layout / "blobs/sha256").iterdir():
        found = (machine / "layout/blobs/sha256" / path.name).read_bytes()
        assert hashlib.sha256(found).hexdigest() == path.name


def test_images_and_bills_of_materials_agree(layout: Path) -> None:
    index = json.loads((layout / "index.json").read_bytes())
    for entry in index["manifests"]:
        name = entry["annotations"][REF_NAME].rpartition("/")[2].partition(":")[0]
        document = json.loads((layout.parent / f"{name}.spdx.json").read_bytes())
        assert document["packages"][0]["checksums"][0]["checksumValue"] == entry["digest"][7:]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@needs_registry
@pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed (apt package)")
def test_what_is_pushed_is_pulled_by_skopeo_and_named_in_the_settings(
    layout: Path, host: str, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "contrast.toml").write_text('platform = "metal-qemu-snp" # mine\nsources = ["d"]\n')
    # The settings of whoever runs the tests name another project.
    own = {name: value for name, value in os.environ.items() if not name.startswith("CONTRAST_")}
    environ = {**own, "PYTHONPATH": str(ROOT), "DOCKER_CONFIG": str(tmp_path)}
    (tmp_path / "d/app.yml").write_text(
        APPLICATION.replace("HOST", f"{host}/team/service-mesh:0.1.0")
    )
    tool = [sys.executable, "-m", "contrast_tasks"]
    # The packages are at hand, unless the mirror has others by now; then those that the layout was made of.
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from contrast_tasks.images import build\n"
        "from contrast_tasks.images.base.pins import parse_pins\n"
        f"pins = parse_pins(Path({str(layout.parent / 'packages.lock')!r}).read_bytes())\n"
        "plans = build.component_plans()\n"
        "build.component_plans = lambda: tuple(plan._replace(pins=pins) for plan in plans)\n"
        "from contrast_tasks.cli.main import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    words = ["images", "build", "--offline", "--registry", f"{host}/team"]
    made = subprocess.run(
        [tool[0], "-c", code, *words],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr

    text = (tmp_path / "contrast.toml").read_text()
    pulled = subprocess.run(
        [
            *(str(SKOPEO), "--insecure-policy", "copy", "--src-tls-verify=false"),
            *(f"docker://{host}/team/coordinator:0.1.0", f"oci:{tmp_path / 'pulled'}:x"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    index = json.loads((layout / "index.json").read_bytes())
    digests = {
        e["annotations"][REF_NAME].rpartition("/")[2]: e["digest"] for e in index["manifests"]
    }
    subprocess.run([*tool, "lock"], cwd=tmp_path, env=environ, check=True, capture_output=True)
    generated = subprocess.run(
        [*tool, "--output", "json", "generate", "--set", CLASS],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert pulled.returncode == 0, pulled.stderr
    assert text.startswith('platform = "metal-qemu-snp" # mine\n')
    for name in ("coordinator", "initializer", "service-mesh"):
        (digest,) = [value for key, value in digests.items() if key.startswith(f"{name}:")]
        assert f"{host}/team/{name}:0.1.0@{digest}" in text
    # The manifest is there; what it lacks are values of the host and of the runtime, which no image has.
    codes = {
        each["rule"]
        for each in json.loads(generated.stdout)["findings"]
        if each["severity"] == "error"
    }
    assert (generated.returncode, codes) == (13, {"missing-measurement", "missing-minimum-tcb"})
    (manifest,) = tmp_path.glob("manifest.json")
    roles = [each.get("Role") for each in json.loads(manifest.read_bytes())["Policies"].values()]
    assert sorted(map(str, roles)) == ["None", "coordinator"]


CLASS = 'runtime.class = "contrast-cc-metal-qemu-snp-00112233"'
APPLICATION = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers:
        - {name: web, image: HOST, resources: {limits: {memory: 700Mi}, requests: {memory: 700Mi}}}
"""


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("others")
    with needs_mirrors():
        write_other_images(folder / "layout")
    return folder / "layout"


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("redis", ("redis-server", "--version"), "Redis server v="),
        ("nginx", ("nginx", "-t"), "test is successful"),
        ("postgres", ("/usr/lib/postgresql/17/bin/postgres", "--version"), "PostgreSQL"),
    ],
)
def test_programs_of_others_run(
    others: Path, tmp_path: Path, name: str, words: tuple[str, ...], told: str
) -> None:
    done = run(unpacked(others, name, tmp_path / "root"), *words)

    assert done.returncode == 0, done.stderr
    assert told in done.stdout + done.stderr


def test_a_database_is_made_by_the_user_that_owns_its_folder(others: Path, tmp_path: Path) -> None:
    root = unpacked(others, "postgres", tmp_path / "root")
    os.mknod(root / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    (root / "dev/null").chmod(0o666)
    done = subprocess.run(
        [
            *("/usr/sbin/chroot", "--userspec=999:999", str(root)),
            *("/usr/lib/postgresql/17/bin/initdb", "-D", "/var/lib/postgresql/data", "--locale=C"),
        ],
        env=ENVIRON,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


EXAMPLE = {
    "emoji-svc": ("emojivoto.emoji_svc",),
    "voting-svc": ("emojivoto.voting_svc",),
    "web": ("emojivoto.web", "emojivoto.vote_bot"),
}


@pytest.mark.parametrize("name", EXAMPLE)
def test_images_of_the_example_have_all_that_their_programs_start_with(
    name: str, tmp_path: Path
) -> None:
    settings = load_settings(ROOT, environ={})
    with needs_mirrors(), Downloads(cache_folder(os.environ) / "packages") as downloads:
        assembly = Assembly(downloads)
        plans = [
            each for each in project_plans(settings) if each.recipe.name == f"emojivoto/{name}"
        ]
        (plan,) = fetched(assembly, plans)
        image = assembly.make(plan, plan.recipe.reference)
    write_layout(tmp_path / "layout", [image.packed])
    root = unpacked(tmp_path / "layout", name, tmp_path / "root")

    done = run(root, "python3", "-c", f"import {', '.join(EXAMPLE[name])}")

    assert done.returncode == 0, done.stderr
    for program in plan.recipe.executables:
        # As the kernel reads the first line of the program.
        words = (root / program).read_text().splitlines()[0].removeprefix("#!").split()
        assert run(root, *words, "--version").stdout.startswith("Python 3.13")


def test_the_node_installer_finds_its_inputs_where_its_pod_has_them(
    layout: Path, tmp_path: Path
) -> None:
    root = unpacked(layout, "node-installer", tmp_path / "root")
    handler = "contrast-cc-metal-qemu-snp-00112233"
    path = "/opt/edgeless/@@runtimeName@@/bin/shim"
    document = {"files": [{"url": "file:///config/shim", "path": path}]}
    for name, text in {
        "config/contrast-node-install.json": json.dumps(document),
        "config/shim": "shim",
        "host/etc/containerd/config.toml": "version = 2\n",
        f"host/opt/edgeless/{handler}/bin/shim": "shim",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    shown = run(root, "/bin/node-installer", "--show-handler", "Metal-QEMU-SNP")
    # Nothing of it is in the configuration, so no unit is asked for.
    removed = run(
        root, "/bin/node-installer", "--uninstall", "--handler", handler, "Metal-QEMU-SNP"
    )

    assert re.fullmatch(r"contrast-cc-metal-qemu-snp-[0-9a-f]{8}\n", shown.stdout), shown.stderr
    assert removed.returncode == 0, removed.stderr
    assert removed.stderr == f"node-installer: removed /opt/edgeless/{handler}\n"
    assert not (root / "host/opt/edgeless" / handler).exists()
