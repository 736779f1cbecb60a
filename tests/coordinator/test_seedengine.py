"""Known answers of docs/internals/coordinator.md 5.3; the 32-byte cases were published by the reference product."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator.seedengine import BadSeed, SeedEngine

SEED_1 = bytes.fromhex("ccebed634ddee7535cd593e1e200b19b780f3906d8782207fa09c59e87a07cb3")
SALT_1 = bytes.fromhex("8c1b1225c5f6cb7eef6dbd8f77a1e1e149de031d6e3718e660a8b04c8e2b0037")
SEED_2 = bytes.fromhex("1adb326866d5b1e04520d9475f6ff41d3370bec96bbb5045d8dd9d16b3c48274")
SALT_2 = bytes.fromhex("0d2f1e0360d8476f836b8aa3dde3b1c58a361469a6e4f10cf9ed500a651c1c2b")
SEED_OWN = bytes(range(64))
SALT_OWN = bytes(range(32))


def scalar_hex(key: ec.EllipticCurvePrivateKey) -> str:
    return f"{key.private_numbers().private_value:096x}"


@pytest.mark.parametrize(
    ("seed", "salt", "pod", "root", "transaction"),
    [
        pytest.param(
            SEED_1,
            SALT_1,
            "e8d42dc81aea4b0d0749b75004f3bb2ad35fd827e05727ac19c31e106ddc2a1f",
            "b17a061a04d93454c9530d247b336a9112a5209da0d0199929484cba350d25159f2ead15d2d1334d6c908dad63ce7ee4",
            "5a58b771eef6bd6d2967b933ef3474e71bea849fd2b900f431dafe843d267b0b08875a95f4e442c6863663090c7c8576",
            id="published-1",
        ),
        pytest.param(
            SEED_2,
            SALT_2,
            "8964f1750fa69bd4107ffb055f3e093cd93064590f6c3ad459b66c3bb19231fd",
            "3362d867cd3dfa7db3ca6fb3920aa4a5f198ac05bf2eb0190983c969a7e4f47d94c7bc061551800faaecbc321f541d20",
            "42ac864deb9da243469f13d6fae37576cfafbc9995bbd094b0e62873f4258099315ef7f2290f84e9163f44559f4a43a0",
            id="published-2",
        ),
        pytest.param(
            SEED_OWN,
            SALT_OWN,
            "2a038420b499a5824b7c95d45037675c57ac0877da198d8b3cdba07234d2c531"
            "6f1686094166d5b9b7f415a2585f6d961b0111cc681e286a094a08c867322042",
            "460088ec2308dfe55e5349b262984b0d15982c1453bc1dada1b3a30c1a8bc09ec001e8f000d5950c4260937ad2bc79fd",
            "c32e7b52e5cf83e31842415a7044adede35ca2c9b934e3877b2fcca14ac225396127ba7ac839a134206d6d2fceaa6f65",
            id="real-sizes",
        ),
    ],
)
def test_derivation_gives_the_known_answers(
    seed: bytes, salt: bytes, pod: str, root: str, transaction: str
) -> None:
    engine = SeedEngine(seed, salt)

    assert engine.pod_state_seed.hex() == pod
    assert scalar_hex(engine.root_ca_key) == root
    assert scalar_hex(engine.transaction_key) == transaction


@pytest.mark.parametrize(
    ("seed", "salt", "wanted"),
    [
        (SEED_1, SALT_1, "e0f4adb8326ed1bbf99b8291d7a90363113e2ac8ff9d030bcabe5e48b88bf0a6"),
        (SEED_2, SALT_2, "03c95af2f666f44239a92d2cda3a14c3ad9ad776ef06fd97a8873457b9cff7f4"),
    ],
)
def test_the_key_derivation_gives_the_published_history_seeds(
    seed: bytes, salt: bytes, wanted: str
) -> None:
    # Nothing uses them any more, the reference product's included.
    assert SeedEngine(seed, salt)._derive(seed, "HISTORY SECRET").hex() == wanted


@pytest.mark.parametrize(
    ("secret_id", "wanted"),
    [
        ("workload-1", "87668b2d30e7538b5643e42bcc0f1a7b532833f47fcd1293f779d9f2abf9e708"),
        ("emoji-pod ", "345f575cdd9fa8fbe61d35186266aaadd440a06db34beb52d85e3b678dc29e01"),
        ("   ", "4874199bd19baf510bc5a5c71918c5263be4fb870efcf1bdd73e17249e3cb385"),
        ("12345", "c5dfeb23e39da9807d6260e6825d8367b47052fcb6bb4c79624fc5936921a0d0"),
    ],
)
def test_workload_secrets_give_the_published_answers(secret_id: str, wanted: str) -> None:
    engine = SeedEngine(
        bytes.fromhex("9c7f285a46704602f8b6d9d4a89193579a979f144a9d8733fddd4f2bbcecd77f"),
        bytes.fromhex("6227b2cae740349beaff040af74aa1566ac330e9b54ce0e58f8d5ee47281745a"),
    )

    assert engine.workload_secret(secret_id).hex() == wanted


@pytest.mark.parametrize(
    ("secret_id", "wanted"),
    [
        (
            "web",
            "3c5bf7813b78f16c861d7f7170f3a494f95547b7594358d626a0d1d733b52d9028356bb9c95d8db134a5f3da43aa6902d8de4592adf7cc021c2ae811a2a39f47",
        ),
        ("0_web", "f0221c37eff511483897d220e11c2b8771d429e9255730d4a4628015567b8ef4"),
        ("1_web", "09cbd18596b0f5f219c35f9d024c71618e58579f7cf4a3597a6d2e2b52a62593"),
    ],
)
def test_secrets_of_a_64_byte_seed_give_our_vectors(secret_id: str, wanted: str) -> None:
    secret = SeedEngine(SEED_OWN, SALT_OWN).workload_secret(secret_id)

    assert len(secret) == 64
    assert secret.hex().startswith(wanted)


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        (0, "f0221c37eff511483897d220e11c2b8771d429e9255730d4a4628015567b8ef4"),
        (1, "09cbd18596b0f5f219c35f9d024c71618e58579f7cf4a3597a6d2e2b52a62593"),
    ],
)
def test_transit_keys_give_our_vectors(version: int, wanted: str) -> None:
    assert SeedEngine(SEED_OWN, SALT_OWN).transit_key("web", version).hex() == wanted


def test_an_empty_secret_id_is_refused() -> None:
    engine = SeedEngine(SEED_OWN, SALT_OWN)

    with pytest.raises(BadSeed, match="must not be empty"):
        engine.workload_secret("")
    with pytest.raises(BadSeed, match="must not be empty"):
        engine.transit_key("", 0)


@pytest.mark.parametrize("length", [0, 16, 31])
def test_a_short_seed_is_refused(length: int) -> None:
    with pytest.raises(BadSeed, match="seed must be at least 32 bytes"):
        SeedEngine(bytes(length), SALT_OWN)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_salt_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BadSeed, match="salt must be 32 bytes"):
        SeedEngine(SEED_OWN, bytes(length))


def test_the_engine_does_not_show_its_seed() -> None:
    engine = SeedEngine(SEED_OWN, SALT_OWN)

    assert SEED_OWN.hex() not in repr(engine)
    assert "\\x01\\x02" not in repr(engine)


def test_the_root_serial_is_positive_and_stable() -> None:
    serial = SeedEngine(SEED_OWN, SALT_OWN).root_ca_serial

    assert 0 < serial < 2**127
    assert serial == SeedEngine(SEED_OWN, SALT_OWN).root_ca_serial
    assert serial != SeedEngine(SEED_1, SALT_1).root_ca_serial
