"""`measure` as a terminal shows it: values, the file that settings read, and what is still missing."""

import json
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.attestation.snp.vmsa import CPU_SIGNATURES, vcpus_by_digest
from contrast_tasks.attestation.tdx.boot_option import ui_app_boot_option
from contrast_tasks.attestation.tdx.measure import mrtd, rtmr0, rtmr1, rtmr2
from contrast_tasks.manifest.reference_values import defaults_for, parse_reference_values
from contrast_tasks.schema import validate
from tests.fakes.commands import Terminal
from tests.fakes.firmware import kernel, tdx_firmware
from tests.fakes.testdata import ATTESTATION
from tests.fakes.workloads import COMPONENTS

real_data = pytest.mark.skipif(
    not ATTESTATION.is_dir(), reason="test data of real hardware is not at hand"
)
MEASURED = ATTESTATION / "measure"
MACHINE = ("11" * 48, "22" * 48, "33" * 48)
COMMAND_LINE = "console=ttyS0 quiet"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "OVMF.fd").write_bytes(tdx_firmware())
    (tmp_path / "bzImage").write_bytes(kernel())
    (tmp_path / "initrd").write_bytes(b"ramdisk")
    return tmp_path


@pytest.fixture
def outside(terminal: Terminal) -> Terminal:
    """Return a terminal in a folder without settings."""
    (terminal.root / "contrast.toml").unlink()
    return terminal


def tdx_words(files: Path, *more: str) -> list[str]:
    return [
        "measure",
        "--platform",
        "k3s-qemu-tdx",
        "--firmware",
        str(files / "OVMF.fd"),
        *more,
    ]


def kernel_words(files: Path) -> list[str]:
    return [
        *("--kernel", str(files / "bzImage")),
        *("--initrd", str(files / "initrd")),
        *("--append", COMMAND_LINE),
    ]


def machine_words() -> list[str]:
    return [word for digest in MACHINE for word in ("--machine-digest", digest)]


def test_registers_of_a_td_are_calculated_from_its_files(outside: Terminal, files: Path) -> None:
    shown = outside.run(*tdx_words(files, *kernel_words(files), *machine_words()))

    (entry,) = json.loads(shown.out)["k3s-qemu-tdx"]["tdx"]
    digests = [bytes.fromhex(digest) for digest in MACHINE]
    assert shown.code == 0
    assert entry == {
        "MrTd": mrtd(tdx_firmware()).hex(),
        "Rtmrs": [
            rtmr0(tdx_firmware(), machine_digests=digests, boot_option=ui_app_boot_option()).hex(),
            rtmr1(kernel(), initrd_bytes=7).hex(),
            rtmr2(command_line=COMMAND_LINE, initrd=b"ramdisk").hex(),
            "00" * 48,
        ],
    }


def test_what_cannot_be_calculated_is_named_one_by_one_with_the_way_to_learn_it(
    outside: Terminal, files: Path
) -> None:
    shown = outside.run(*tdx_words(files))

    names = [line for line in shown.err.splitlines() if line.startswith("missing ")]
    assert shown.code == 0
    assert names == [
        "missing tdx[0].Rtrms[0]",
        "missing tdx[0].Rtrms[1]",
        "missing tdx[0].Rtrms[2]",
        "missing tdx[0].MrSeam",
    ]
    assert "hint: give what the firmware measures of the machine with --machine-digest" in shown.err
    assert "hint: give --kernel, --initrd and --append" in shown.err
    assert "sha384sum /boot/efi/EFI/TDX/TDX-SEAM.so" in shown.err
    assert "'contrast-tasks probe -c HOST:PORT'" in shown.err


def test_another_boot_option_and_an_older_firmware_make_another_register(
    outside: Terminal, files: Path
) -> None:
    words = tdx_words(files, *machine_words())
    runs = [
        outside.run(*words),
        outside.run(*words, "--boot-option", "00ff"),
        outside.run(*words, "--final-separator"),
        outside.run(*words, "--machine-digest", "44" * 48),
    ]

    registers = [json.loads(run.out)["k3s-qemu-tdx"]["tdx"][0]["Rtmrs"][0] for run in runs]
    assert len(set(registers)) == len(runs)


