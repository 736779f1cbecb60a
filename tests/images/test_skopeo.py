"""Layouts and registries as skopeo writes and reads them (the Debian package), beside the reference implementation."""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.describe import describe
from contrast_tasks.images.documents import digest_of
from contrast_tasks.images.layout import Layout, contents
from contrast_tasks.images.registry import Registry
from contrast_tasks.pods.references import parse_reference
from tests.fakes.images import file, make_image, make_index, tar, write_images
from tests.fakes.real_registry import needs_registry, real_registry

SKOPEO = shutil.which("skopeo")

pytestmark = [
    pytest.mark.e2e,
    needs_registry,
    pytest.mark.skipif(SKOPEO is None, reason="skopeo is not installed (apt package)"),
]

NAME = "registry.example/shop/cart:v1"
REFERENCE = parse_reference(NAME)
LAYER = tar(file("etc/passwd", b"root:x:0:0::/:\n"), file("bin/cart", b"x" * 4000))
IMAGE = make_image([LAYER], process={"Cmd": ["/bin/cart"]})
# bcrypt of `me:secret`, by libxcrypt.
HTPASSWD = "me:$2b$04$zlvmHGhrEeTuUyE5hBdfS.MNFh3HMjtzVOLhE4UJA72wLPkIB8p2y\n"


def skopeo(*words: str, **environ: str) -> str:
    """Run skopeo, which trusts every image and knows no registry of the machine's."""
    assert SKOPEO is not None
    done = subprocess.run(
        [SKOPEO, "--insecure-policy", *words],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TMPDIR": "/tmp"} | environ,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Return a layout that skopeo can copy from."""
    write_images(tmp_path / "source", {"it": IMAGE})
    return f"oci:{tmp_path / 'source'}:it"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


def test_a_layout_with_the_whole_name_is_read(tmp_path: Path, source: str) -> None:
    skopeo("copy", source, f"oci:{tmp_path / 'oci'}:{NAME}")

    entry = describe(REFERENCE, Layout(tmp_path / "oci"))

    assert (entry.config.cmd, entry.layers[0].diff_id) == (("/bin/cart",), digest_of(LAYER))
    assert entry.digest == skopeo(
        "inspect", "--format", "{{.Digest}}", f"oci:{tmp_path / 'oci'}:{NAME}"
    ).strip()  # fmt: skip


@pytest.mark.parametrize(
    ("name", "told"), [(":v1", "oci has v1"), (":1.0-RC1", "oci has 1.0-RC1"), ("", "oci has 1 without a name")]
)  # fmt: skip
def test_of_a_layout_without_the_whole_name_it_is_told_what_it_has(
    tmp_path: Path, source: str, name: str, told: str
) -> None:
    skopeo("copy", source, f"oci:{tmp_path / 'oci'}{name}")
    layout = Layout(tmp_path / "oci", name="oci")

    with pytest.raises(ImageError, match="not in the layout"):
        layout.image(REFERENCE)
    assert contents([layout]) == told
    assert layout.is_meant(REFERENCE) == (name == ":v1")
    assert layout.find(REFERENCE.pinned(layout.entries[0].digest)) is not None


def test_a_layout_of_all_platforms_is_read(tmp_path: Path) -> None:
    other = make_image([LAYER + LAYER], config={"architecture": "arm64"})
    index = make_index({("linux", "arm64"): other, ("linux", "amd64"): IMAGE})
    write_images(tmp_path / "source", {"it": index})
    skopeo("copy", "--all", f"oci:{tmp_path / 'source'}:it", f"oci:{tmp_path / 'oci'}:{NAME}")

    entry = describe(REFERENCE, Layout(tmp_path / "oci"))

    assert entry.manifest_digest not in {None, entry.digest}
    assert entry.layers[0].diff_id == digest_of(LAYER)


def test_zstd_layers_of_a_layout_and_of_a_registry_are_read(
    tmp_path: Path, source: str, host: str
) -> None:
    skopeo("copy", "--dest-compress-format", "zstd", source, f"oci:{tmp_path / 'oci'}:{NAME}")
    skopeo(
        *("copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'oci'}:{NAME}"),
        f"docker://{host}/shop/zstd:v1",
    )

    layout = Layout(tmp_path / "oci")
    with Registry(find_credential=lambda *_: None) as registry:
        entries = [
            describe(REFERENCE, layout),
            describe(parse_reference(f"{host}/shop/zstd:v1"), registry),
        ]

    for entry in entries:
        (layer,) = entry.layers
        assert (layer.diff_id, layer.unpacked_bytes) == (digest_of(LAYER), len(LAYER))
        blob = tmp_path / "oci/blobs/sha256" / layer.digest.removeprefix("sha256:")
        assert blob.read_bytes().startswith(b"\x28\xb5\x2f\xfd")


def test_what_docker_save_wrote_of_old_is_converted_as_the_hint_says(
    tmp_path: Path, source: str
) -> None:
    archive = tmp_path / "image.tar"
    skopeo("copy", source, f"docker-archive:{archive}:{NAME}")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "saved", filter="data")

    with pytest.raises(ImageError, match="found an archive of docker save") as caught:
        Layout(tmp_path / "saved")
    words = caught.value.hint.partition("'")[2].rpartition("'")[0].split()
    places = {"<file>": str(archive), "<folder>": str(tmp_path / "oci"), "<image>": NAME}
    for placeholder, value in places.items():
        words = [word.replace(placeholder, value) for word in words]
    skopeo(*words[1:])

    assert describe(REFERENCE, Layout(tmp_path / "oci")).config.cmd == ("/bin/cart",)


