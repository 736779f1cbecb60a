"""Workload owners as a manifest lists them: an ECDSA public key as SubjectPublicKeyInfo (DER, in hex), or its SHA-256.

Parsed here because manifests are validated without importing cryptography. Source: RFC 5480 2; SEC 2 2.4 to 2.6 (curves);
docs/internals/releases.md 2.3.
"""

import hashlib
from collections.abc import Mapping

from contrast_tasks.declare.shapes import HEX
from contrast_tasks.json_text import shown
from contrast_tasks.records import Record
from contrast_tasks.releases.table import ManifestForm

_WANTED = "expected an ECDSA public key as SubjectPublicKeyInfo in lower-case hex"


class _Curve(Record, kw_only=False):
    """y**2 = x**3 - 3 * x + b over the integers modulo p; head: DER up to the two coordinates of `size` bytes each."""

    head: bytes
    size: int
    p: int
    b: int


_CURVES = (
    _Curve(
        bytes.fromhex("304e301006072a8648ce3d020106052b81040021033a0004"),
        28,
        2**224 - 2**96 + 1,
        0xB4050A850C04B3ABF54132565044B0B7D7BFD8BA270B39432355FFB4,
    ),
    _Curve(
        bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"),
        32,
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    _Curve(
        bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"),
        48,
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    _Curve(
        bytes.fromhex("30819b301006072a8648ce3d020106052b810400230381860004"),
        66,
        2**521 - 1,
        0x0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    ),
)
"""P-224, P-256, P-384 and P-521, the curves that the reference product reads."""


def owner_digest_hex(key_hex: str) -> str:
    """Return the SHA-256 of a key from the manifest, 64 lower-case hex digits."""
    return hashlib.sha256(bytes.fromhex(key_hex)).hexdigest()


def owner_lists(
    keys: tuple[str, ...] | None, form: ManifestForm
) -> Mapping[str, tuple[str, ...] | None]:
    """Return the manifest's list of workload owners that a release reads, by its attribute.

    keys: SubjectPublicKeyInfo in hex; None: nobody may update.
    """
    if form.owners == "WorkloadOwnerPubKeys":
        return {"workload_owner_pub_keys": keys and tuple(sorted(set(keys)))}
    return {"workload_owner_key_digests": keys and tuple(sorted(set(map(owner_digest_hex, keys))))}


def is_workload_owner(value: object) -> bool:
    """Return whether a value is an ECDSA public key as SubjectPublicKeyInfo in lower-case hex."""
    return not workload_owner_problem(value)


def workload_owner_problem(value: object) -> str:
    """Return why a value is no workload owner's key, and what was expected; empty if it is one."""
    if not isinstance(value, str) or not HEX.issuperset(value) or len(value) % 2:
        return f"is {shown(value)}, {_WANTED}"
    if value != value.lower():
        return f"has upper-case hex digits, {_WANTED}"
    der = bytes.fromhex(value)
    for curve in _CURVES:
        if der.startswith(curve.head):
            return _point_problem(der.removeprefix(curve.head), curve)
    return f"is {shown(value)}, {_WANTED} on the curve P-224, P-256, P-384 or P-521"


def _point_problem(point: bytes, curve: _Curve) -> str:
    if len(point) != 2 * curve.size:
        return f"has coordinates of {len(point)} bytes, expected {2 * curve.size}"
    x, y = (int.from_bytes(half) for half in (point[: curve.size], point[curve.size :]))
    if max(x, y) >= curve.p or (y * y - (x * x * x - 3 * x + curve.b)) % curve.p:
        return "is no point of its curve, expected one"
    return ""
