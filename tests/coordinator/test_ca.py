import ipaddress
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from coordinator.ca import (
    LEAF_LIFETIME,
    BadKey,
    BadName,
    CertificateAuthority,
    Extension,
    MeshCaEnded,
    general_names,
)
from coordinator.seedengine import SeedEngine

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
ENGINE = SeedEngine(bytes(range(64)), bytes(range(32)))
PEER = ec.generate_private_key(ec.SECP256R1())
SPKI = PEER.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Counting:
    """Deterministic serial numbers."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, length: int) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(length)


def make_ca(
    now: datetime = NOW, engine: SeedEngine = ENGINE, leaf_lifetime: timedelta = LEAF_LIFETIME
) -> CertificateAuthority:
    return CertificateAuthority(
        root_key=engine.root_ca_key,
        mesh_key=ec.generate_private_key(ec.SECP384R1()),
        root_serial=engine.root_ca_serial,
        root_issued_at=NOW,
        now=now,
        random_bytes=Counting(),
        leaf_lifetime=leaf_lifetime,
    )


def issue(
    ca: CertificateAuthority,
    *sans: str,
    extensions: tuple[Extension, ...] = (),
    now: datetime = NOW,
) -> bytes:
    return ca.issue(
        public_key_spki=SPKI,
        sans=sans,
        policy_hash=bytes.fromhex("ab" * 32),
        extensions=extensions,
        now=now,
    )


def load(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def common_name(name: x509.Name) -> str:
    value = name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert isinstance(value, str)
    return value


def oids(certificate: x509.Certificate) -> set[str]:
    return {extension.oid.dotted_string for extension in certificate.extensions}


SKI, KEY_USAGE, SAN, BASIC, AKI, EKU = (f"2.5.29.{n}" for n in (14, 15, 17, 19, 35, 37))


def test_names_are_those_of_the_table() -> None:
    ca = make_ca()
    leaf, intermediate = x509.load_pem_x509_certificates(issue(ca, "web", "*"))

    assert common_name(load(ca.root_ca_pem).subject) == "system:coordinator:root"
    assert common_name(load(ca.root_ca_pem).issuer) == "system:coordinator:root"
    assert common_name(intermediate.subject) == "system:coordinator:intermediate"
    assert common_name(intermediate.issuer) == "system:coordinator:root"
    assert common_name(load(ca.mesh_ca_pem).subject) == "system:coordinator:intermediate"
    assert common_name(load(ca.mesh_ca_pem).issuer) == "system:coordinator:intermediate"
    assert common_name(leaf.subject) == "web"
    assert common_name(leaf.issuer) == "system:coordinator:intermediate"


def test_extensions_are_those_of_the_table_and_no_others() -> None:
    ca = make_ca()
    leaf, intermediate = x509.load_pem_x509_certificates(issue(ca, "web"))

    assert oids(load(ca.root_ca_pem)) == {SKI, KEY_USAGE, BASIC}
    assert oids(load(ca.mesh_ca_pem)) == {SKI, KEY_USAGE, BASIC}
    assert oids(intermediate) == {SKI, KEY_USAGE, BASIC, AKI}
    assert oids(leaf) == {KEY_USAGE, BASIC, AKI, EKU, SAN}


def test_key_identifiers_link_as_in_the_table() -> None:
    ca = make_ca()
    leaf, intermediate = x509.load_pem_x509_certificates(issue(ca, "web"))
    root_ski = load(ca.root_ca_pem).extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    mesh_ski = load(ca.mesh_ca_pem).extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    inter_ski = intermediate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    inter_aki = intermediate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    leaf_aki = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)

    assert inter_ski.value == mesh_ski.value
    assert inter_aki.value.key_identifier == root_ski.value.digest
    assert leaf_aki.value.key_identifier == mesh_ski.value.digest


@pytest.mark.parametrize("which", ["root", "mesh", "intermediate"])
def test_ca_certificates_may_sign_and_live_ten_years(which: str) -> None:
    ca = make_ca()
    pem = {"root": ca.root_ca_pem, "mesh": ca.mesh_ca_pem, "intermediate": ca.intermediate_pem}
    certificate = load(pem[which])
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)

    assert basic.critical
    assert basic.value == x509.BasicConstraints(ca=True, path_length=None)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.key_cert_sign
    assert not usage.value.crl_sign
    assert certificate.not_valid_before_utc == NOW - timedelta(hours=1)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=3650)
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert certificate.signature_algorithm_oid.dotted_string == "1.2.840.10045.4.3.3"


def test_a_leaf_is_for_both_sides_of_tls_and_signs_nothing() -> None:
    leaf = load(issue(make_ca(), "web"))
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)

    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert usage.critical
    assert not usage.value.key_cert_sign
    assert list(extended.value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    ]
    assert leaf.not_valid_after_utc == NOW + timedelta(days=365)


def test_a_leaf_certifies_the_key_of_the_peer() -> None:
    assert load(issue(make_ca(), "web")).public_key() == PEER.public_key()


def test_the_chain_is_leaf_then_intermediate() -> None:
    ca = make_ca()
    chain = issue(ca, "web")

    assert len(x509.load_pem_x509_certificates(chain)) == 2
    assert chain.endswith(ca.intermediate_pem)


def test_names_are_split_into_dns_ip_and_uri() -> None:
    names = general_names(["web", "*", "203.0.113.34", "2001:db8::1", "spiffe://a/b", "urn:x:y"])

    assert names == [
        x509.DNSName("web"),
        x509.DNSName("*"),
        x509.IPAddress(ipaddress.ip_address("203.0.113.34")),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
        x509.UniformResourceIdentifier("spiffe://a/b"),
        x509.UniformResourceIdentifier("urn:x:y"),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "bücher.example", "two words", "tab\tname", "203.0.113.999", "web:8080", "2001:db8::g"],
)
def test_names_that_cannot_be_encoded_are_refused(text: str) -> None:
    with pytest.raises(BadName, match="subject alternative name"):
        general_names([text])


@pytest.mark.parametrize(
    ("sans", "wanted"),
    [
        pytest.param(("203.0.113.34", "web"), "web", id="first-dns-name"),
        pytest.param(("203.0.113.34",), "203.0.113.34", id="17.2 ip-only"),
        pytest.param((), "policy:abababababababab", id="17.2 none"),
        pytest.param(("w" * 40 + "." + "w" * 40,), "w" * 40 + "." + "w" * 23, id="cut-to-64"),
    ],
)
def test_the_common_name_never_stops_issuance(sans: tuple[str, ...], wanted: str) -> None:
    assert common_name(load(issue(make_ca(), *sans)).subject) == wanted


def test_a_leaf_without_names_has_no_san_extension() -> None:
    assert SAN not in oids(load(issue(make_ca())))


def test_extensions_are_copied_as_given_and_not_critical() -> None:
    extension = ("1.3.9901.3.1", b"\x04\x03web")

    leaf = load(issue(make_ca(), "web", extensions=(extension,)))

    found = leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.9901.3.1"))
    assert not found.critical
    assert found.value.public_bytes() == b"\x04\x03web"


@pytest.mark.parametrize("oid", ["1.3.9901.3.1", "2.5.29.17"])
def test_an_extension_that_is_given_twice_is_refused(oid: str) -> None:
    extension = (oid, b"\x04\x00")

    with pytest.raises(ValueError, match="given twice"):
        issue(make_ca(), "web", extensions=(extension, extension))


def test_serial_numbers_differ() -> None:
    ca = make_ca()
    serials = [load(ca.mesh_ca_pem).serial_number, load(ca.intermediate_pem).serial_number]
    serials += [load(issue(ca, "web")).serial_number for _ in range(3)]

    assert len(set(serials)) == 5


def test_fault_17_9_the_root_certificate_is_the_same_bytes_in_every_generation() -> None:
    first, second = make_ca(), make_ca(now=NOW + timedelta(days=30))

    assert first.root_ca_pem == second.root_ca_pem
    assert first.mesh_ca_pem != second.mesh_ca_pem


YEAR = timedelta(days=365)


def test_a_certificate_lasts_as_long_as_is_set() -> None:
    leaf = load(issue(make_ca(leaf_lifetime=timedelta(hours=24)), "web"))

    assert leaf.not_valid_after_utc == NOW + timedelta(hours=24)
    assert leaf.not_valid_before_utc == NOW - timedelta(hours=1)


@pytest.mark.parametrize("years", [0, 4, 6, 9, 11, 24])
def test_no_certificate_outlives_the_one_it_was_issued_by(years: int) -> None:
    late = NOW + years * YEAR
    ca = make_ca(now=late)
    leaf, intermediate = x509.load_pem_x509_certificates(issue(ca, "web", now=late))

    assert intermediate.not_valid_after_utc <= ca.root_ca_not_after
    assert leaf.not_valid_after_utc <= ca.mesh_ca_not_after <= ca.root_ca_not_after
    assert leaf.not_valid_after_utc == late + YEAR
    assert intermediate.not_valid_after_utc - late >= timedelta(days=1825)


def test_a_mesh_ca_near_its_end_issues_to_its_end_and_then_no_more() -> None:
    ca = make_ca()

    last = load(issue(ca, "web", now=NOW + 9.5 * YEAR))

    assert last.not_valid_after_utc == ca.mesh_ca_not_after == NOW + 10 * YEAR
    with pytest.raises(MeshCaEnded, match="the mesh CA ended on 2036-02-27"):
        issue(ca, "web", now=NOW + 10 * YEAR)


def test_the_root_is_issued_anew_for_its_key_every_five_years() -> None:
    first, within, after, later = (
        load(make_ca(now=NOW + years * YEAR).root_ca_pem) for years in (0, 4.9, 5, 9.9)
    )

    assert first == within
    assert after == later
    assert after.public_key() == first.public_key()
    assert after.subject == first.subject
    assert after.serial_number != first.serial_number
    assert after.not_valid_after_utc == NOW + 15 * YEAR


def test_a_clock_that_was_put_back_changes_no_root() -> None:
    assert make_ca(now=NOW - YEAR).root_ca_pem == make_ca().root_ca_pem


def test_another_seed_gives_another_root() -> None:
    other = SeedEngine(bytes(64), bytes(32))

    assert make_ca(engine=other).root_ca_pem != make_ca().root_ca_pem


def test_a_key_that_is_neither_ec_nor_rsa_is_not_certified() -> None:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    with pytest.raises(BadKey, match="only ec and rsa"):
        make_ca().issue(
            public_key_spki=spki, sans=("web",), policy_hash=bytes(32), extensions=(), now=NOW
        )


def openssl_verify(
    folder: Path, ca: bytes, leaf: bytes, untrusted: bytes = b"", purpose: str = "sslserver"
) -> str:
    at = str(int(NOW.timestamp()))
    (folder / "ca.pem").write_bytes(ca)
    (folder / "leaf.pem").write_bytes(leaf)
    command: list[str | Path] = ["openssl", "verify", "-x509_strict", "-attime", at]
    command += ["-CAfile", folder / "ca.pem"]
    if untrusted:
        (folder / "untrusted.pem").write_bytes(untrusted)
        command += ["-untrusted", folder / "untrusted.pem"]
    command += ["-purpose", purpose, folder / "leaf.pem"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "ok" if done.returncode == 0 else done.stderr


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_verifies_the_leaf_under_mesh_ca_and_root(tmp_path: Path, purpose: str) -> None:
    ca = make_ca()
    chain = issue(ca, "web")

    for authority, between in (
        (ca.mesh_ca_pem, b""),
        (ca.mesh_ca_pem, ca.intermediate_pem),
        (ca.root_ca_pem, ca.intermediate_pem),
    ):
        assert openssl_verify(tmp_path, authority, chain, between, purpose) == "ok"


def test_openssl_refuses_an_old_leaf_under_a_new_mesh_ca_but_not_under_the_root(
    tmp_path: Path,
) -> None:
    old, new = make_ca(), make_ca()
    chain = issue(old, "web")

    assert openssl_verify(tmp_path, new.mesh_ca_pem, chain) != "ok"
    assert openssl_verify(tmp_path, new.root_ca_pem, chain, old.intermediate_pem) == "ok"
    assert openssl_verify(tmp_path, new.root_ca_pem, chain) != "ok"


def test_the_tls_library_of_python_loads_both_authorities() -> None:
    ca = make_ca()
    context = ssl.create_default_context()

    context.load_verify_locations(cadata=(ca.mesh_ca_pem + ca.root_ca_pem).decode())

    assert context.cert_store_stats()["x509_ca"] >= 2
