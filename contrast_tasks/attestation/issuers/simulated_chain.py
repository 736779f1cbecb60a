"""The certificate chain of a simulated processor, in AMD's form. Source: docs/internals/attestation.md 2.5."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from contrast_tasks.attestation.pki import der
from contrast_tasks.attestation.snp.endorsement import LEVELS, OID_PREFIX
from contrast_tasks.attestation.snp.lines import LINE_SIMULATED
from contrast_tasks.attestation.snp.tcb import Tcb

# AMD's keys have 4096 bits. These take a tenth of a second to generate, and are discarded after signing the chain.
RSA_BITS = 2048
# A recent machine, above every realistic minimum.
SIMULATED_TCB = Tcb(bootloader=10, tee=1, snp=27, microcode=222)
_PSS = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)
_SKEW = timedelta(days=1)
_ROOT_VALIDITY = timedelta(days=25 * 365)
_CHIP_VALIDITY = timedelta(days=7 * 365)
_HWID_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The public part of a processor in DER: root, intermediate, endorsement certificate, revocation list."""

    ark_der: bytes
    ask_der: bytes
    vcek_der: bytes
    crl_der: bytes


def new_chain(now: datetime, tcb: Tcb) -> tuple[Chain, ec.EllipticCurvePrivateKey]:
    """Return a fresh chain for a chip with a random id, and its endorsement key; the other keys are discarded."""
    ark_key = rsa.generate_private_key(65537, RSA_BITS)
    ask_key = rsa.generate_private_key(65537, RSA_BITS)
    key = ec.generate_private_key(ec.SECP384R1())
    chain = make_chain(
        ark_key=ark_key,
        ask_key=ask_key,
        key=key,
        line=LINE_SIMULATED,
        extensions=vcek_extensions(LINE_SIMULATED, tcb, secrets.token_bytes(_HWID_BYTES)),
        now=now,
    )
    return chain, key


def vcek_extensions(product: str, tcb: Tcb, hwid: bytes) -> dict[str, bytes]:
    """Return the values of a VCEK's extensions by the last part of their OIDs."""
    return {
        "1": der.encode(der.INTEGER, b"\0"),
        "2": der.encode(der.IA5_STRING, product.encode()),
        **{
            f"3.{number}": der.encode_integer(
                getattr(tcb, LEVELS[number]) if number in LEVELS else 0
            )
            for number in range(1, 9)
        },
        "4": hwid,
    }


def make_chain(
    *,
    ark_key: rsa.RSAPrivateKey,
    ask_key: rsa.RSAPrivateKey,
    key: ec.EllipticCurvePrivateKey,
    line: str,
    extensions: dict[str, bytes],
    now: datetime,
) -> Chain:
    """Return a chain for the given keys; the revocation list is empty and valid as long as the root."""
    ark_name, ask_name = amd_name(f"ARK-{line}"), amd_name(f"SEV-{line}")
    start = now - _SKEW
    return Chain(
        ark_der=ca_certificate(
            ark_name, ark_key, ark_name, ark_key, serial=0x10000, not_before=start
        ),
        ask_der=ca_certificate(
            ask_name, ask_key, ark_name, ark_key, serial=0x10001, not_before=start
        ),
        vcek_der=vcek_certificate(
            key, ask_name, ask_key, extensions, not_before=start, not_after=start + _CHIP_VALIDITY
        ),
        crl_der=revocation_list(
            ark_name, ark_key, (), this_update=start, next_update=start + _ROOT_VALIDITY
        ),
    )


def amd_name(common_name: str) -> x509.Name:
    """Return a distinguished name in AMD's form."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Engineering"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Santa Clara"),
            x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "CA"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "contrast-tasks simulation"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def ca_certificate(
    subject: x509.Name,
    key: rsa.RSAPrivateKey,
    issuer: x509.Name,
    issuer_key: rsa.RSAPrivateKey,
    *,
    serial: int,
    not_before: datetime,
) -> bytes:
    """Return a CA certificate, DER."""
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_before + _ROOT_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(issuer_key, SHA384(), rsa_padding=_PSS)
    )
    return certificate.public_bytes(Encoding.DER)


def vcek_certificate(
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: rsa.RSAPrivateKey,
    extensions: dict[str, bytes],
    *,
    not_before: datetime,
    not_after: datetime,
    common_name: str = "SEV-VCEK",
) -> bytes:
    """Return an endorsement certificate with serial number 0, DER."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(amd_name(common_name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for suffix, value in extensions.items():
        oid = x509.ObjectIdentifier(OID_PREFIX + suffix)
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    certificate = builder.sign(issuer_key, SHA384(), rsa_padding=_PSS)
    return _with_serial_zero(certificate.public_bytes(Encoding.DER), issuer_key)


def revocation_list(
    issuer: x509.Name,
    issuer_key: rsa.RSAPrivateKey,
    serials: tuple[int, ...],
    *,
    this_update: datetime,
    next_update: datetime,
) -> bytes:
    """Return a certificate revocation list, DER."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer)
        .last_update(this_update)
        .next_update(next_update)
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(this_update)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer_key, SHA384(), rsa_padding=_PSS).public_bytes(Encoding.DER)


def _with_serial_zero(certificate: bytes, issuer_key: rsa.RSAPrivateKey) -> bytes:
    """Return the certificate with serial number 0, signed again: the library refuses to issue one."""
    tbs, algorithm, _ = der.elements(der.only(certificate, der.SEQUENCE).content)
    version, _, *rest = der.elements(tbs.content)
    serial = der.encode(der.INTEGER, b"\0")
    content = der.encode(
        der.SEQUENCE, version.encoded, serial, *(element.encoded for element in rest)
    )
    signature = issuer_key.sign(content, _PSS, SHA384())
    return der.encode(
        der.SEQUENCE, content, algorithm.encoded, der.encode(der.BIT_STRING, b"\0", signature)
    )
