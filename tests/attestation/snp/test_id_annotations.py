"""ID blocks against those that the releases of the reference product wrote into pods (docs/internals/releases.md 3)."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from contrast_tasks.attestation.snp.id_annotations import id_annotations, launch_digest
from contrast_tasks.declare.documents import to_record
from contrast_tasks.platforms import NAMES
from contrast_tasks.releases.table import V1_16, V1_20, V1_21, IdBlocks, Release
from contrast_tasks.trusted_guests import GuestPolicy, SnpReference, SnpTcb
from tests.fakes.testdata import RELEASES

PREFIX = "io.katacontainers.config.hypervisor.snp_"
FORMS = {"v1.20.0": V1_20.id_blocks, "v1.21.0": V1_21.id_blocks}
PLATFORMS = ("metal-qemu-snp", "metal-qemu-snp-gpu")
OF_20 = IdBlocks(max_cpus=8, by_entry=True)
OF_21 = IdBlocks(max_cpus=220, by_entry=False)
ENTRY = SnpReference(
    product_name="Milan",
    trusted_measurement_hex="4bc8c824f0d53cbd0f1e1b68582ab967b5044f77481db26f6ea2e48a1893301372f332fca618be9f58e74c7aca89ea72",
    minimum_tcb=SnpTcb(),
    guest_policy=GuestPolicy(),
)


class Pod(NamedTuple):
    """A pod as a release wrote it. cpus: of `cpu`, whose limit is 1500m, 3; of the others 1 (docs/internals/releases.md 3)."""

    release: str
    platform: str
    name: str
    annotations: Mapping[str, str]

    @property
    def cpus(self) -> int:
        return 3 if self.name == "cpu" else 1

    @property
    def written(self) -> Mapping[str, str]:
        return {key: value for key, value in self.annotations.items() if key.startswith(PREFIX)}


def pods() -> Iterator[Pod]:
    for release in FORMS:
        for platform in PLATFORMS:
            for kind in ("app", "coordinator"):
                path = RELEASES / release / f"{platform}.{kind}.out.yml"
                for obj in yaml.safe_load_all(path.read_text()) if path.exists() else ():
                    template = obj["spec"].get("template", obj) if "spec" in obj else {}
                    if "runtimeClassName" in template.get("spec", {}):
                        found = template["metadata"]["annotations"]
                        yield Pod(release, platform, obj["metadata"]["name"], found)


def entries(release: str, platform: str) -> list[SnpReference]:
    document: Any = json.loads((RELEASES / release / f"{platform}.json").read_text())
    return [to_record(SnpReference, entry) for entry in document["ReferenceValues"]["snp"]]


ALL = list(pods())


@pytest.mark.skipif(not RELEASES.exists(), reason="the releases' files are not at hand")
def test_all_pods_at_hand_have_six_annotations() -> None:
    assert len(ALL) == 2 * 2 * 7
    assert {len(pod.written) for pod in ALL} == {6}


@pytest.mark.parametrize("pod", ALL, ids=lambda pod: "-".join(pod[:3]))
def test_the_annotations_are_those_that_the_release_wrote(pod: Pod) -> None:
    form = FORMS[pod.release]
    assert form is not None

    assert id_annotations(entries(pod.release, pod.platform), pod.cpus, form) == pod.written


@pytest.mark.parametrize("product", ["Milan", "Genoa"])
@pytest.mark.parametrize("pod", ALL, ids=lambda pod: "-".join(pod[:3]))
def test_the_signature_verifies_under_the_key_beside_it(pod: Pod, product: str) -> None:
    block = base64.b64decode(pod.written[f"{PREFIX}id_block_{product}"])
    auth = base64.b64decode(pod.written[f"{PREFIX}id_auth_{product}"])

    x, y = (int.from_bytes(auth[at : at + 72], "little") for at in (0x244, 0x28C))
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP384R1()).public_key()
    key.verify(encode_dss_signature(2, 1), block, ec.ECDSA(SHA384()))


@pytest.mark.parametrize("cpus", [0, 9, 221])
def test_a_number_that_the_release_does_not_have_gets_none(cpus: int) -> None:
    listed = [ENTRY.replace(cpus=number) for number in (1, 9, 221)]

    assert id_annotations(listed, cpus, OF_20) == {}


def test_with_an_address_every_number_to_220_has_a_digest() -> None:
    entry = ENTRY.replace(apeip_hex="0080b004")

    digests = [launch_digest(entry, cpus, OF_21) for cpus in range(222)]

    assert digests[0] is None
    assert digests[221] is None
    assert len(set(digests[1:221])) == 220
    assert None not in digests[1:221]


def test_without_an_address_the_measurement_holds_for_one_processor() -> None:
    measurement = bytes.fromhex(ENTRY.trusted_measurement_hex)

    assert launch_digest(ENTRY, 1, OF_21) == measurement
    assert launch_digest(ENTRY, 2, OF_21) is None


def test_an_entry_of_another_number_is_not_extended() -> None:
    entry = ENTRY.replace(cpus=3, apeip_hex="0080b004")

    assert launch_digest(entry, 3, OF_20) == bytes.fromhex(ENTRY.trusted_measurement_hex)
    assert launch_digest(entry, 1, OF_20) is None
    assert launch_digest(entry, 4, OF_20) is None


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"trusted_measurement_hex": ""}, id="no measurement"),
        pytest.param({"trusted_measurement_hex": "00" * 47}, id="short measurement"),
        pytest.param({"trusted_measurement_hex": "zz" * 48}, id="measurement is no hex"),
        pytest.param({"apeip_hex": ""}, id="empty address"),
        pytest.param({"apeip_hex": "80b004"}, id="short address"),
        pytest.param({"apeip_hex": "0080b00g"}, id="address is no hex"),
        pytest.param({"product_name": "Turin"}, id="unknown processor"),
    ],
)
def test_an_entry_that_is_incomplete_or_malformed_gives_no_block(changes: dict[str, str]) -> None:
    entry = ENTRY.replace(**{"apeip_hex": "0080b004", **changes})

    assert id_annotations([entry], 1, OF_21) == {}


def test_a_product_without_an_entry_that_holds_gets_none() -> None:
    genoa = ENTRY.replace(product_name="Genoa", cpus=2)

    found = id_annotations([ENTRY.replace(cpus=1), genoa], 1, OF_20)

    assert sorted(found) == [
        f"{PREFIX}guest_policy_Milan",
        f"{PREFIX}id_auth_Milan",
        f"{PREFIX}id_block_Milan",
    ]


def test_the_policy_of_the_entry_is_in_block_and_annotation() -> None:
    entry = ENTRY.replace(guest_policy=GuestPolicy(abi_minor=31))

    found = id_annotations([entry], 1, OF_21)

    assert found[f"{PREFIX}guest_policy_Milan"] == "196639"  # 0x3001f
    block = base64.b64decode(found[f"{PREFIX}id_block_Milan"])
    assert int.from_bytes(block[0x58:], "little") == 0x3001F


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        pytest.param(V1_16, set(), id="v1.16"),
        pytest.param(V1_20, {"metal-qemu-snp", "metal-qemu-snp-gpu"}, id="v1.20"),
        pytest.param(V1_21, {"metal-qemu-snp", "metal-qemu-snp-gpu"}, id="v1.21"),
    ],
)
def test_blocks_come_with_the_pods_of_these_platforms(release: Release, expected: set[str]) -> None:
    assert {name for name in NAMES if release.id_blocks_on(name)} == expected
