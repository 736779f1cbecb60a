"""The group of P-384 against the library's."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.attestation.snp.p384 import (
    GENERATOR,
    ORDER,
    add,
    multiplied,
    negated,
    point_at,
)

SCALARS = [1, 2, 3, 4, 7, 2**383, (ORDER - 1) // 2, (ORDER + 1) // 2, ORDER - 2, ORDER - 1, 3**240]


def by_library(scalar: int) -> tuple[int, int]:
    numbers = ec.derive_private_key(scalar, ec.SECP384R1()).public_key().public_numbers()
    return numbers.x, numbers.y


@pytest.mark.parametrize("scalar", SCALARS)
def test_multiples_of_the_generator_are_the_librarys(scalar: int) -> None:
    assert multiplied(scalar) == by_library(scalar)


@pytest.mark.parametrize("scalar", [0, -1, ORDER, ORDER + 1])
def test_other_scalars_are_refused(scalar: int) -> None:
    with pytest.raises(ValueError, match="must be from 1 to below the order"):
        multiplied(scalar)


def test_the_sum_of_two_multiples_is_the_multiple_of_the_sum() -> None:
    assert add(by_library(5), by_library(12)) == by_library(17)


@pytest.mark.parametrize("other", [GENERATOR, negated(GENERATOR)])
def test_a_sum_that_it_cannot_form_is_refused(other: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not invertible"):
        add(GENERATOR, other)


def test_a_point_with_a_given_x_is_on_the_curve() -> None:
    x, y = point_at(2)

    assert x == 2
    assert ec.EllipticCurvePublicNumbers(x, y, ec.SECP384R1()).public_key()


def test_an_x_without_a_point_is_refused() -> None:
    # 1 - 3 + b is no square modulo the prime, as its Legendre symbol says.
    with pytest.raises(ArithmeticError, match="no point"):
        point_at(1)
