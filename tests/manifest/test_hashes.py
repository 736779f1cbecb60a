import hashlib

import pytest

from contrast_tasks.manifest.hashes import (
    NO_TRANSITION,
    manifest_hash,
    policy_hash_hex,
    transition_digest,
)

INITDATA = (
    b'version = "0.1.0"\nalgorithm = "sha256"\n\n[data]\n'
    b"\"policy.rego\" = '''\npackage agent_policy\n'''\n"
)


@pytest.mark.parametrize(
    ("policy", "digest"),
    [
        pytest.param(
            b"test-policy",
            "48a7cea3db9b9bf087e58bdff6e7a4260a0227b90ba0fceb97060a3c76e004e1",
            id="policy",
        ),
        pytest.param(
            INITDATA,
            "de13bc5f55d5ac001d039625810afd56336b0a9b7ba5eb547d294368d639c533",
            id="initdata",
        ),
    ],
)
def test_the_policy_hash_vectors_of_the_specification_hold(policy: bytes, digest: str) -> None:
    assert policy_hash_hex(policy) == digest


def test_one_more_newline_makes_another_policy_hash() -> None:
    assert policy_hash_hex(b"test-policy\n") != policy_hash_hex(b"test-policy")


def test_the_transition_vector_of_the_specification_holds() -> None:
    digest = transition_digest(manifest_hash(b"hello"), hashlib.sha256(b"world").digest())

    assert digest.hex() == "7305db9b2abccd706c256db3d97e5ff48d677cfe4d3a5904afb7da0e3950e1e2"


def test_the_first_transition_follows_32_zero_bytes() -> None:
    first = manifest_hash(b"hello")

    assert transition_digest(first) == hashlib.sha256(first + bytes(32)).digest()
    assert bytes(32) == NO_TRANSITION


@pytest.mark.parametrize(
    ("hashed", "previous", "named"),
    [
        (b"", bytes(32), "manifest hash has 0 bytes"),
        (bytes(33), bytes(32), "manifest hash has 33 bytes"),
        (bytes(32), bytes(31), "previous transition has 31 bytes"),
    ],
)
def test_a_hash_of_another_length_is_refused(hashed: bytes, previous: bytes, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        transition_digest(hashed, previous)
