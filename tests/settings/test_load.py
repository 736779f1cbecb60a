import os
import pickle
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.schema import validate
from contrast_tasks.settings import layers
from contrast_tasks.settings.layers import InvalidSettings
from contrast_tasks.settings.lines import key_lines
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import ReferenceOverrides, Settings
from contrast_tasks.settings.workloads import WorkloadSettings

REPOSITORY = Path(__file__).parents[2]
BASE = 'platform = "local"\nsources = ["deployment"]\n'
WEB = '[workloads."Deployment/web"]\n'


def load(
    folder: Path,
    text: str | None = BASE,
    *,
    environ: dict[str, str] | None = None,
    overrides: tuple[str, ...] = (),
    flags: dict[str, object] | None = None,
) -> Settings:
    if text is not None:
        (folder / "contrast.toml").write_text(text)
    return load_settings(folder, environ=environ or {}, overrides=overrides, flags=flags or {})


def test_two_keys_are_enough_and_the_rest_has_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert (settings.platform, settings.sources) == ("local", ("deployment",))
    assert (settings.build_dir, settings.manifest, settings.lock) == (
        "build",
        "manifest.json",
        "contrast.lock",
    )
    assert settings.runtime_class is True
    assert settings.memory is None
    assert settings.workloads == {}
    assert settings.include_coordinator is True
    assert settings.workload_owner_keys == ("workload-owner.pem",)
    assert settings.seedshare_owner_keys == ("seedshare-owner.pem",)
    assert settings.disable_updates is False
    assert settings.components.initializer == "contrast-tasks/initializer:0.1.0"
    assert settings.reference_values is None
    assert settings.reference_overrides == ReferenceOverrides()


def test_every_key_of_the_file_arrives(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        f"""
platform = "K3s-QEMU-SNP"
sources = ["a", "b.yml"]
build_dir = "out"
manifest = "m.json"
lock = "l.lock"
[defaults]
runtime_class = false
memory = "1Gi"
[images]
layouts = ["out/images"]
[components]
initializer = "i"
service_mesh = "s"
coordinator = "c"
[coordinator]
include = false
[owners]
workload = ["w1.pem", "w2.pem"]
seedshare = []
[reference_values]
file = "rv.json"
products = ["Milan"]
[reference_values.snp.Milan]
trusted_measurement = "{"6C" * 48}"
minimum_tcb = {{ bootloader = 9, tee = 0, snp = 23, microcode = 72 }}
platform_info = {{ tsme_enabled = true }}
allowed_chip_ids = ["{"AB" * 64}"]
allow_vlek = true
[reference_values.tdx]
mr_td = "{"1a" * 48}"
rtmrs = ["{"2b" * 48}", "{"2b" * 48}", "{"2b" * 48}", "{"00" * 48}"]
mr_seam = "{"5E" * 48}"
minimum_tee_tcb_svn = "{"0d" * 16}"
minimum_qe_svn = 1
minimum_pce_svn = 2
xfam = "e702060000000000"
td_attributes = "0000001000000000"
allowed_piids = ["E90210702A2CC5AD9764F29DDC8FDE8C"]
memory_integrity = true
allow_quote_v5 = true
[workloads."shop/StatefulSet/db"]
ingress = ""
egress = "x#127.0.0.1:1#y:2"
admin_port = 9901
env = {{ A = "1" }}
sans = ["203.0.113.34", "*.example.org", "spiffe://a/b", "::1"]
memory = "700Mi"
runtime_class = true
secret_id = "db"
""",
    )

    assert settings.platform == "k3s-qemu-snp"
    assert settings.sources == ("a", "b.yml")
    assert (settings.build_dir, settings.manifest, settings.lock) == ("out", "m.json", "l.lock")
    assert (settings.runtime_class, settings.memory) == (False, "1Gi")
    assert settings.image_layouts == ("out/images",)
    assert (settings.components.service_mesh, settings.components.coordinator) == ("s", "c")
    assert settings.include_coordinator is False
    assert settings.workload_owner_keys == ("w1.pem", "w2.pem")
    assert settings.seedshare_owner_keys == ()
    assert settings.reference_values == "rv.json"
    assert settings.reference_overrides == ReferenceOverrides(
        products=("Milan",),
        snp={
            "Milan": {
                "trusted_measurement": "6c" * 48,
                "minimum_tcb": {"bootloader": 9, "tee": 0, "snp": 23, "microcode": 72},
                "platform_info": {"tsme_enabled": True},
                "allowed_chip_ids": ("ab" * 64,),
                "allow_vlek": True,
            }
        },
        tdx={
            "mr_td": "1a" * 48,
            "rtmrs": ("2b" * 48, "2b" * 48, "2b" * 48, "00" * 48),
            "mr_seam": "5e" * 48,
            "minimum_tee_tcb_svn": "0d" * 16,
            "minimum_qe_svn": 1,
            "minimum_pce_svn": 2,
            "xfam": "e702060000000000",
            "td_attributes": "0000001000000000",
            "allowed_piids": ("e90210702a2cc5ad9764f29ddc8fde8c",),
            "memory_integrity": True,
            "allow_quote_v5": True,
        },
    )
    workload = settings.workloads["shop/StatefulSet/db"]
    assert workload == WorkloadSettings(
        where=workload.where,
        ingress="",
        egress="x#127.0.0.1:1#y:2",
        admin_port=9901,
        env={"A": "1"},
        sans=("203.0.113.34", "*.example.org", "spiffe://a/b", "::1"),
        memory="700Mi",
        runtime_class=True,
        secret_id="db",
    )
    assert str(workload.where) == "contrast.toml:42"


