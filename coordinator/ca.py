"""The certificate authority of one manifest generation: root, intermediate, mesh CA, workload leaves.

    root CA ------- intermediate --+
    (root key)      (mesh key)     +-- workload leaf (the peer's attested key)
                    mesh CA -------+
                    (mesh key, self-signed)

Intermediate and mesh CA share name and key, so one leaf verifies under the mesh CA (this generation only) and,
through the intermediate, under the root CA (every generation). No certificate outlives the one it was issued by; so that this
never shortens a life, the root's is issued anew for its key every five years. Source: docs/internals/coordinator.md 7.
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contrast_tasks.api.ca_names import MESH_CA, ROOT_CA
from contrast_tasks.errors import ContrastError, UsageError
from contrast_tasks.lifetimes import DEFAULT, lifetime_hours
from contrast_tasks.sans import san_kind

_BACKDATE = timedelta(hours=1)
_CA_LIFETIME = timedelta(days=3650)
_ROOT_RENEWAL = _CA_LIFETIME / 2
LEAF_LIFETIME = timedelta(hours=lifetime_hours(DEFAULT))
_SERIAL_BYTES = 16
_MAX_COMMON_NAME = 64  # X.520 upper bound ub-common-name

RandomBytes = Callable[[int], bytes]
Extension = tuple[str, bytes]
"""The dotted object identifier of a certificate extension that is not critical, and the DER of its value."""


class BadKey(UsageError):
    """A public key is of an unsupported type."""


class BadName(UsageError):
    """A subject alternative name does not fit in a certificate."""


class MeshCaEnded(ContrastError):
    """The mesh CA is too old to issue anything."""


class CertificateAuthority:
    """Issues the certificates of one manifest generation.

    root_key, mesh_key: P-384. root_serial, root_issued_at: the same for every generation, so that the root certificate
    keeps its bytes after an update. now: time of issue of intermediate and mesh CA. random_bytes: for serial numbers.
    leaf_lifetime: from the issue of a workload's certificate to its end.
    """

    def __init__(
        self,
        *,
        root_key: ec.EllipticCurvePrivateKey,
        mesh_key: ec.EllipticCurvePrivateKey,
        root_serial: int,
        root_issued_at: datetime,
        now: datetime,
        random_bytes: RandomBytes,
        leaf_lifetime: timedelta = LEAF_LIFETIME,
    ) -> None:
        self._mesh_key = mesh_key
        self._random_bytes = random_bytes
        self._leaf_lifetime = leaf_lifetime
        # Counted from the first issue, so that Coordinators that start at other times have the same bytes.
        renewals = max(0, (now - root_issued_at) // _ROOT_RENEWAL)
        root_begins = root_issued_at + renewals * _ROOT_RENEWAL
        root_ends = root_begins + _CA_LIFETIME
        # A clock that was put back must not make a certificate older than its issuer.
        self._begins = max(now, root_begins)
        mesh_life = self._begins, min(self._begins + _CA_LIFETIME, root_ends)
        root = _sign_root(
            _ca_builder(
                ROOT_CA, ROOT_CA, root_key, root_serial + renewals, (root_begins, root_ends)
            ),
            root_key,
        )
        intermediate = (
            _ca_builder(ROOT_CA, MESH_CA, mesh_key, self._serial(), mesh_life)
            .add_extension(_authority_key(root_key), critical=False)
            .sign(root_key, hashes.SHA384())
        )
        self._leaf_extensions = (
            _extension(x509.BasicConstraints(ca=False, path_length=None), critical=True),
            _extension(_key_usage(can_sign_certificates=False), critical=True),
            _extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
                )
            ),
            _extension(_authority_key(mesh_key)),
        )
        self._mesh_ca = _ca_builder(MESH_CA, MESH_CA, mesh_key, self._serial(), mesh_life).sign(
            mesh_key, hashes.SHA384()
        )
        self.root_ca_pem = root.public_bytes(Encoding.PEM)
        self.intermediate_pem = intermediate.public_bytes(Encoding.PEM)
        self.mesh_ca_pem = self._mesh_ca.public_bytes(Encoding.PEM)
        self.root_ca_not_after = root.not_valid_after_utc
        self.mesh_ca_not_after = self._mesh_ca.not_valid_after_utc

    def issue(
        self,
        *,
        public_key_spki: bytes,
        sans: Sequence[str],
        policy_hash: bytes,
        extensions: Iterable[Extension],
        now: datetime,
    ) -> bytes:
        """Return leaf and intermediate (PEM) for a peer's key.

        public_key_spki: DER, an EC or RSA key. policy_hash: 32 bytes; the common name of a leaf without SANs.
        Raises BadName, BadKey for a key of another type, MeshCaEnded.
        """
        now = max(now, self._begins)
        ends = min(now + self._leaf_lifetime, self.mesh_ca_not_after)
        if ends <= now:
            raise MeshCaEnded(f"the mesh CA ended on {self.mesh_ca_not_after:%Y-%m-%d}")
        key = load_der_public_key(public_key_spki)
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise BadKey("only ec and rsa keys are certified")
        names = general_names(sans)
        carried = list(self._leaf_extensions)
        if names:
            carried.append(_extension(x509.SubjectAlternativeName(names)))
        carried += [_carried(oid, der) for oid, der in extensions]
        if len({extension.oid for extension in carried}) != len(carried):
            raise ValueError("an extension is given twice")
        builder = (
            # All at once: add_extension compares each with all before it, and there are fifty.
            x509.CertificateBuilder(extensions=carried)
            .subject_name(_name(_common_name(names, sans, policy_hash)))
            .issuer_name(_name(MESH_CA))
            .public_key(key)
            .serial_number(self._serial())
            .not_valid_before(now - _BACKDATE)
            .not_valid_after(ends)
        )
        leaf = builder.sign(self._mesh_key, hashes.SHA384())
        return leaf.public_bytes(Encoding.PEM) + self.intermediate_pem

    def mesh_key_pem(self) -> bytes:
        """Return the mesh CA's private key in PEM form (SEC1), for another Coordinator of the same manifest."""
        return self._mesh_key.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )

    def _serial(self) -> int:
        return int.from_bytes(self._random_bytes(_SERIAL_BYTES)) or 1


