import hashlib

import pytest

from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.platforms import (
    NAMES,
    PLATFORMS,
    SIMULATED_MEASUREMENT,
    Platform,
    platform,
    platform_of_handler,
)


def test_the_simulated_measurement_is_the_hash_it_is_said_to_be() -> None:
    wanted = hashlib.sha384(b"contrast-tasks simulated guest v1").hexdigest()

    assert wanted == SIMULATED_MEASUREMENT


@pytest.mark.parametrize("entry", PLATFORMS, ids=NAMES)
def test_a_platform_is_found_by_its_name_and_its_canonical_spelling(
    entry: Platform,
) -> None:
    assert platform(entry.name) is entry
    assert platform(entry.canonical) is entry


@pytest.mark.parametrize(
    ("name", "tee", "products", "in_guest"),
    [
        ("local", "simulated", (), False),
        ("aks-clh-snp", "snp", ("Milan",), False),
        ("k3s-qemu-snp", "snp", ("Milan", "Genoa"), True),
        ("k3s-qemu-tdx", "tdx", (), True),
        ("rke2-qemu-tdx", "tdx", (), True),
        ("metal-qemu-snp-gpu", "snp", ("Milan", "Genoa"), True),
        ("metal-qemu-tdx-gpu", "tdx", (), True),
    ],
)
def test_each_platform_has_the_properties_of_the_specification(
    name: str, tee: str, products: tuple[str, ...], in_guest: bool
) -> None:
    entry = platform(name)

    assert (entry.tee, entry.products, entry.pulls_in_guest) == (tee, products, in_guest)
    assert entry.gpu == name.endswith("-gpu")


def test_an_unknown_platform_is_refused_with_the_known_ones_and_a_guess() -> None:
    where = Location(file="contrast.toml", line=1)

    with pytest.raises(SettingsError) as caught:
        platform("k3s-qemu-sno", where=where)

    assert "unknown platform 'k3s-qemu-sno'" in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)
    assert caught.value.hint == "did you mean 'k3s-qemu-snp'?"
    assert caught.value.where == where


@pytest.mark.parametrize("name", ["", "unknown", "local ", "snp"])
def test_what_is_near_no_platform_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="unknown platform"):
        platform(name)


@pytest.mark.parametrize(
    ("handler", "name"),
    [
        ("contrast-cc-metal-qemu-snp-7173acb5", "metal-qemu-snp"),
        ("contrast-cc-metal-qemu-snp-gpu-7173acb5", "metal-qemu-snp-gpu"),
        ("contrast-cc-metal-qemu-tdx", "metal-qemu-tdx"),
        ("contrast-cc-aks-clh-snp-00000000", "aks-clh-snp"),
    ],
)
def test_a_runtime_handler_tells_its_platform(handler: str, name: str) -> None:
    assert platform_of_handler(handler).name == name


@pytest.mark.parametrize(
    "handler",
    [
        "metal-qemu-snp-7173acb5",
        "kata-cc-metal-qemu-snp",
        "contrast-cc",
        "contrast-cc-7173acb5",
        "contrast-cc-05cccd97d1eab6bf36497a6685753a04",
        "contrast-cc-qemu-snp-7173acb5",
        "contrast-cc-a-metal-qemu-snp-gpu-7173acb5",
        "contrast-cc-metal-qemu-snp-7173ACB5",
        "contrast-cc-metal-qemu-snp-7173acb",
        "contrast-cc-moon-qemu-snp-7173acb5",
    ],
)
def test_another_runtime_class_is_no_handler(handler: str) -> None:
    with pytest.raises(SettingsError):
        platform_of_handler(handler)


@pytest.mark.parametrize("name", ["metal-qemu-insecure", "metal-qemu-insecure-gpu"])
def test_an_insecure_platform_is_known_and_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="its pods run without a confidential guest") as caught:
        platform(name)

    assert "choose one of local, " in caught.value.hint