def test_the_example_declares_what_the_walkthrough_adds_by_hand() -> None:
    settings = load_settings(REPOSITORY, environ={})

    web = settings.workloads["Deployment/web"]
    assert (settings.platform, settings.sources) == ("local", ("examples/emojivoto/deployment",))
    assert (settings.runtime_class, settings.memory) == (True, "700Mi")
    assert settings.workloads["Deployment/emoji"].ingress == ""
    assert settings.workloads["Deployment/voting"].ingress == ""
    assert web.ingress == "web#8080#false"
    assert web.egress == (
        "emoji#127.137.0.1:8081#emoji-svc:8080##voting#127.137.0.2:8081#voting-svc:8080"
    )
    assert web.env == {"EMOJISVC_HOST": "127.137.0.1:8081", "VOTINGSVC_HOST": "127.137.0.2:8081"}


def test_disabled_updates_leave_no_workload_owner(tmp_path: Path) -> None:
    settings = load(tmp_path, BASE + "[owners]\ndisable_updates = true\n")

    assert settings.workload_owner_keys == ()
    assert settings.disable_updates is True


def test_the_namespace_default_may_be_named_or_not(tmp_path: Path) -> None:
    settings = load(tmp_path, BASE + '[workloads."default/Pod/a"]\nmemory = "1Gi"\n')

    assert list(settings.workloads) == ["Pod/a"]
    assert settings.workload("default/Pod/a") is settings.workload("Pod/a")
    assert settings.workload("other/Pod/a") is None