def test_credentials_of_a_helper_program_are_used(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "bin" / "docker-credential-shop"
    helper.parent.mkdir()
    # The protocol of docker-credential-helpers: the registry on stdin, JSON on stdout.
    helper.write_text(
        '#!/bin/sh\n[ "$1" = get ] || exit 1\nread -r server\necho "$server" >>"$0.asked"\n'
        'echo "{\\"ServerURL\\": \\"$server\\", \\"Username\\": \\"me\\", \\"Secret\\": \\"secret\\"}"\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    with real_registry(tmp_path / "private", htpasswd=HTPASSWD) as host:
        place = f"{host}/shop/cart:v1"
        skopeo(
            *("copy", "--dest-tls-verify=false", "--dest-creds", "me:secret"),
            *(source, f"docker://{place}"),
        )
        for config in ({"credHelpers": {host: "shop"}}, {"credsStore": "shop"}):
            (tmp_path / "config.json").write_text(json.dumps(config))
            environ = {"DOCKER_CONFIG": str(tmp_path), "CONTAINERS_REGISTRIES_CONF": "/nonexistent"}
            with Registry.from_environment(environ) as registry:
                assert describe(parse_reference(place), registry).config.cmd == ("/bin/cart",)
        with (
            Registry(find_credential=lambda *_: None) as registry,
            pytest.raises(ImageError, match="it wants a user name and password"),
        ):
            describe(parse_reference(place), registry)

    assert Path(f"{helper}.asked").read_text().splitlines() == [host] * 2


def test_mirrors_of_registries_conf_are_those_that_skopeo_reads(
    tmp_path: Path, source: str, host: str
) -> None:
    skopeo("copy", "--dest-tls-verify=false", source, f"docker://{host}/mirror/cart:v1")
    user = tmp_path / ".config" / "containers"
    user.mkdir(parents=True)
    (user / "registries.conf").write_text(
        '[[registry]]\nprefix = "no.example/shop"\nlocation = "no.example/shop"\n'
        f'[[registry.mirror]]\nlocation = "{host}/gone"\ninsecure = true\n'
        f'[[registry.mirror]]\nlocation = "{host}/mirror"\ninsecure = true\n'
    )
    reference = "no.example/shop/cart:v1"

    theirs = skopeo(
        "inspect",
        "--no-tags",
        "--format",
        "{{.Digest}}",
        f"docker://{reference}",
        HOME=str(tmp_path),
    ).strip()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        with Registry.from_environment({}) as registry:
            ours = describe(parse_reference(reference), registry)

    assert (ours.reference, ours.digest) == (reference, theirs)
