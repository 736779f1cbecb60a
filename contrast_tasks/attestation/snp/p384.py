"""The group of the curve P-384, as far as keys are recovered from signatures with it; values must not be secret.

The library that verifies signatures adds no two points, and loading it takes longer than the few operations here.
Source: FIPS 186-5 and NIST SP 800-186, curve P-384: y^2 = x^3 - 3 x + b over the integers modulo a prime.
"""

Point = tuple[int, int]
"""Affine coordinates (x, y). The neutral element has none; it is no result for hashed inputs."""

_PRIME = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFF
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
_A = -3
_B = 0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF
GENERATOR: Point = (
    0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
    0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
)


def point_at(x: int) -> Point:
    """Return one of the two points with this x; raises ArithmeticError if there is none."""
    square = (x**3 + _A * x + _B) % _PRIME
    # The prime is 3 modulo 4, so this power is a root of every square.
    y = pow(square, (_PRIME + 1) // 4, _PRIME)
    if y * y % _PRIME != square:
        raise ArithmeticError("no point of the curve has this x")
    return x, y


def negated(point: Point) -> Point:
    """Return the inverse of a point."""
    x, y = point
    return x, -y % _PRIME


def add(left: Point, right: Point) -> Point:
    """Return the sum of two points that are neither equal nor inverse to each other; raises ValueError if they are."""
    (x1, y1), (x2, y2) = left, right
    slope = (y2 - y1) * pow(x2 - x1, -1, _PRIME)
    x = (slope * slope - x1 - x2) % _PRIME
    return x, (slope * (x1 - x) - y1) % _PRIME


def multiplied(scalar: int, point: Point = GENERATOR) -> Point:
    """Return a point of the group times a scalar from 1 to below the order; 3 ms.

    Intermediate points are (X, Y, Z) with x = X / Z^2 and y = Y / Z^3, so that only the last step divides. An intermediate
    point never meets the point that is added to it: their multiples differ by more than one modulo the order.
    """
    if not 0 < scalar < ORDER:
        raise ValueError("the scalar must be from 1 to below the order")
    triple = (*point, 1)
    for bit in bin(scalar)[3:]:
        triple = _doubled(triple)
        if bit == "1":
            triple = _added(triple, point)
    inverse = pow(triple[2], -1, _PRIME)
    return triple[0] * inverse**2 % _PRIME, triple[1] * inverse**3 % _PRIME


def _doubled(triple: tuple[int, int, int]) -> tuple[int, int, int]:
    x, y, z = triple
    delta, gamma = z * z % _PRIME, y * y % _PRIME
    beta = x * gamma % _PRIME
    # a = -3, so 3 x^2 + a z^4 is this product.
    alpha = 3 * (x - delta) * (x + delta) % _PRIME
    new_x = (alpha * alpha - 8 * beta) % _PRIME
    new_z = ((y + z) ** 2 - gamma - delta) % _PRIME
    return new_x, (alpha * (4 * beta - new_x) - 8 * gamma * gamma) % _PRIME, new_z


def _added(triple: tuple[int, int, int], point: Point) -> tuple[int, int, int]:
    (x1, y1, z1), (x2, y2) = triple, point
    square = z1 * z1 % _PRIME
    across, up = (x2 * square - x1) % _PRIME, (y2 * square * z1 - y1) % _PRIME
    across2 = across * across % _PRIME
    across3 = across * across2 % _PRIME
    base = x1 * across2 % _PRIME
    new_x = (up * up - across3 - 2 * base) % _PRIME
    return new_x, (up * (base - new_x) - y1 * across3) % _PRIME, z1 * across % _PRIME