# Text after BASE, line, part of the message, hint.
BAD = [
    pytest.param(
        "[endorsements]\nmirrrors = 1\n", 4, "unknown key 'mirrrors'", "mirrors", id="mirrors-key"
    ),
    pytest.param(
        "[endorsements]\nmirrors = 1\n",
        4,
        "endorsements.mirrors is 1, expected a table",
        "",
        id="mirrors-kind",
    ),
    pytest.param(
        '[endorsements.mirrors]\n"kdsintf.amd.com" = "https://a"\n',
        4,
        "'kdsintf.amd.com' is not an address that begins with https:// or http://",
        "",
        id="mirrors-prefix",
    ),
    pytest.param(
        '[endorsements.mirrors]\n"https://kdsintf.amd.com" = "https://a b"\n',
        4,
        'endorsements.mirrors."https://kdsintf.amd.com" is "https://a b", expected an address',
        "",
        id="mirrors-replacement",
    ),
    pytest.param(
        '[endorsements]\nproxy = "socks5://a"\n',
        4,
        'endorsements.proxy is "socks5://a", expected an address that begins with http://',
        "",
        id="proxy",
    ),
    pytest.param(
        '[endorsements.mirrors]\n"https://kdsintf.amd.com" = "https://user@a/"\n',
        4,
        "expected an address that begins with https:// or http:// and names no user",
        "",
        id="mirrors-user",
    ),
    pytest.param(
        "platfrom = 1\n", 3, "unknown key 'platfrom', expected one of", "platform", id="unknown-key"
    ),
    pytest.param("[default]\n", 3, "unknown key 'default'", "defaults", id="unknown-table"),
    pytest.param(
        "[defaults]\nmemmory = 1\n",
        4,
        "unknown key 'memmory' in [defaults]",
        "memory",
        id="unknown-inner-key",
    ),
    pytest.param(
        WEB + "ingres = ''\n",
        4,
        "unknown key 'ingres' in [workloads.\"Deployment/web\"]",
        "ingress",
        id="unknown-workload-key",
    ),
    pytest.param("defaults = 3\n", 3, "defaults is 3, expected a table", "", id="no-table"),
    pytest.param(
        "[defaults]\nmemory = 700\n",
        4,
        "defaults.memory is 700, expected a memory quantity",
        "",
        id="memory-number",
    ),
    pytest.param('[defaults]\nmemory = "0"\n', 4, 'is "0", expected a memory', "", id="no-memory"),
    pytest.param(
        '[defaults]\nmemory = "0.0Gi"\n', 4, 'is "0.0Gi", expected a memory', "", id="no-memory-gi"
    ),
    pytest.param(
        '[defaults]\nmemory = "700 Mi"\n',
        4,
        'is "700 Mi", expected a memory',
        "",
        id="memory-space",
    ),
    pytest.param(
        '[defaults]\nmemory = "700mi"\n', 4, 'is "700mi", expected a memory', "", id="memory-unit"
    ),
    pytest.param(
        '[defaults]\nruntime_class = "true"\n',
        4,
        'is "true", expected true or false',
        "",
        id="bool-string",
    ),
    pytest.param(
        "[defaults]\nruntime_class = 1\n", 4, "is 1, expected true or false", "", id="bool-number"
    ),
    pytest.param(
        'build_dir = ""\n', 3, "expected a relative path inside the project", "", id="empty-path"
    ),
    pytest.param('build_dir = "."\n', 3, "expected a relative path", "", id="dot-path"),
    pytest.param('build_dir = "../b"\n', 3, "expected a relative path", "", id="outer-path"),
    pytest.param('manifest = "a/../../b"\n', 3, "expected a relative path", "", id="climbing-path"),
    pytest.param('lock = "/etc/lock"\n', 3, "expected a relative path", "", id="absolute-path"),
    pytest.param("build_dir = 1\n", 3, "build_dir is 1, expected", "", id="path-number"),
    pytest.param(
        '[images]\nlayouts = "a"\n',
        4,
        'images.layouts is "a", expected an array',
        "",
        id="no-array",
    ),
    pytest.param(
        '[images]\nlayouts = ["a", ""]\n', 4, 'is ["a", ""], expected', "", id="empty-element"
    ),
    pytest.param("[images]\nlayouts = [1]\n", 4, "is [1], expected", "", id="wrong-element"),
    pytest.param(
        '[components]\ninitializer = ""\n',
        4,
        'is "", expected a string that is not',
        "",
        id="empty-image",
    ),
    pytest.param(
        '[coordinator]\ninclude = "no"\n', 4, "coordinator.include", "", id="include-string"
    ),
    pytest.param('[owners]\nworkload = "w.pem"\n', 4, "owners.workload", "", id="owner-string"),
    pytest.param(
        '[reference_values]\nproducts = ["Turin"]\n', 4, "Milan, Genoa or both", "", id="product"
    ),
    pytest.param(
        "[reference_values]\nproducts = []\n", 4, "Milan, Genoa or both", "", id="no-products"
    ),
    pytest.param(
        "[reference_values.snp.milan]\n",
        3,
        "'milan' is not Milan or Genoa",
        "Milan",
        id="product-capitals",
    ),
    pytest.param(
        "[reference_values.snp.Milan]\nminimum_tcb = { snp = 256 }\n",
        4,
        "snp is 256, expected an integer from 0 to 255",
        "",
        id="svn-high",
    ),
    pytest.param(
        "[reference_values.snp.Milan]\nminimum_tcb = { snp = 3.0 }\n",
        4,
        "snp is 3.0, expected an integer",
        "",
        id="svn-float",
    ),
    pytest.param(
        "[reference_values.snp.Milan]\nminimum_tcb = { snp = true }\n",
        4,
        "snp is true, expected an integer",
        "",
        id="svn-bool",
    ),
    pytest.param(
        "[reference_values.snp.Milan]\nminimum_tcb = { fmc = 3 }\n",
        4,
        "unknown key 'fmc'",
        "",
        id="svn-unknown",
    ),
    pytest.param(
        '[reference_values.snp.Milan]\ntrusted_measurement = "6c"\n',
        4,
        "expected 96 hex digits",
        "",
        id="hex-short",
    ),
    pytest.param(
        f'[reference_values.snp.Milan]\ntrusted_measurement = "{"6x" * 48}"\n',
        4,
        "expected 96 hex digits",
        "",
        id="hex-digit",
    ),
    pytest.param(
        f'[reference_values.snp.Milan]\nallowed_chip_ids = ["{"ab" * 63}"]\n',
        4,
        "128 hex digits",
        "",
        id="chip-id",
    ),
    pytest.param(
        f'[reference_values.tdx]\nrtmrs = ["{"ab" * 48}"]\n',
        4,
        "four times 96 hex digits",
        "",
        id="rtmrs",
    ),
    pytest.param(
        "[reference_values.tdx]\nminimum_qe_svn = 65536\n", 4, "from 0 to 65535", "", id="qe-svn"
    ),
    pytest.param(
        "[workloads.web]\n", 3, "'web' is not \"<Kind>/<name>\"", "", id="workload-no-kind"
    ),
    pytest.param(
        '[workloads."Deploymnt/web"]\n',
        3,
        "'Deploymnt/web' is not",
        "Deployment",
        id="workload-kind",
    ),
    pytest.param(
        '[workloads."deployment/web"]\n',
        3,
        "'deployment/web' is not",
        "Deployment",
        id="workload-kind-case",
    ),
    pytest.param(
        '[workloads."Service/web"]\n', 3, "'Service/web' is not", "", id="workload-other-kind"
    ),
    pytest.param(
        '[workloads."Deployment/Web"]\n', 3, "'Deployment/Web' is not", "", id="workload-name"
    ),
    pytest.param(
        '[workloads."Deployment/"]\n', 3, "'Deployment/' is not", "", id="workload-no-name"
    ),
    pytest.param(
        '[workloads."a/b/Deployment/c"]\n', 3, "'a/b/Deployment/c' is not", "", id="workload-parts"
    ),
    pytest.param(
        WEB + "ingress = true\n", 4, "ingress is true, expected a string", "", id="ingress-bool"
    ),
    pytest.param(
        WEB + "admin_port = 0\n", 4, "admin_port is 0, expected a port", "", id="port-zero"
    ),
    pytest.param(
        WEB + "admin_port = 65536\n", 4, "expected a port from 1 to 65535", "", id="port-high"
    ),
    pytest.param(
        WEB + 'admin_port = "80"\n', 4, 'admin_port is "80", expected a port', "", id="port-string"
    ),
    pytest.param(
        WEB + "env = { A = 1 }\n", 4, "env.A is 1, expected a string", "", id="env-number"
    ),
    pytest.param(
        WEB + 'env = { "A B" = "1" }\n',
        4,
        "'A B' is not the name of an environment",
        "",
        id="env-name",
    ),
    pytest.param(WEB + 'env = ["A=1"]\n', 4, "expected a table", "", id="env-array"),
    pytest.param(
        WEB + 'sans = "web"\n', 4, 'sans is "web", expected an array', "", id="sans-string"
    ),
    pytest.param(
        WEB + 'sans = ["a b"]\n', 4, 'sans is ["a b"], expected an array of IP', "", id="sans-space"
    ),
    pytest.param(
        WEB + 'sans = ["300.1.1.1"]\n', 4, "expected an array of IP", "", id="sans-address"
    ),
    pytest.param(WEB + 'secret_id = ""\n', 4, "secret_id", "", id="secret-empty"),
]


