import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from contrast_tasks.attestation.snp.id_block import (
    id_block,
    id_key_digest,
    recover_key,
)
from tests.fakes.testdata import ATTESTATION

CASES = ATTESTATION / "snp" / "idkey-digests.json"
MEASUREMENT = bytes.fromhex(
    "6cf7f93545210549c25e4efde6878deabfb5357da1a50b0fc9126e1218d182402a5ba2400d708a3d054ba96d663a2918"
)


@pytest.mark.skipif(not CASES.exists(), reason="attestation test data is not at hand")
def test_all_computed_digests_at_hand_are_reproduced() -> None:
    for case in json.loads(CASES.read_text())["cases"]:
        measurement, policy = bytes.fromhex(case["launch_digest"]), int(case["policy"], 16)

        assert id_block(measurement, policy).hex() == case["id_block"]
        assert id_key_digest(measurement, policy).hex() == case["id_key_digest"]


def test_the_constant_signature_verifies_under_the_recovered_key() -> None:
    block = id_block(MEASUREMENT, 0x30000)

    x, y = recover_key(block)

    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP384R1()).public_key()
    key.verify(encode_dss_signature(2, 1), block, ec.ECDSA(SHA384()))


# Of a block whose family and image id are zero. Source: docs/internals/releases.md 3, which gives launchers' ids.
@pytest.mark.parametrize(
    ("policy", "digest_hex"),
    [
        (0x30000, "f400376a820753156ffd473191e2ed1d494dba925e724f1516ad384f7043faf78b554b72fea319d3177774c858fe7730"),
        (0x3001F, "4533d299b1855716635af59f31ce9d011c7eaec3fe15d871ca0e5b5d97b66092a97fbd0265d32826ed1c13ee089fe822"),
    ],
)  # fmt: skip
def test_the_key_of_a_block_without_family_and_image_id_is_another(
    policy: int, digest_hex: str
) -> None:
    assert id_key_digest(MEASUREMENT, policy).hex() != digest_hex


def test_another_policy_or_measurement_has_another_digest() -> None:
    plain = id_key_digest(MEASUREMENT, 0x30000)

    assert plain != id_key_digest(MEASUREMENT, 0x3001F)
    assert plain != id_key_digest(hashlib.sha384(b"x").digest(), 0x30000)
