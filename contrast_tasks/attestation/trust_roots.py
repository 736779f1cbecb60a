"""The vendors' root certificates: the ones in this package, or those of a folder.

A folder replaces all of them. It holds certificates in PEM or DER with these names: `ARK-<Line>` for roots, `SEV-<Line>` and
`SEV-VLEK-<Line>` for intermediates, and `Intel SGX Root CA`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from contrast_tasks.attestation.errors import EndorsementRejected, MalformedEvidence
from contrast_tasks.attestation.pki.certificate import parse_certificate
from contrast_tasks.attestation.pki.forms import load_certificate, pem_to_der
from contrast_tasks.attestation.snp.endorsement import TrustAnchor
from contrast_tasks.attestation.snp.lines import LINES, amd_anchor
from contrast_tasks.attestation.tdx.pck import ROOT_NAME, common_name, spki_der
from contrast_tasks.errors import UsageError

# SHA-256 of the DER form of Intel's SGX root certificate.
INTEL_ROOT_SHA256 = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRoots:
    """AMD's anchors by product line, and the key of Intel's root (DER SubjectPublicKeyInfo), empty if there is none."""

    amd: Mapping[str, TrustAnchor] = field(default_factory=dict)
    intel_spki: bytes = b""

    def anchor(self, line: str) -> TrustAnchor:
        """Return the anchor of a product line; raises EndorsementRejected if there is none."""
        if line not in self.amd:
            raise EndorsementRejected(
                f"the processor is of the line {line or 'unknown'}, wanted one of {', '.join(self.amd) or 'none'}",
                reason="product",
            )
        return self.amd[line]


@cache
def intel_root_spki() -> bytes:
    """Return the pinned key of Intel's SGX root."""
    der = (files("contrast_tasks.attestation") / "roots" / "intel_sgx_root_ca.der").read_bytes()
    if hashlib.sha256(der).hexdigest() != INTEL_ROOT_SHA256:
        raise UsageError("this installation's copy of the Intel root certificate was modified")
    return spki_der(load_certificate(der, "Intel's root"))


@cache
def bundled_roots() -> TrustRoots:
    """Return the roots in this package, each pinned by its hash."""
    return TrustRoots(amd={line: amd_anchor(line) for line in LINES}, intel_spki=intel_root_spki())


def roots_from(contents: Mapping[str, bytes]) -> TrustRoots:
    """Return the roots among certificate files.

    contents: file name to bytes, PEM (one or more) or DER. Raises UsageError naming a file that holds none.
    """
    parts: dict[str, dict[str, bytes]] = {}
    intel = b""
    for name, content in sorted(contents.items()):
        for der in _certificates(name, content):
            if spki := _intel_spki(der):
                intel = spki
                continue
            try:
                subject = parse_certificate(der).subject_cn
            except MalformedEvidence as err:
                raise UsageError(f"{name}: {err}") from err
            role, line = _role(subject)
            if role and parts.setdefault(line, {}).setdefault(role, der) != der:
                raise UsageError(f"{name} holds a second, different certificate named {subject}")
    amd = {
        line: TrustAnchor(
            line=line,
            root_sha256=hashlib.sha256(found["ark"]).digest(),
            ark_der=found["ark"],
            ask_der=found.get("ask", b""),
            asvk_der=found.get("asvk", b""),
        )
        for line, found in parts.items()
        if "ark" in found
    }
    return TrustRoots(amd=amd, intel_spki=intel)


def _certificates(name: str, content: bytes) -> list[bytes]:
    if content[:1] == b"\x30":
        return [content]
    try:
        found = pem_to_der(content)
    except MalformedEvidence as err:
        raise UsageError(f"{name}: {err}") from err
    if not found:
        raise UsageError(f"{name} holds no certificate in PEM or DER")
    return found


def _intel_spki(der: bytes) -> bytes:
    # AMD's certificates need our own parser, which accepts serial number 0.
    if ROOT_NAME.encode() not in der:
        return b""
    try:
        certificate = load_certificate(der, "a root certificate")
    except MalformedEvidence:
        return b""
    return spki_der(certificate) if common_name(certificate) == ROOT_NAME else b""


def _role(subject: str) -> tuple[str, str]:
    for prefix, role in (("ARK-", "ark"), ("SEV-VLEK-", "asvk"), ("SEV-", "ask")):
        if subject.startswith(prefix):
            return role, subject.removeprefix(prefix)
    return "", ""