@pytest.mark.parametrize(("text", "line", "message", "guess"), BAD)
def test_a_bad_file_is_refused_with_line_found_wanted_and_a_guess(
    tmp_path: Path, text: str, line: int, message: str, guess: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, BASE + text)

    assert message in str(caught.value)
    assert str(caught.value.where) == f"contrast.toml:{line}"
    assert caught.value.hint == (f"did you mean '{guess}'?" if guess else "")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("text", "line", "message", "guess"), BAD)
def test_the_schema_refuses_what_the_loader_refuses(
    text: str, line: int, message: str, guess: str
) -> None:
    assert validate(tomllib.loads(BASE + text), "settings")


GOOD = [
    pytest.param(
        BASE + '[endorsements.mirrors]\n"https://kdsintf.amd.com" = "http://[::1]:8080/amd"\n',
        id="mirrors",
    ),
    pytest.param('platform = "Metal-QEMU-TDX"\nsources = ["a"]\n', id="platform-capitals"),
    pytest.param(BASE + 'build_dir = "./a.b/.c"\n', id="path"),
    pytest.param(BASE + 'build_dir = "..."\n', id="three-dots"),
    pytest.param(BASE + '[defaults]\nmemory = "1.5Gi"\n', id="memory-fraction"),
    pytest.param(BASE + '[defaults]\nmemory = "1e9"\n', id="memory-exponent"),
    pytest.param(BASE + '[defaults]\nmemory = "734003200"\n', id="memory-bytes"),
    pytest.param(BASE + "[images]\nlayouts = []\n", id="empty-array"),
    pytest.param(BASE + '[workloads."a/CronJob/b.c-d"]\n', id="workload"),
    pytest.param(
        BASE + WEB + 'sans = ["*", "a_b.c", "1.2.3.4", "fe80::1", "urn:x:y"]\n', id="sans"
    ),
    pytest.param(BASE + WEB + 'env = { "a.b-c" = "" }\n', id="env"),
    pytest.param(BASE + "[reference_values.snp.Genoa]\n", id="empty-product"),
]


@pytest.mark.parametrize("text", GOOD)
def test_loader_and_schema_accept_the_same_good_files(tmp_path: Path, text: str) -> None:
    load(tmp_path, text)

    assert validate(tomllib.loads(text), "settings") == []


def test_the_example_is_valid_by_its_schema() -> None:
    text = (REPOSITORY / "contrast.toml").read_text()

    assert validate(tomllib.loads(text), "settings") == []


TOML = 'check quotes, brackets and = here and above; a line reads as platform = "local"'


@pytest.mark.parametrize(
    ("text", "message", "where", "hint"),
    [
        (
            'platform = "k3s-qemu-sno"\nsources = ["a"]\n',
            'platform is "k3s-qemu-sno", expected one of local, aks-clh-snp',
            "contrast.toml:1",
            "did you mean 'k3s-qemu-snp'?",
        ),
        ('sources = ["a"]\n', "platform is not set", "contrast.toml", ""),
        ('platform = "local"\n', "sources is not set", "contrast.toml", ""),
        ('platform = "local"\nsources = []\n', "at least one string", "contrast.toml:2", ""),
        (
            'platform = "local"\nsources = "a"\n',
            'sources is "a", expected an array',
            "contrast.toml:2",
            "",
        ),
        ("platform = local\n", "not valid TOML: invalid value", "contrast.toml:1:12", TOML),
        ("a = 1\na = 2\n", "not valid TOML: cannot overwrite", "contrast.toml:2:6", TOML),
        ('platform = "local"\nsources = [\n', "not valid TOML", "contrast.toml:2", TOML),
        (
            'platform = "local"\nsources = ["a", "build/b"]\n',
            "sources has 'build/b' and build_dir is 'build'",
            "contrast.toml:2",
            "",
        ),
        (
            'platform = "local"\nbuild_dir = "a/b"\nsources = ["a"]\n',
            "expected neither inside the other",
            "contrast.toml:3",
            "",
        ),
    ],
)
def test_a_file_without_sense_is_refused(
    tmp_path: Path, text: str, message: str, where: str, hint: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)

    assert message in str(caught.value)
    assert str(caught.value.where) == where
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('manifest = "contrast.toml"', "manifest is 'contrast.toml', which is contrast.toml"),
        ('manifest = "dodo.py"', "which is dodo.py"),
        ('manifest = "observed.toml"', "which is observed.toml"),
        ('manifest = "build"', "manifest is 'build', which is build_dir"),
        ('manifest = "contrast.lock/manifest.json"', "which is lock too"),
        ('lock = "contrast.toml/lock"', "which is contrast.toml"),
        ('build_dir = "contrast.toml"', "build_dir is 'contrast.toml', which is contrast.toml"),
        ('build_dir = "values.json/x"', "which is the file of reference values"),
        ('manifest = "contrast.lock"', "which is lock too"),
        ('manifest = "workload-owner.pem"', "which is an owner's key"),
        ('manifest = "deployment/app.yml"', "which is among the sources"),
        ('manifest = "more/../deployment/sub/app.yaml"', "inside the project"),
        ('manifest = "linked/app.yaml"', "which is among the sources"),
        ('lock = "single.yml"', "lock is 'single.yml', which is among the sources"),
        ('manifest = "build/check.json"', "which is where other outputs go"),
        ('manifest = "build/policies/manifest.json"', "which is where other outputs go"),
        ('manifest = "values.json"', "which is the file of reference values"),
        ('manifest = ".contrast/manifest.json"', "expected a place outside .contrast"),
        ('build_dir = ".contrast"', "expected a place outside .contrast"),
        ('build_dir = "linked/build"', "expected neither inside the other"),
        ('owners.workload = ["build/policies/a.pem"]', "expected a place where no outputs go"),
    ],
)
def test_an_output_never_replaces_what_somebody_else_wrote(
    tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "deployment").mkdir()
    (tmp_path / "linked").symlink_to("deployment")
    sources = 'sources = ["../' + tmp_path.name + '/deployment", "single.yml"]'
    values = 'reference_values.file = "values.json"'

    with pytest.raises(SettingsError) as caught:
        load(tmp_path, f'platform = "local"\n{sources}\n{values}\n{line}\n')

    assert message in str(caught.value)
    assert str(caught.value.where) == f"contrast.toml:{2 if 'neither' in message else 4}"


