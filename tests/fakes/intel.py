"""A synthetic Intel: root, PCK chain, collateral and quotes that verify, each part replaceable by a lie."""

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
# Authentication data of the quoting enclave; real ones have 32 bytes.
AUTH = bytes(range(32))
Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes((tag, size)) + value
    width = (size.bit_length() + 7) // 8
    return bytes((tag, 0x80 | width)) + size.to_bytes(width, "big") + value


def oid(text: str) -> bytes:
    first, second, *rest = map(int, text.split("."))
    out = b""
    for number in (40 * first + second, *rest):
        piece = bytes((number & 0x7F,))
        while number := number >> 7:
            piece = bytes((number & 0x7F | 0x80,)) + piece
        out += piece
    return tlv(0x06, out)


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


SGX = "1.2.840.113741.1.13.1"


@dataclass(frozen=True, kw_only=True)
class PckValues:
    """What the SGX extension of a PCK certificate says."""

    components: tuple[int, ...] = (3, 3, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0)
    pce_svn: int = 13
    pce_id: bytes = b"\0\0"
    fmspc: bytes = bytes.fromhex("b0c06f000000")
    sgx_type: int = 2
    piid: bytes | None = bytes(range(16))
    flags: tuple[bool, bool, bool] | None = (True, True, True)

    def extension(self) -> bytes:
        def pair(arc: str, value: bytes) -> bytes:
            return tlv(0x30, oid(f"{SGX}.{arc}") + value)

        tcb = b"".join(pair(f"2.{n}", integer(svn)) for n, svn in enumerate(self.components, 1))
        tcb += pair("2.17", integer(self.pce_svn)) + pair("2.18", tlv(0x04, bytes(self.components)))
        members = pair("1", tlv(0x04, bytes(16))) + pair("2", tlv(0x30, tcb))
        members += pair("3", tlv(0x04, self.pce_id)) + pair("4", tlv(0x04, self.fmspc))
        members += pair("5", tlv(0x0A, bytes((self.sgx_type,))))
        if self.piid is not None:
            members += pair("6", tlv(0x04, self.piid))
        if self.flags is not None:
            flags = b"".join(
                pair(f"7.{n}", tlv(0x01, b"\xff" if flag else b"\0"))
                for n, flag in enumerate(self.flags, 1)
            )
            members += pair("7", tlv(0x30, flags))
        return tlv(0x30, members)


def certificate(
    subject: str,
    key: Key,
    issuer: str,
    issuer_key: Key,
    *,
    authority: bool,
    sgx: bytes | None = None,
    serial: int | None = None,
    since: datetime = NOW - timedelta(days=365),
    until: datetime = NOW + timedelta(days=365),
    extra_extensions: Sequence[str] = (),
    critical: bool = False,
    path_length: int | None = None,
    signs: bool = True,
    signs_lists: bool = True,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signs, content_commitment=not authority, key_encipherment=False,
                data_encipherment=False, key_agreement=False, key_cert_sign=authority and signs,
                crl_sign=authority and signs_lists, encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if sgx is not None:
        builder = (
            builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(SGX), sgx), critical=False
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.CRLDistributionPoints(
                    [
                        x509.DistributionPoint(
                            [x509.UniformResourceIdentifier("https://localhost/crl")],
                            None,
                            None,
                            None,
                        )
                    ]
                ),
                critical=False,
            )
        )
    for text in extra_extensions:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(text), b"\x05\x00"), critical=critical
        )
    return builder.sign(issuer_key, SHA256())


def crl(
    issuer: str,
    key: Key,
    revoked: Sequence[int] = (),
    *,
    since: datetime = NOW - timedelta(days=1),
    until: datetime = NOW + timedelta(days=29),
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name(issuer))
        .last_update(since)
        .next_update(until)
    )
    given = {type(value) for value, _ in extensions}
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    usual = [(one, False) for one in (x509.CRLNumber(1), authority) if type(one) not in given]
    for value, critical in (*usual, *extensions):
        builder = builder.add_extension(value, critical=critical)
    for serial in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since).build()
        )
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


ADDRESS = [x509.UniformResourceIdentifier("https://localhost/crl")]


def scope(**restrictions: Any) -> x509.IssuingDistributionPoint:
    """Return the scope of a revocation list; without restrictions, all certificates of its issuer."""
    values: dict[str, Any] = {
        "full_name": ADDRESS,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**values, **restrictions})


UNKNOWN_EXTENSION = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")