def test_a_host_that_measures_in_another_order_makes_another_mrtd(
    outside: Terminal, files: Path
) -> None:
    shown = outside.run(*tdx_words(files, "--pages-first"))

    (entry,) = json.loads(shown.out)["k3s-qemu-tdx"]["tdx"]
    assert entry["MrTd"] == mrtd(tdx_firmware(), pages_first=True).hex()
    assert entry["MrTd"] != mrtd(tdx_firmware()).hex()


def test_the_boot_option_is_the_one_in_event_logs() -> None:
    assert ui_app_boot_option().hex() == (
        "090100002c0055006900410070007000000004071400c9bdb87cebf8344faaea3ee4af6516a1"
        "0406140021aa2c4614760345836e8ab6f46623317fff0400"
    )


def test_the_file_is_one_that_settings_read_and_is_written_once(
    outside: Terminal, files: Path
) -> None:
    words = tdx_words(files, *kernel_words(files), "--out", "values.json")

    first, second = outside.run(*words), outside.run(*words)

    content = (outside.root / "values.json").read_bytes()
    provided = parse_reference_values(content, file="values.json", platform="k3s-qemu-tdx")
    (entry,) = defaults_for("k3s-qemu-tdx", provided=provided).tdx
    assert (first.code, first.out, second.code) == (0, "", 0)
    assert first.err.startswith("wrote values.json\n")
    assert second.err.startswith("up to date\n")
    assert validate(json.loads(content), "reference-values") == []
    assert entry.mr_td_hex == mrtd(tdx_firmware()).hex()
    assert entry.mr_seam_hex == ""


def test_values_of_other_platforms_in_the_file_are_kept(outside: Terminal, files: Path) -> None:
    own = {"aks-clh-snp": {"snp": [{"ProductName": "Milan"}]}}
    (outside.root / "values.json").write_text(json.dumps(own))

    outside.run(*tdx_words(files, "--out", "values.json"))

    document = json.loads((outside.root / "values.json").read_text())
    assert list(document) == ["aks-clh-snp", "k3s-qemu-tdx"]
    assert document["aks-clh-snp"] == own["aks-clh-snp"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "the existing file cannot be read: "),
        ('{"a": NaN}', "the existing file cannot be read: "),
        pytest.param("[" * 100_000, "the existing file cannot be read: ", id="deep"),
        ('{"tdx": [{"MrTd": ""}]}', "does not have one object for each platform"),
        ("[]", "does not have one object for each platform"),
        ('{"moon": {"tdx": [{"MrTd": ""}]}}', "'moon' is neither a platform nor a runtime handler"),
    ],
)
def test_a_file_of_another_form_is_left_as_it_is(
    outside: Terminal, files: Path, content: str, message: str
) -> None:
    (outside.root / "values.json").write_text(content)

    shown = outside.run(*tdx_words(files, "--out", "values.json"))

    assert shown.code == 2
    assert "values.json" in shown.err
    assert message in shown.err
    assert (outside.root / "values.json").read_text() == content


def test_the_report_has_values_and_gaps_as_json(outside: Terminal, files: Path) -> None:
    shown = outside.run(*tdx_words(files, "--output", "json"))

    result = json.loads(shown.out)["result"]
    assert (shown.code, shown.err) == (0, "")
    assert result["platform"] == "k3s-qemu-tdx"
    assert result["values"]["tdx"][0]["MrTd"] == mrtd(tdx_firmware()).hex()
    assert result["missing"][0]["name"] == "tdx[0].Rtrms[0]"
    assert all(entry["hint"] for entry in result["missing"])


def test_the_projects_platform_and_values_count(terminal: Terminal, files: Path) -> None:
    text = (
        'platform = "metal-qemu-tdx"\nsources = ["deployment"]\n'
        f'[reference_values.tdx]\nmr_seam = "{"5e" * 48}"\n'
        f'minimum_tee_tcb_svn = "{"06" * 16}"\n'
    )
    (terminal.root / "contrast.toml").write_text(text)

    shown = terminal.run("measure", "--firmware", str(files / "OVMF.fd"))

    assert list(json.loads(shown.out)) == ["metal-qemu-tdx"]
    assert "MrSeam" not in shown.err
    assert "missing tdx[0].Rtmrs[0]" in shown.err