def general_names(sans: Sequence[str]) -> list[x509.GeneralName]:
    """Return the certificate form of each name: IP address, else URI when it has a scheme, else DNS name.

    Raises BadName naming the first that is none of these.
    """
    return [_general_name(text) for text in sans]


def _general_name(text: str) -> x509.GeneralName:
    match san_kind(text):
        case "ip":
            return x509.IPAddress(ipaddress.ip_address(text))
        case "uri":
            return x509.UniformResourceIdentifier(text)
        case "dns":
            return x509.DNSName(text)
    raise BadName(
        f"subject alternative name {text!r} is no ip address, url or dns name",
        hint="write international names in their xn-- form",
    )


def _common_name(names: Sequence[x509.GeneralName], sans: Sequence[str], policy_hash: bytes) -> str:
    # Verifiers look at SANs only; the common name is for people, so a long one must not stop issuance.
    dns = [name.value for name in names if isinstance(name, x509.DNSName)]
    text = next(iter([*dns, *sans]), f"policy:{policy_hash.hex()[:16]}")
    return text[:_MAX_COMMON_NAME]


def _ca_builder(
    issuer: str,
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    life: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    issued_at, ends = life
    return (
        x509.CertificateBuilder()
        .issuer_name(_name(issuer))
        .subject_name(_name(subject))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(issued_at - _BACKDATE)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(can_sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


@lru_cache(maxsize=1024)
def _carried(oid: str, der: bytes) -> x509.Extension[x509.ExtensionType]:
    """Return the extension of a claim: workloads have most of their fifty in common."""
    return _extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), der))


def _extension(
    value: x509.ExtensionType, *, critical: bool = False
) -> x509.Extension[x509.ExtensionType]:
    return x509.Extension(value.oid, critical, value)


def _sign_root(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    try:
        # RFC 6979, so that the same input gives the same bytes.
        return builder.sign(key, hashes.SHA384(), ecdsa_deterministic=True)
    except UnsupportedAlgorithm:
        return builder.sign(key, hashes.SHA384())


def _authority_key(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, can_sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=can_sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
