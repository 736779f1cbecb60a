"""Launch digests, against published ones and against sev-snp-measure."""

import json
from hashlib import sha384
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.attestation.snp.measure import (
    ap_start_address,
    cpu_signature,
    launch_digest,
)
from contrast_tasks.attestation.snp.vmsa import (
    CPU_SIGNATURES,
    MAXIMUM_VCPUS,
    digests_by_vcpus,
    extend_by_vmsa,
    vcpus_by_digest,
    vmsa_page,
)
from contrast_tasks.errors import UsageError
from tests.fakes.testdata import ATTESTATION

DATA = ATTESTATION / "measure"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="test data of real hardware is not at hand"
)


def cases() -> list[dict[str, Any]]:
    if not DATA.is_dir():
        return []
    return list(json.loads((DATA / "expected.json").read_text())["cases"])


def inputs_of(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    kernel = initrd = None
    if case["kernel_and_initrd"] is not None:
        kernel, initrd = folder / "kernel", folder / "initrd"
        kernel.write_bytes(b"")
        initrd.write_bytes(b"")
    expected = json.loads((DATA / "expected.json").read_text())
    return {
        "firmware": DATA / expected["firmware"],
        "firmware_digest_hex": expected["ovmf_only_digest"],
        "kernel": kernel,
        "initrd": initrd,
        "command_line": case["cmdline"],
        "features": int(case["guest_features"], 16),
    }


@pytest.mark.parametrize(
    "case",
    cases(),
    ids=lambda case: "-".join(
        str(case[key]) for key in ("vcpus", "cpu", "guest_features", "cmdline")
    ),
)
@pytest.mark.parametrize("name", ["cpu", "vcpu_sig"])
@pytest.mark.first(20)
def test_the_digest_is_the_published_one(case: dict[str, Any], tmp_path: Path, name: str) -> None:
    digest = launch_digest(**inputs_of(case, tmp_path), product=case[name], vcpus=case["vcpus"])

    assert digest.hex() == case["launch_digest"]


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("Milan", 0x00A00F11),
        ("EPYC-Milan", 0x00A00F11),
        ("EPYC-Milan-v2", 0x00A00F11),
        ("Genoa", 0x00A10F10),
        ("EPYC-Genoa", 0x00A10F10),
        ("EPYC-v4", 0x00800F12),
        ("EPYC-Rome", 0x00830F10),
        ("0xA10F10", 0x00A10F10),
    ],
)
def test_a_processor_is_named_as_qemu_does_or_by_its_signature(name: str, signature: int) -> None:
    assert cpu_signature(name) == signature


@pytest.mark.parametrize("name", ["", "epyc-milan", "10556177", "0x", "0x1ffffffff", "0xg", "-0x1"])
def test_another_processor_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(
        UsageError, match=r"wanted one of Milan, Genoa, EPYC-v4, EPYC, .*EPYC-Milan"
    ):
        cpu_signature(name)


@pytest.mark.parametrize("product", CPU_SIGNATURES)
def test_our_extension_by_processors_equals_the_librarys(product: str, tmp_path: Path) -> None:
    inputs = inputs_of(
        {"kernel_and_initrd": "empty files", "cmdline": None, "guest_features": "0x1"}, tmp_path
    )
    seed = launch_digest(**inputs, product=product, vcpus=1)

    ours = list(
        digests_by_vcpus(
            seed, ap_start_address(inputs["firmware"]), cpu_signature=CPU_SIGNATURES[product]
        )
    )

    assert len(ours) == MAXIMUM_VCPUS
    for vcpus in (1, 2, 3, 64, MAXIMUM_VCPUS):
        assert ours[vcpus - 1] == launch_digest(**inputs, product=product, vcpus=vcpus)


def test_other_features_make_another_page(tmp_path: Path) -> None:
    inputs = inputs_of(
        {"kernel_and_initrd": None, "cmdline": None, "guest_features": "0x21"}, tmp_path
    )
    seed = launch_digest(**inputs, product="Milan", vcpus=1)
    page = vmsa_page(
        ap_start_address(inputs["firmware"]), cpu_signature=CPU_SIGNATURES["Milan"], features=0x21
    )

    assert extend_by_vmsa(seed, sha384(page).digest()) == launch_digest(
        **inputs, product="Milan", vcpus=2
    )


def test_a_digest_names_its_number_of_processors() -> None:
    table = vcpus_by_digest(bytes(48), 0x80B004, CPU_SIGNATURES["Genoa"])

    assert len(table) == MAXIMUM_VCPUS
    assert table[bytes(48)] == 1
    assert bytes(47) + b"\1" not in table


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        launch_digest(Path("no-such-firmware.fd"), product="Milan")

    assert str(caught.value.where) == "no-such-firmware.fd"


def test_an_unknown_product_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Milan, Genoa"):
        launch_digest(DATA / "ovmf_amdsev_suffix.bin", product="Rome")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(4096), id="zeros"),
        pytest.param(b"\xff" * 65536, id="ones"),
    ],
)
def test_firmware_without_a_table_is_refused_with_its_name(content: bytes, tmp_path: Path) -> None:
    firmware = tmp_path / "firmware.fd"
    firmware.write_bytes(content)

    with pytest.raises(UsageError) as caught:
        launch_digest(firmware, product="Milan")

    assert caught.value.where is not None
    assert caught.value.where.file == str(firmware)