OTHER = "--firmware OVMF.fd"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--platform k3s-qemu-tdx", "the following arguments are required: --firmware"),
        (OTHER, "no platform is set"),
        (f"--platform moon {OTHER}", "unknown platform 'moon'"),
        (f"--platform local {OTHER}", "platform local is simulated"),
        (f"--platform aks-clh-snp {OTHER}", "measured from an IGVM image"),
        (f"--platform k3s-qemu-tdx {OTHER} --initrd x", "measured with a kernel only"),
        (f"--platform k3s-qemu-snp {OTHER} --append x", "measured with a kernel only"),
        (f"--platform k3s-qemu-tdx {OTHER} --kernel bzImage", "RTMR1 and RTMR2 need kernel"),
        (f"--platform k3s-qemu-tdx {OTHER} --vcpus 2", "measured on SEV-SNP only"),
        (f"--platform k3s-qemu-snp {OTHER} --boot-option 00", "measured on TDX only"),
        (f"--platform k3s-qemu-snp {OTHER} --pages-first", "measured on TDX only"),
        (f"--platform k3s-qemu-snp {OTHER} --vcpus 221", "221 virtual processors, wanted 1 to 220"),
        (f"--platform k3s-qemu-snp {OTHER} --any-vcpus --vcpus 2", "the product's own processor"),
        (f"--platform k3s-qemu-snp {OTHER} --any-vcpus --cpu EPYC-v4", "without --vcpus, --cpu"),
        (f"--platform k3s-qemu-tdx {OTHER} --any-vcpus", "measured on SEV-SNP only"),
        (f"--platform k3s-qemu-snp {OTHER} --any-vcpus", "APEIP, which release v1.12.0 does not"),
        (
            f"--platform metal-qemu-snp {OTHER} --vcpus 4",
            "does not show in the manifest of release v1.21.0",
        ),
        (f"--platform metal-qemu-snp {OTHER} --vcpus 1 --vcpus 2", "use --any-vcpus"),
        (f"--platform k3s-qemu-snp {OTHER} --vcpus many", "invalid int value: 'many'"),
        (f"--platform k3s-qemu-snp {OTHER} --features many", "--features is 'many', wanted"),
        (f"--platform k3s-qemu-snp {OTHER} --cpu Rome", "unknown product 'Rome', wanted one of"),
        (f"--platform k3s-qemu-snp {OTHER} --firmware-digest 00", "has 1 bytes, wanted 48"),
        (f"--platform k3s-qemu-tdx {OTHER} --machine-digest zz", "machine digest is not hex: 'zz'"),
        (f"--platform k3s-qemu-tdx {OTHER} --boot-option zz", "boot option is not hex: 'zz'"),
        ("--platform k3s-qemu-tdx --firmware no.fd", "no.fd: error: cannot be read: no such file"),
        ("--platform k3s-qemu-snp --firmware no.fd", "no.fd: error: file does not exist"),
        ("--platform k3s-qemu-tdx --firmware bzImage", "bzImage: error: the firmware has no TDX"),
        (
            "--platform k3s-qemu-snp --firmware bzImage",
            "cannot be measured: it is not made of whole pages",
        ),
        (
            (f"--platform k3s-qemu-tdx {OTHER} --kernel initrd --initrd initrd --append x"),
            "initrd: error: the kernel is not a bzImage",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_with_what_was_wanted(
    outside: Terminal, files: Path, words: str, message: str
) -> None:
    for name in ("OVMF.fd", "bzImage", "initrd"):
        (outside.root / name).write_bytes((files / name).read_bytes())

    shown = outside.run("measure", *words.split())

    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err


def expected() -> Any:
    return json.loads((MEASURED / "expected.json").read_text())


@real_data
def test_launch_digests_are_the_published_ones_for_each_product_and_number_of_processors(
    terminal: Terminal,
) -> None:
    # The only release whose manifest names the number of processors.
    head = 'platform = "metal-qemu-snp"\nsources = ["deployment"]\nruntime.release = "v1.20.0"\n'
    (terminal.root / "contrast.toml").write_text(head)
    published = {
        (case["cpu"], case["vcpus"]): case["launch_digest"]
        for case in expected()["cases"]
        if case["kernel_and_initrd"] is None and case["guest_features"] == "0x1"
    }
    counts = sorted({vcpus for cpu, vcpus in published if cpu == "EPYC-v4"})

    shown = terminal.run(
        *("measure", "--cpu", "EPYC-v4"),
        *("--firmware", str(MEASURED / expected()["firmware"])),
        *("--firmware-digest", expected()["ovmf_only_digest"]),
        *(word for count in counts for word in ("--vcpus", str(count))),
    )

    entries = json.loads(shown.out)["metal-qemu-snp"]["snp"]
    assert shown.code == 0
    assert [(entry["ProductName"], entry["CPUs"]) for entry in entries] == [
        (product, count) for count in counts for product in ("Milan", "Genoa")
    ]
    assert {entry["TrustedMeasurement"] for entry in entries} == {
        published["EPYC-v4", count] for count in counts
    }


def test_more_processors_than_the_release_has_are_refused(terminal: Terminal) -> None:
    head = 'platform = "metal-qemu-snp"\nsources = ["deployment"]\nruntime.release = "v1.20.0"\n'
    (terminal.root / "contrast.toml").write_text(head)

    shown = terminal.run("measure", "--firmware", "OVMF.fd", "--vcpus", "1", "--vcpus", "9")

    assert shown.code == 2
    assert "--vcpus 9 is more than the guests of release v1.20.0 have, wanted 1 to 8" in shown.err


@real_data
def test_missing_tcb_values_of_each_product_are_named(outside: Terminal) -> None:
    shown = outside.run(
        *("measure", "--platform", "k3s-qemu-snp", "--vcpus", "1"),
        *("--firmware", str(MEASURED / expected()["firmware"])),
        *("--firmware-digest", expected()["ovmf_only_digest"]),
        *("--out", "values.json"),
    )

    names = [line for line in shown.err.splitlines() if line.startswith("missing ")]
    levels = ("BootloaderVersion", "TEEVersion", "SNPVersion", "MicrocodeVersion")
    assert shown.code == 0
    assert names == [
        f"missing snp[{index}].MinimumTCB.{level}" for index in (0, 1) for level in levels
    ]
    assert shown.err.count("snphost show tcb") == 8
    assert "reference_values.snp.Genoa.minimum_tcb" in shown.err


@real_data
def test_one_entry_can_stand_for_any_number_of_processors(outside: Terminal) -> None:
    firmware = MEASURED / expected()["firmware"]
    words = ["--firmware", str(firmware), "--firmware-digest", expected()["ovmf_only_digest"]]
    newest = ("measure", "--platform", "metal-qemu-snp", *words)
    # Its newest release has an entry for each number.
    older = ("measure", "--platform", "k3s-qemu-snp", *words)

    seeds = json.loads(outside.run(*newest, "--any-vcpus").out)["metal-qemu-snp"]["snp"]
    fours = json.loads(outside.run(*older, "--vcpus", "4").out)["k3s-qemu-snp"]["snp"]

    for seed, four in zip(seeds, fours, strict=True):
        signature = CPU_SIGNATURES[seed["ProductName"]]
        start = int(seed["APEIP"], 16)
        table = vcpus_by_digest(bytes.fromhex(seed["TrustedMeasurement"]), start, signature)
        assert table[bytes.fromhex(four["TrustedMeasurement"])] == 4
    assert validate({"snp": seeds}, "reference-values") == []


PROJECT = f"""\
platform = "{{platform}}"
sources = ["deployment"]
runtime.release = "v1.11.0"
runtime.class = "contrast-cc-{{platform}}-7173acb5"
components = {{{{ reference = true, {COMPONENTS} }}}}
defaults.memory = "700Mi"
"""


def test_reference_values_that_are_not_there_are_a_usage_error(terminal: Terminal) -> None:
    head = PROJECT.format(platform="metal-qemu-snp")
    (terminal.root / "contrast.toml").write_text(f'{head}reference_values.file = "no.json"\n')

    shown = terminal.run("generate")

    assert shown.code == 2
    assert "no.json: error: the reference values cannot be read: no such file" in shown.err


@real_data
def test_what_is_measured_is_what_generate_takes_and_what_is_missing_has_a_code_of_its_own(
    terminal: Terminal,
) -> None:
    head = PROJECT.format(platform="metal-qemu-snp")
    (terminal.root / "contrast.toml").write_text(head)
    words = (
        *("measure", "--firmware", str(MEASURED / expected()["firmware"])),
        *("--firmware-digest", expected()["ovmf_only_digest"], "--out", "values.json"),
    )

    measured = terminal.run(*words)
    (terminal.root / "contrast.toml").write_text(f'{head}reference_values.file = "values.json"\n')
    again = terminal.run(*words)
    generated = terminal.run("generate")

    manifest = json.loads((terminal.root / "manifest.json").read_text())
    entries = manifest["ReferenceValues"]["snp"]
    published = {
        case["cpu"]: case["launch_digest"]
        for case in expected()["cases"]
        if case["vcpus"] == 1
        and case["kernel_and_initrd"] is None
        and case["guest_features"] == "0x1"
    }
    assert (measured.code, again.code, generated.code) == (0, 0, 13)
    assert (
        'hint: generate takes it where contrast.toml says [reference_values] file = "values.json"'
        in measured.err
    )
    assert "generate takes it" not in again.err
    assert [(entry["ProductName"], entry["TrustedMeasurement"]) for entry in entries] == [
        ("Milan", published["EPYC-Milan"]),
        ("Genoa", published["EPYC-Genoa"]),
    ]
    for index in (0, 1):
        for level in ("BootloaderVersion", "TEEVersion", "SNPVersion", "MicrocodeVersion"):
            assert f"ReferenceValues.snp[{index}].MinimumTCB.{level}" in generated.err
            assert entries[index]["MinimumTCB"][level] is None


def test_what_is_measured_of_a_td_is_in_the_manifest_and_what_is_missing_is_named(
    terminal: Terminal, files: Path
) -> None:
    head = PROJECT.format(platform="k3s-qemu-tdx")
    (terminal.root / "contrast.toml").write_text(f'{head}reference_values.file = "values.json"\n')
    words = tdx_words(files, *kernel_words(files), *machine_words(), "--out", "values.json")

    measured = terminal.run(*words)
    generated = terminal.run("generate")

    (written,) = json.loads((terminal.root / "values.json").read_text())["k3s-qemu-tdx"]["tdx"]
    (entry,) = json.loads((terminal.root / "manifest.json").read_text())["ReferenceValues"]["tdx"]
    assert (measured.code, generated.code) == (0, 13)
    assert (entry["MrTd"], entry["Rtrms"]) == (written["MrTd"], written["Rtmrs"])
    assert "ReferenceValues.tdx[0].MrSeam" in generated.err


@real_data
def test_an_entry_for_any_number_of_processors_is_in_the_manifest(terminal: Terminal) -> None:
    head = PROJECT.format(platform="metal-qemu-snp").replace('se = "v1.11.0"', 'se = "v1.21.0"')
    (terminal.root / "contrast.toml").write_text(f'{head}reference_values.file = "values.json"\n')
    words = (
        *("measure", "--firmware", str(MEASURED / expected()["firmware"]), "--any-vcpus"),
        *("--firmware-digest", expected()["ovmf_only_digest"], "--out", "values.json"),
    )

    measured = terminal.run(*words)
    generated = terminal.run("generate")

    entries = json.loads((terminal.root / "manifest.json").read_text())["ReferenceValues"]["snp"]
    assert (measured.code, generated.code) == (0, 13)
    assert [(entry["ProductName"], entry["APEIP"]) for entry in entries] == [
        ("Milan", "0080b004"),
        ("Genoa", "0080b004"),
    ]
