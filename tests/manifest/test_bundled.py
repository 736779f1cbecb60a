import json

import pytest

from contrast_tasks import resources
from contrast_tasks.errors import SettingsError
from contrast_tasks.manifest.bundled import (
    FILE,
    bundled_content,
    bundled_minimum_tcb,
    bundled_names,
)
from contrast_tasks.manifest.reference_values import defaults_for, provided_by
from contrast_tasks.schema import validate
from contrast_tasks.trusted_guests import SnpTcb

HANDLER = "contrast-cc-metal-qemu-snp-7173acb5"


def nobody(name: str) -> bytes:
    raise AssertionError(name)


def test_every_bundled_entry_is_valid_by_the_schema_of_reference_value_files() -> None:
    assert validate(json.loads(resources.read_bytes(FILE)), "reference-values") == []
    for name in bundled_names():
        assert validate(json.loads(bundled_content(name)), "reference-values") == []


def test_the_source_of_every_entry_stands_beside_it() -> None:
    readme = resources.read_text("templates/reference-values/README.md")

    assert [name for name in bundled_names() if f"| `{name}` |" not in readme] == []


def test_a_runtime_named_by_its_handler_brings_measurement_and_tcb() -> None:
    provided = provided_by(f"bundled:{HANDLER}", "metal-qemu-snp", read=nobody)

    (entry,) = defaults_for("metal-qemu-snp", provided=provided).snp

    assert entry.trusted_measurement_hex.startswith("6cf7f93545210549c25e4efde6878dea")
    assert entry.minimum_tcb == SnpTcb(bootloader=3, tee=0, snp=8, microcode=115)
    assert entry.product_name == "Milan"


def test_a_release_is_nobodys_default() -> None:
    (milan, genoa) = defaults_for("metal-qemu-snp").snp

    assert milan.trusted_measurement_hex == genoa.trusted_measurement_hex == ""
    assert milan.minimum_tcb == genoa.minimum_tcb == SnpTcb()


def test_the_public_tcb_of_a_platform_is_its_default_and_a_file_wins_over_it() -> None:
    assert bundled_minimum_tcb("aks-clh-snp", "Milan")["MicrocodeVersion"] == 115
    assert bundled_minimum_tcb("aks-clh-snp", "Genoa") == {}
    assert bundled_minimum_tcb("local", "Milan") == {}
    content = b'{"snp": [{"ProductName": "Milan", "MinimumTCB": {"SNPVersion": 24}}]}'
    provided = provided_by("own.json", "aks-clh-snp", read=lambda name: content)

    (entry,) = defaults_for("aks-clh-snp", provided=provided).snp

    assert entry.minimum_tcb == SnpTcb(bootloader=3, tee=0, snp=24, microcode=115)


def test_an_unknown_runtime_is_refused_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match=f"'moon' are bundled, expected one of .*{HANDLER}"):
        provided_by("bundled:moon", "metal-qemu-snp", read=nobody)


def test_a_runtime_of_another_platform_is_refused() -> None:
    with pytest.raises(SettingsError, match="has no values for platform 'metal-qemu-tdx'"):
        provided_by(f"bundled:{HANDLER}", "metal-qemu-tdx", read=nobody)