# Extensions (value, critical) of a revocation list that is incomplete: a certificate missing from it may still be revoked.
INCOMPLETE: dict[str, tuple[x509.ExtensionType, bool]] = {
    "changes since another list": (x509.DeltaCRLIndicator(1), True),
    "changes, not marked critical": (x509.DeltaCRLIndicator(1), False),
    "other issuers' certificates": (scope(indirect_crl=True), True),
    "some reasons only": (
        scope(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})),
        True,
    ),
    "attribute certificates only": (
        scope(full_name=None, only_contains_attribute_certs=True),
        True,
    ),
    "authorities only": (scope(only_contains_ca_certs=True), True),
    "unknown and critical": (UNKNOWN_EXTENSION, True),
}
COMPLETE: dict[str, tuple[x509.ExtensionType, bool]] = {
    "number": (x509.CRLNumber(1), False),
    "whole scope": (scope(), True),
    "unknown and not critical": (UNKNOWN_EXTENSION, False),
}


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def raw_signature(key: Key, content: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(content, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def raw_public(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class Body:
    """The TD report body of a guest on a host of this synthetic Intel."""

    tee_tcb_svn: bytes = bytes((6, 1, 3)) + bytes(13)
    mr_seam: bytes = b"\x5e" * 48
    mr_signer_seam: bytes = bytes(48)
    seam_attributes: bytes = bytes(8)
    td_attributes: bytes = bytes.fromhex("0000001000000000")
    xfam: bytes = bytes.fromhex("e702060000000000")
    mr_td: bytes = b"\x7d" * 48
    mr_config_id: bytes = b"\xc0" * 32 + bytes(16)
    mr_owner: bytes = bytes(48)
    mr_owner_config: bytes = bytes(48)
    rtmrs: tuple[bytes, ...] = (b"\x01" * 48, b"\x02" * 48, b"\x03" * 48, bytes(48))
    report_data: bytes = b"\xda" * 64

    def raw(self) -> bytes:
        return b"".join((
            self.tee_tcb_svn, self.mr_seam, self.mr_signer_seam, self.seam_attributes,
            self.td_attributes, self.xfam, self.mr_td, self.mr_config_id, self.mr_owner,
            self.mr_owner_config, *self.rtmrs, self.report_data,
        ))  # fmt: skip


def qe_report(
    bound: bytes,
    *,
    misc_select: int = 0,
    attributes: bytes = bytes.fromhex("11000000000000000000000000000000"),
    mr_signer: bytes = b"\xdc" * 32,
    prod_id: int = 2,
    svn: int = 6,
) -> bytes:
    return struct.pack(
        "<16sI28s16s32s32s32s96sHH60s64s",
        bytes(16), misc_select, b"", attributes, b"\x11" * 32, b"", mr_signer, b"", prod_id, svn, b"", bound,
    )  # fmt: skip


@dataclass(kw_only=True)
class Intel:
    """Keys and certificates of one synthetic vendor, made once per test session; each call can make one part wrong."""

    root_key: Key = field(default_factory=new_key)
    ca_key: Key = field(default_factory=new_key)
    signer_key: Key = field(default_factory=new_key)
    pck_key: Key = field(default_factory=new_key)
    attestation_key: Key = field(default_factory=new_key)
    ca_name: str = "Intel SGX PCK Platform CA"

    def __post_init__(self) -> None:
        root = "Intel SGX Root CA"
        self.root = certificate(root, self.root_key, root, self.root_key, authority=True)
        self.ca = certificate(self.ca_name, self.ca_key, root, self.root_key, authority=True)
        self.signer = certificate(
            "Intel SGX TCB Signing", self.signer_key, root, self.root_key, authority=False
        )
        self.pck = self.make_pck()

    @property
    def root_spki(self) -> bytes:
        return self.root_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

    def make_pck(self, values: PckValues | None = None, **changes: Any) -> x509.Certificate:
        arguments: dict[str, Any] = {
            "subject": "Intel SGX PCK Certificate",
            "key": self.pck_key,
            "issuer": self.ca_name,
            "issuer_key": self.ca_key,
            "authority": False,
            "sgx": (values or PckValues()).extension(),
        }
        return certificate(**{**arguments, **changes})

    def quote(
        self,
        body: Body | None = None,
        *,
        version: int = 4,
        body_type: int = 3,
        svn2: bytes | None = None,
        service_td: bytes = bytes(48),
        key_type: int = 2,
        tee_type: int = 0x81,
        vendor: bytes = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607"),
        chain: bytes | None = None,
        report: bytes | None = None,
        auth: bytes = AUTH,
        outer_type: int = 6,
        inner_type: int = 5,
        trailing: bytes = b"",
    ) -> bytes:
        header = struct.pack("<HHI", version, key_type, tee_type) + bytes(4) + vendor + bytes(20)
        content = (body or Body()).raw()
        if version == 5:
            if body_type == 3:
                content += (body or Body()).tee_tcb_svn if svn2 is None else svn2
                content += service_td
            header += struct.pack("<HI", body_type, len(content))
        signed = header + content
        public = raw_public(self.attestation_key)
        if report is None:
            report = qe_report(hashlib.sha256(public + auth).digest())
        if chain is None:
            chain = pem(self.pck, self.ca, self.root) + b"\0"
        inner = report + raw_signature(self.pck_key, report) + struct.pack("<H", len(auth)) + auth
        inner += struct.pack("<HI", inner_type, len(chain)) + chain
        data = raw_signature(self.attestation_key, signed) + public
        data += struct.pack("<HI", outer_type, len(inner)) + inner
        return signed + struct.pack("<I", len(data)) + data + trailing

    def tcb_info(self, **changes: Any) -> dict[str, Any]:
        values = PckValues()
        level = {
            "tcb": {
                "sgxtcbcomponents": [{"svn": svn} for svn in values.components],
                "pcesvn": values.pce_svn,
                "tdxtcbcomponents": [{"svn": svn} for svn in Body().tee_tcb_svn],
            },
            "tcbDate": "2026-01-01T00:00:00Z",
            "tcbStatus": "UpToDate",
        }
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        return {
            "id": "TDX",
            "version": 3,
            "issueDate": moment(NOW - timedelta(days=1)),
            "nextUpdate": moment(NOW + timedelta(days=29)),
            "fmspc": values.fmspc.hex().upper(),
            "pceId": "0000",
            "tcbType": 0,
            "tcbEvaluationDataNumber": 18,
            "tdxModule": module,
            "tdxModuleIdentities": [
                {
                    "id": "TDX_01",
                    **module,
                    "tcbLevels": [
                        {
                            "tcb": {"isvsvn": 6},
                            "tcbDate": "2026-01-01T00:00:00Z",
                            "tcbStatus": "UpToDate",
                        },
                        {
                            "tcb": {"isvsvn": 2},
                            "tcbDate": "2024-01-01T00:00:00Z",
                            "tcbStatus": "OutOfDate",
                        },
                    ],
                }
            ],
            "tcbLevels": [level],
            **changes,
        }

    def qe_identity(self, **changes: Any) -> dict[str, Any]:
        return {
            "id": "TD_QE",
            "version": 2,
            "issueDate": moment(NOW - timedelta(days=1)),
            "nextUpdate": moment(NOW + timedelta(days=29)),
            "tcbEvaluationDataNumber": 18,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11000000000000000000000000000000",
            "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": "DC" * 32,
            "isvprodid": 2,
            "tcbLevels": [
                {"tcb": {"isvsvn": 6}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "UpToDate"},
                {"tcb": {"isvsvn": 4}, "tcbDate": "2024-01-01T00:00:00Z", "tcbStatus": "OutOfDate"},
            ],
            **changes,
        }

    def collateral(
        self,
        *,
        tcb_info: dict[str, Any] | None = None,
        qe_identity: dict[str, Any] | None = None,
        signer_key: Key | None = None,
        **members: str,
    ) -> bytes:
        tcb = json.dumps(tcb_info or self.tcb_info(), separators=(",", ":"))
        qe = json.dumps(qe_identity or self.qe_identity(), separators=(",", ":"))
        key = signer_key or self.signer_key
        bundle = {
            "pck_crl_issuer_chain": pem(self.ca, self.root).decode(),
            "root_ca_crl": crl("Intel SGX Root CA", self.root_key).hex(),
            "pck_crl": crl(self.ca_name, self.ca_key).hex(),
            "tcb_info_issuer_chain": pem(self.signer, self.root).decode(),
            "tcb_info": tcb,
            "tcb_info_signature": raw_signature(key, tcb.encode()).hex(),
            "qe_identity_issuer_chain": pem(self.signer, self.root).decode(),
            "qe_identity": qe,
            "qe_identity_signature": raw_signature(key, qe.encode()).hex(),
        }
        return json.dumps({**bundle, **members}).encode()


def quoting_enclave(intel: Intel, **changes: Any) -> bytes:
    """Return a report of the quoting enclave that binds the attestation key, with other claims."""
    bound = hashlib.sha256(raw_public(intel.attestation_key) + AUTH).digest()
    return qe_report(bound, **changes)


def changed(body: Body, **values: Any) -> Body:
    return replace(body, **values)
