import pytest

from coordinator.seedshares import BadOwnerKey, encrypt_seed
from tests.fakes.coordinator import Caller, new_owner

SEED = bytes(range(64))


def test_every_owner_can_decrypt_the_whole_seed(
    seedshare_owner: Caller, other_seedshare_owner: Caller
) -> None:
    keys = [seedshare_owner.pkcs1_hex, other_seedshare_owner.pkcs1_hex]

    first, second = encrypt_seed(SEED, keys)

    assert [first.public_key_hex, second.public_key_hex] == keys
    assert seedshare_owner.decrypt(first) == SEED
    assert other_seedshare_owner.decrypt(second) == SEED


def test_another_owner_cannot_decrypt_a_share(
    seedshare_owner: Caller, other_seedshare_owner: Caller
) -> None:
    (share,) = encrypt_seed(SEED, [seedshare_owner.pkcs1_hex])

    with pytest.raises(ValueError, match=r"\S"):
        other_seedshare_owner.decrypt(share)


def test_without_owners_there_are_no_shares() -> None:
    assert encrypt_seed(SEED, []) == ()


@pytest.mark.parametrize("key_hex", ["", "zz", "00", "3082"])
def test_a_key_that_is_not_pkcs1_is_refused_with_its_position(
    seedshare_owner: Caller, key_hex: str
) -> None:
    with pytest.raises(BadOwnerKey, match="seedshare owner key 1 is not"):
        encrypt_seed(SEED, [seedshare_owner.pkcs1_hex, key_hex])


def test_an_elliptic_curve_key_is_refused() -> None:
    with pytest.raises(BadOwnerKey, match="not an rsa key"):
        encrypt_seed(SEED, [new_owner().spki.hex()])