def test_outputs_may_lie_beside_sources(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        'platform = "local"\nsources = ["deployment"]\nmanifest = "build/manifest.json"\n'
        'lock = "deployment/contrast.lock"\n',
    )

    assert (settings.manifest, settings.lock) == (
        "build/manifest.json",
        "deployment/contrast.lock",
    )


@pytest.mark.parametrize("depth", [400, 50_000])
def test_values_nested_without_end_are_refused(tmp_path: Path, depth: int) -> None:
    value = f"sources = {'[' * depth}{']' * depth}"

    with pytest.raises(SettingsError):
        load(tmp_path, f"{value}\n")
    with pytest.raises(SettingsError):
        load(tmp_path, overrides=(value,))


def test_a_byte_order_mark_is_not_part_of_the_settings(tmp_path: Path) -> None:
    settings = load(tmp_path, '\ufeffplatform = "local"\nsources = ["deployment"]\n')

    assert settings.platform == "local"


def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "contrast.toml").write_bytes(b'platform = "local"\n# \xff\n')

    with pytest.raises(SettingsError, match="byte 0xff is not valid UTF-8") as caught:
        load(tmp_path, None)

    assert str(caught.value.where) == "contrast.toml:2"


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "contrast.toml").mkdir()

    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path, None)


def test_what_works_outside_of_a_project_needs_no_file(tmp_path: Path) -> None:
    found = load_settings(tmp_path, environ={"CONTRAST_MANIFEST": "m.json"}, is_project=False)

    assert (found.platform, found.sources, found.manifest) == ("", (), "m.json")


def test_a_file_that_is_there_must_be_complete_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "contrast.toml").write_text('sources = ["a"]\n')

    with pytest.raises(SettingsError, match="platform is not set"):
        load_settings(tmp_path, environ={}, is_project=False)


def test_a_missing_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="platform is not set") as caught:
        load(tmp_path, None)

    assert caught.value.hint == "'contrast-tasks init' writes contrast.toml"


def test_without_a_file_flags_are_enough(tmp_path: Path) -> None:
    settings = load(tmp_path, None, flags={"platform": "local", "sources": ("d",)})

    assert (settings.platform, settings.sources) == ("local", ("d",))
    assert settings.origins["platform"] == "flag"


def test_two_spellings_of_one_workload_are_refused_with_both_places(tmp_path: Path) -> None:
    text = BASE + WEB + '[workloads."default/Deployment/web"]\n'

    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)

    assert str(caught.value) == (
        "'default/Deployment/web' is the same workload as 'Deployment/web' at contrast.toml:3, "
        "expected one entry for it"
    )
    assert str(caught.value.where) == "contrast.toml:4"


def test_all_problems_are_told_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = BASE + 'x = 1\n[defaults]\nmemory = 3\n[workloads."Pod/a"]\nadmin_port = "x"\n'

    with pytest.raises(InvalidSettings) as caught:
        load(tmp_path, text, environ={"CONTRAST_PLATFORM": "moon"})

    places = [str(where) for where, _ in caught.value.problems]
    assert places == [
        "contrast.toml:3",
        "contrast.toml:5",
        "contrast.toml:7",
        "environment CONTRAST_PLATFORM",
    ]
    assert str(caught.value).count("\n") == 3


def test_each_problem_has_its_hint_below_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load(tmp_path, BASE + 'buid_dir = "b"\n[defaults]\nmemry = "3Gi"\n')

    first, hint, second = str(caught.value).splitlines()
    assert first.startswith("unknown key 'buid_dir'")
    assert hint == "  hint: did you mean 'build_dir'?"
    assert second.startswith("contrast.toml:5: unknown key 'memry'")
    assert caught.value.hint == "did you mean 'memory'?"


