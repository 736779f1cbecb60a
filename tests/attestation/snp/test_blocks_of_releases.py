"""Guests that are launched with the ID blocks of the releases' pods, judged by the releases' manifests.

The reports are made here; measurement and ID key are those in the annotations (docs/internals/releases.md 3, 10).
"""

import base64
import hashlib
from typing import Any

import pytest

from contrast_tasks.attestation.errors import ClaimsRejected
from contrast_tasks.attestation.snp.verify import SnpValidator
from contrast_tasks.attestation.trust_roots import TrustRoots
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.manifest.codec import parse_manifest
from contrast_tasks.trusted_guests import PlatformInfo, SnpTcb
from tests.attestation.snp.test_id_annotations import ALL, PREFIX, Pod
from tests.fakes.attestation import HOST_DATA, NOW, REPORT_DATA, FakeAmd
from tests.fakes.testdata import RELEASES

AMD = FakeAmd()


def launched(pod: Pod) -> bytes:
    """Return the document of a guest that was launched on Milan with the pod's block, as firmware fills its fields."""
    block = base64.b64decode(pod.written[f"{PREFIX}id_block_Milan"])
    auth = base64.b64decode(pod.written[f"{PREFIX}id_auth_Milan"])
    report: dict[str, Any] = {
        "measurement": block[:0x30],
        "family_id": block[0x30:0x40],
        "image_id": block[0x40:0x50],
        "guest_svn": int.from_bytes(block[0x54:0x58], "little"),
        "policy": int(pod.written[f"{PREFIX}guest_policy_Milan"]),
        "id_key_digest": hashlib.sha384(auth[0x240:0x644]).digest(),
    }
    return AMD.document(AMD.report(**report))


def validators(release: str, platform: str, **changes: Any) -> list[SnpValidator]:
    """Return the validators of the release's manifest for Milan; the made processor is an older one."""
    manifest = parse_manifest((RELEASES / release / f"{platform}.json").read_bytes())
    old = {
        "minimum_tcb": SnpTcb(bootloader=3, tee=0, snp=8, microcode=115),
        "platform_info": PlatformInfo(),
    }
    milan = [
        entry.replace(**{**old, **changes})
        for entry in manifest.reference_values.snp
        if entry.product_name == "Milan"
    ]
    entry = next(iter(manifest.policies.values()))
    manifest = manifest.replace(
        policies={HOST_DATA.hex(): entry},
        reference_values=manifest.reference_values.replace(snp=tuple(milan)),
    )
    found = validators_for(manifest, roots=TrustRoots(amd={"Milan": AMD.anchor}))
    return [validator for validator in found if isinstance(validator, SnpValidator)]


def accepting(pod: Pod, found: list[SnpValidator]) -> list[str]:
    """Return the names of the validators that accept a pod's guest."""
    names = []
    for validator in found:
        try:
            validator.verify(launched(pod), REPORT_DATA, NOW)
        except ClaimsRejected as error:
            assert {check.reason for check in error.failed} <= {"measurement", "id-key-digest"}  # noqa: PT017
        else:
            names.append(validator.name)
    return names


@pytest.mark.parametrize("pod", ALL, ids=lambda pod: "-".join(pod[:3]))
def test_one_entry_accepts_a_guest_with_the_pods_block(pod: Pod) -> None:
    assert len(accepting(pod, validators(pod.release, pod.platform))) == 1


@pytest.mark.parametrize("pod", ALL, ids=lambda pod: "-".join(pod[:3]))
def test_no_entry_of_the_other_platform_does(pod: Pod) -> None:
    other = {"metal-qemu-snp": "metal-qemu-snp-gpu", "metal-qemu-snp-gpu": "metal-qemu-snp"}

    assert accepting(pod, validators(pod.release, other[pod.platform])) == []


# Source: docs/internals/releases.md 2.2, without the address a verifier compares exactly.
@pytest.mark.parametrize(
    "pod", [pod for pod in ALL if pod.release == "v1.21.0"], ids=lambda pod: "-".join(pod[:3])
)
def test_without_the_address_only_one_processor_is_accepted(pod: Pod) -> None:
    found = accepting(pod, validators(pod.release, pod.platform, apeip_hex=None))

    assert len(found) == (pod.name != "cpu")
