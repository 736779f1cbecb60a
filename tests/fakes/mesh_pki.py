"""A small mesh PKI with the form of the Coordinator's, and answers to NewMeshCert that lie on request."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from contrast_tasks.api.meshapi import MeshCert

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROOT = "system:coordinator:root"
INTERMEDIATE = "system:coordinator:intermediate"
SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def san(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


@dataclass
class Authority:
    """One Coordinator: root key, and the mesh CA of one manifest generation; life: how long its certificates last."""

    now: datetime = NOW
    life: timedelta = timedelta(days=365)
    root_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP384R1())
    )
    mesh_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP384R1())
    )

    def certificate(
        self,
        subject: str,
        key: ec.EllipticCurvePublicKey,
        issuer: str,
        issuer_key: ec.EllipticCurvePrivateKey,
        *,
        is_authority: bool = True,
        sans: Sequence[str] = (),
        begins: datetime | None = None,
        ends: datetime | None = None,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins or self.now - timedelta(hours=1))
            .not_valid_after(ends or self.now + self.life)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if is_authority:
            identifier = x509.SubjectKeyIdentifier.from_public_key(key)
            builder = builder.add_extension(identifier, critical=False)
            # Clients of Python 3.13 insist on it.
            builder = builder.add_extension(SIGNS_CERTIFICATES, critical=True)
        if issuer != subject:
            issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
            builder = builder.add_extension(issued_by, critical=False)
        if sans:
            names = x509.SubjectAlternativeName([san(text) for text in sans])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(issuer_key, hashes.SHA384())

    @property
    def root(self) -> x509.Certificate:
        return self.certificate(ROOT, self.root_key.public_key(), ROOT, self.root_key)

    @property
    def mesh_ca(self) -> x509.Certificate:
        return self.certificate(
            INTERMEDIATE, self.mesh_key.public_key(), INTERMEDIATE, self.mesh_key
        )

    @property
    def intermediate(self) -> x509.Certificate:
        return self.certificate(INTERMEDIATE, self.mesh_key.public_key(), ROOT, self.root_key)

    def leaf(
        self,
        key: ec.EllipticCurvePublicKey,
        *,
        sans: Sequence[str] = ("web", "*"),
        is_authority: bool = False,
        ends: datetime | None = None,
        begins: datetime | None = None,
    ) -> x509.Certificate:
        return self.certificate(
            sans[0],
            key,
            INTERMEDIATE,
            self.mesh_key,
            is_authority=is_authority,
            sans=sans,
            begins=begins,
            ends=ends,
        )

    def issue(
        self, key: ec.EllipticCurvePublicKey, *, sans: Sequence[str] = ("web", "*")
    ) -> MeshCert:
        return MeshCert(
            mesh_ca_pem=pem(self.mesh_ca),
            cert_chain_pem=pem(self.leaf(key, sans=sans), self.intermediate),
            root_ca_pem=pem(self.root),
            workload_secret=bytes(range(64)),
        )