def test_the_error_survives_pickling(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load(tmp_path, BASE + "x = 1\n")

    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.where) == (str(caught.value), caught.value.where)


def test_settings_survive_pickling(tmp_path: Path) -> None:
    settings = load(tmp_path, BASE + WEB)

    assert pickle.loads(pickle.dumps(settings)) == settings


def test_mirrors_are_a_table_of_addresses(tmp_path: Path) -> None:
    text = BASE + '[endorsements.mirrors]\n"https://kdsintf.amd.com" = "https://a.example"\n'

    settings = load(tmp_path, text)

    assert settings.mirrors == {"https://kdsintf.amd.com": "https://a.example"}
    origin = settings.origins['endorsements.mirrors."https://kdsintf.amd.com"']
    assert origin == "contrast.toml:4"
    assert load(tmp_path, BASE).mirrors == {}


def test_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    text = BASE + '[defaults]\nmemory = "1Gi"\n'
    environ = {"CONTRAST_DEFAULTS_MEMORY": "2Gi"}
    override = 'defaults.memory = "3Gi"'

    file = load(tmp_path, text)
    env = load(tmp_path, text, environ=environ)
    set_ = load(tmp_path, text, environ=environ, overrides=(override,))
    flag = load(
        tmp_path, text, environ=environ, overrides=(override,), flags={"defaults.memory": "4Gi"}
    )

    assert (file.memory, file.origins["defaults.memory"]) == ("1Gi", "contrast.toml:4")
    assert (env.memory, env.origins["defaults.memory"]) == (
        "2Gi",
        "environment CONTRAST_DEFAULTS_MEMORY",
    )
    assert (set_.memory, set_.origins["defaults.memory"]) == ("3Gi", "flag")
    assert (flag.memory, flag.origins["defaults.memory"]) == ("4Gi", "flag")
    assert file.origins["build_dir"] == "default"


def test_a_flag_that_was_not_given_changes_nothing(tmp_path: Path) -> None:
    settings = load(tmp_path, flags={"manifest": None})

    assert settings.manifest == "manifest.json"
    assert settings.origins["manifest"] == "default"


@pytest.mark.parametrize(
    ("name", "value", "attribute", "wanted"),
    [
        ("CONTRAST_PLATFORM", "aks-clh-snp", "platform", "aks-clh-snp"),
        ("CONTRAST_SOURCES", os.pathsep.join(["a", "b"]), "sources", ("a", "b")),
        ("CONTRAST_BUILD_DIR", "out", "build_dir", "out"),
        ("CONTRAST_DEFAULTS_RUNTIME_CLASS", "false", "runtime_class", False),
        ("CONTRAST_DEFAULTS_RUNTIME_CLASS", "1", "runtime_class", True),
        ("CONTRAST_IMAGES_LAYOUTS", "x", "image_layouts", ("x",)),
        ("CONTRAST_COORDINATOR_INCLUDE", "0", "include_coordinator", False),
        ("CONTRAST_OWNERS_WORKLOAD", "w.pem", "workload_owner_keys", ("w.pem",)),
        ("CONTRAST_REFERENCE_VALUES_FILE", "rv.json", "reference_values", "rv.json"),
        ("CONTRAST_MANIFEST", "true", "manifest", "true"),
        ("CONTRAST_MANIFEST", "", "manifest", "manifest.json"),
    ],
)
def test_variables_have_the_type_of_their_key(
    tmp_path: Path, name: str, value: str, attribute: str, wanted: object
) -> None:
    assert getattr(load(tmp_path, environ={name: value}), attribute) == wanted


def test_a_variable_of_the_wrong_type_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match='is "maybe", expected true or false') as caught:
        load(tmp_path, environ={"CONTRAST_DEFAULTS_RUNTIME_CLASS": "maybe"})

    assert str(caught.value.where) == "environment CONTRAST_DEFAULTS_RUNTIME_CLASS"


def test_variables_of_other_parts_are_left_alone(tmp_path: Path) -> None:
    environ = {"CONTRAST_EVIDENCE": "simulated:x", "CONTRAST_LOG_LEVEL": "debug", "PLATFORM": "x"}

    assert load(tmp_path, environ=environ) == load(tmp_path)


def test_an_override_adds_to_a_workload_and_keeps_its_place(tmp_path: Path) -> None:
    text = BASE + WEB + 'ingress = ""\nenv = { A = "1" }\n'
    overrides = (
        'workloads."default/Deployment/web".sans = ["127.77.0.6"]',
        'workloads."Deployment/web".env.B = "2"',
    )

    settings = load(tmp_path, text, overrides=overrides)

    web = settings.workloads["Deployment/web"]
    assert (web.ingress, web.sans, web.env) == ("", ("127.77.0.6",), {"A": "1", "B": "2"})
    assert str(web.where) == "contrast.toml:3"
    assert settings.origins['workloads."Deployment/web".sans'] == "flag"
    assert settings.origins['workloads."Deployment/web".env.A'] == "contrast.toml:5"


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("defaults.memory", "not valid TOML", "write it as in contrast.toml"),
        ("defaults.memory=700Mi", "not valid TOML", "write it as in contrast.toml"),
        ("defaults.memroy='1Gi'", "unknown key 'memroy'", "did you mean 'memory'?"),
        ("platform='moon'", 'platform is "moon"', ""),
    ],
)
def test_a_bad_override_is_refused_as_it_was_typed(
    tmp_path: Path, override: str, message: str, hint: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, overrides=(override,))

    assert message in str(caught.value)
    assert str(caught.value.where) == f"--set {override}"
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("name", ["metal-qemu-insecure", "Metal-QEMU-Insecure-GPU"])
def test_an_insecure_platform_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f'platform is "{name}", which is refused: ') as caught:
        load(tmp_path, f'sources = ["a"]\nplatform = "{name}"\n')

    assert "the reference product's own generate refuses them" in str(caught.value)
    assert str(caught.value.where) == "contrast.toml:2"


def test_a_bad_flag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match='platform is "moon"') as caught:
        load(tmp_path, flags={"platform": "moon"})

    assert str(caught.value.where) == "command line"


def test_the_digest_follows_values_and_not_where_they_stand(tmp_path: Path) -> None:
    one = load(tmp_path)
    moved = load(tmp_path, "# comment\n\n" + BASE + 'build_dir = "build"\n')
    by_flag = load(tmp_path, flags={"platform": "LOCAL"})
    other = load(tmp_path, BASE + '[defaults]\nmemory = "1Gi"\n')

    assert one.digests == moved.digests == by_flag.digests
    assert one.digests != other.digests


@pytest.mark.parametrize(
    "text",
    [
        WEB + 'ingress = ""\n',
        WEB + 'sans = ["a"]\n',
        WEB + 'env = { A = "1" }\n',
        "[owners]\ndisable_updates = true\n",
        "[reference_values]\nproducts = ['Milan']\n",
        "[coordinator]\ninclude = false\n",
    ],
)
def test_the_digest_covers_every_value(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, BASE + text).digests != load(tmp_path, BASE).digests


HEAVY = (
    "jsonschema",
    "yaml",
    "cryptography",
    "jinja2",
    "grpc",
    "urllib3",
    "doit",
    "OpenSSL",
)


def test_loading_settings_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from contrast_tasks.settings.load import load_settings;"
        "from contrast_tasks import errors, files, findings, resources;"
        "import contrast_tasks.manifest.codec, contrast_tasks.manifest.keys;"
        "import contrast_tasks.manifest.reference_values;"
        "load_settings(Path('.'), environ={}); print(' '.join(sorted(sys.modules)))"
    )

    run = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert loaded.isdisjoint(HEAVY)


def test_lines_are_known_for_every_way_to_write_a_key() -> None:
    text = (
        '# comment\na = 1\n"b c".d = """x\n\\"""y = 3\n"""\n[t]\n  e = [ 1, # [ not this\n'
        "   { f = '}' }, ]\n[t.\"u.v\"]\n'g'.h = 1979-05-27 07:32:00 # = x\n"
        "[[list]]\ni = '''\nj = 1'''\n[[ list ]]\nk = true\n[list.inner]\nl=\"\\u0041\"\n"
    )

    assert tomllib.loads(text)
    assert key_lines(text) == {
        ("a",): 2,
        ("b c",): 3,
        ("b c", "d"): 3,
        ("t",): 6,
        ("t", "e"): 7,
        ("t", "e", 0): 7,
        ("t", "e", 1): 8,
        ("t", "e", 1, "f"): 8,
        ("t", "u.v"): 9,
        ("t", "u.v", "g"): 10,
        ("t", "u.v", "g", "h"): 10,
        ("list",): 11,
        ("list", 0): 11,
        ("list", 0, "i"): 12,
        ("list", 1): 14,
        ("list", 1, "k"): 15,
        ("list", 1, "inner"): 16,
        ("list", 1, "inner", "l"): 17,
    }


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8)
KEYS = st.text(
    st.characters(codec="ascii", categories=("L", "N"), include_characters='-_."# ='),
    min_size=1,
    max_size=5,
)
NESTED = st.recursive(
    st.integers() | st.booleans() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'


def literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(literal, value)) + "\n]"
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{quoted(key)} = {literal(inner)}" for key, inner in value.items())
            + "}"
        )
    return str(value)


@pytest.mark.sweep
@given(st.dictionaries(KEYS, NESTED, max_size=4))
def test_the_line_walk_agrees_with_the_parser_about_the_keys(document: dict[str, Any]) -> None:
    text = "".join(f"{quoted(key)} = {literal(value)}\n" for key, value in document.items())

    lines = key_lines(text)

    assert tomllib.loads(text) == document
    assert {path[0] for path in lines} == set(document)


def place_of(content: bytes) -> Location | None:
    try:
        return layers.file_layer(content, "contrast.toml").place(("x",))
    except SettingsError as error:
        return error.where


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    place = place_of(text.encode("utf-8", "replace"))

    assert place is not None
    assert place.line is not None


OBSERVED = """\
# Observed by 'contrast-tasks probe' and confirmed.

[reference_values.snp.Milan]
minimum_tcb = { bootloader = 4, tee = 1, snp = 24, microcode = 219 }

[reference_values.tdx]
mr_seam = "5E5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e"
"""


def with_observed(root: Path, observed: str, own: str = "") -> Path:
    (root / "contrast.toml").write_text(f'platform = "local"\nsources = ["d"]\n{own}')
    (root / "observed.toml").write_text(observed)
    return root


def test_what_probe_observed_is_read_beside_the_file_which_wins(tmp_path: Path) -> None:
    own = "[reference_values.snp.Milan.minimum_tcb]\nsnp = 30\n"

    settings = load_settings(with_observed(tmp_path, OBSERVED, own), environ={})

    overrides = settings.reference_overrides
    levels = {"bootloader": 4, "tee": 1, "snp": 30, "microcode": 219}
    assert overrides.snp["Milan"]["minimum_tcb"] == levels
    assert overrides.tdx["mr_seam"] == "5e" * 48
    assert settings.origins["reference_values.tdx.mr_seam"] == "observed.toml:7"
    assert settings.origins["reference_values.snp.Milan.minimum_tcb.snp"] == "contrast.toml:4"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ('\nplatform = "local"\n', "observed.toml:2", "platform is not allowed here, expected"),
        ('[reference_values]\nfile = "a"\n', "observed.toml:2", "reference_values.file is not"),
        ('[reference_values]\nproducts = ["Milan"]\n', "observed.toml:2", ".products is not"),
        ("reference_values = 1\n", "observed.toml:1", "reference_values is not allowed here"),
        ("[reference_values.snp.Rome]\n", "observed.toml:1", "Rome"),
        ("[reference_values.tdx]\nmr_seam = 1\n", "observed.toml:2", "mr_seam"),
        ("[\n", "observed.toml:1", "not valid TOML"),
    ],
)
def test_observed_values_of_another_form_are_refused_with_their_place(
    tmp_path: Path, text: str, where: str, message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(with_observed(tmp_path, text), environ={})

    assert str(caught.value.where).startswith(where)
    assert message in str(caught.value)


def test_without_a_project_nothing_observed_is_read(tmp_path: Path) -> None:
    (tmp_path / "observed.toml").write_text("[\n")

    settings = load_settings(tmp_path, environ={}, flags={"platform": "local", "sources": ["d"]})

    assert settings.reference_overrides.snp == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('build_dir = "a\\u0000b"', "build_dir holds a NUL character"),
        ('manifest = "a\\u0000b"', "manifest holds a NUL character"),
        ('[owners]\nworkload = ["k.pem", "a\\u0000b"]', "owners.workload holds a NUL character"),
        ('[reference_values]\nfile = "a\\u0000"', "reference_values.file holds a NUL character"),
        ('[workloads."Pod/a".env]\nA = "a\\u0000b"', "env.A holds a NUL character"),
    ],
)
def test_no_value_holds_a_nul(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        load(tmp_path, f"{BASE}{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        '[endorsements]\nproxy = "http://user:secret/1@proxy.example"',
        '[endorsements.mirrors]\n"https://kdsintf.amd.com" = "https://user:secret@a.example"',
        '[endorsements.mirrors]\n"https://user:secret@a.example" = "https://a.example"',
    ],
)
def test_the_password_in_an_address_is_not_told(tmp_path: Path, line: str) -> None:
    with pytest.raises(InvalidSettings, match="names no user") as caught:
        load(tmp_path, f"{BASE}{line}\n")

    assert "secret" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused_wherever_they_come_from(tmp_path: Path) -> None:
    name = os.fsdecode(b"m\xff.json")

    with pytest.raises(InvalidSettings, match="manifest holds bytes that are not UTF-8"):
        load(tmp_path, environ={"CONTRAST_MANIFEST": name})
    with pytest.raises(InvalidSettings, match="manifest holds bytes that are not UTF-8"):
        load(tmp_path, flags={"manifest": name})
    with pytest.raises(InvalidSettings, match="sources holds bytes that are not UTF-8"):
        load(tmp_path, overrides=(f'sources = ["a", "{name}"]',))


def test_the_password_of_a_proxy_in_the_environment_is_not_told(tmp_path: Path) -> None:
    environ = {"CONTRAST_ENDORSEMENTS_PROXY": "http://user:secret@proxy.example"}

    with pytest.raises(InvalidSettings, match="names no user") as caught:
        load(tmp_path, environ=environ)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v1.14.0", "release v1.14.0 is not supported: its manifest could not be checked"),
        ("v1.18.0", "release v1.18.0 is not supported"),
        ("v1.21.0", "runtime.release is v1.21.0, which has no platform 'k3s-qemu-snp'"),
        ("newest", 'runtime.release is "newest", expected a release such as v1.21.0'),
    ],
)
@pytest.mark.parametrize(
    ("given", "place"),
    [
        pytest.param("file", "contrast.toml:4", id="file"),
        pytest.param("environ", "environment CONTRAST_RUNTIME_RELEASE", id="environment"),
        pytest.param("flags", "command line", id="flag"),
        pytest.param("overrides", "--set runtime.release='{name}'", id="set"),
    ],
)
def test_a_release_that_cannot_be_is_refused_wherever_it_is_named(
    tmp_path: Path, name: str, message: str, given: str, place: str
) -> None:
    text = 'platform = "k3s-qemu-snp"\nsources = ["a"]\n'
    form: dict[str, Any] = {
        "environ": {"environ": {"CONTRAST_RUNTIME_RELEASE": name}},
        "flags": {"flags": {"runtime.release": name}},
        "overrides": {"overrides": (f"runtime.release='{name}'",)},
        "file": {},
    }[given]
    if given == "file":
        text += f'[runtime]\nrelease = "{name}"\n'

    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text, **form)

    assert message in str(caught.value)
    assert str(caught.value.where) == place.format(name=name)
