"""AMD's processor lines: their models and pinned roots.

Source: docs/internals/attestation.md 2.5; the certificates are in roots/ (see its README).
"""

from functools import cache
from typing import TYPE_CHECKING

from contrast_tasks.attestation.pki.forms import pem_to_der
from contrast_tasks.attestation.snp.endorsement import TrustAnchor
from contrast_tasks.errors import UsageError

if TYPE_CHECKING:
    from contrast_tasks.attestation.snp.report import SnpReport

_ROOT_SHA256 = {
    "Milan": "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
    "Genoa": "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
    "Turin": "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
}
LINES = tuple(_ROOT_SHA256)
# Reports before version 3 do not name their line; Turin has newer reports only.
LINES_BEFORE_CPUID = ("Milan", "Genoa")
LINE_SIMULATED = "Simulated"
# No real processor has family 0xff, so reports of the simulated one can never pass for AMD's.
SIMULATED_FAMILY = 0xFF

# family, first and last model (inclusive), line
_MODELS = (
    (0x19, 0x00, 0x0F, "Milan"),
    (0x19, 0x10, 0x1F, "Genoa"),
    (0x19, 0xA0, 0xAF, "Genoa"),  # Bergamo and Siena
    (0x1A, 0x00, 0x11, "Turin"),
    (SIMULATED_FAMILY, 0x00, 0x00, LINE_SIMULATED),
)


def line_of_model(family: int, model: int) -> str:
    """Return the product line of a processor, "" if it is unknown."""
    for known_family, first, last, line in _MODELS:
        if family == known_family and first <= model <= last:
            return line
    return ""


def line_of_report(report: "SnpReport") -> str:
    """Return the product line that a report names, "" if it is unknown or the report is older than version 3."""
    return line_of_model(report.cpuid_family, report.cpuid_model) if report.has_cpuid else ""


@cache
def amd_anchor(line: str) -> TrustAnchor:
    """Return the anchor of `Milan`, `Genoa` or `Turin` with root and both intermediates; raises UsageError for others."""
    if line not in _ROOT_SHA256:
        raise UsageError(f"unknown processor line '{line}', wanted one of {', '.join(LINES)}")
    ask_der, ark_der = _pair(line, "ask")
    asvk_der, _ = _pair(line, "asvk")
    return TrustAnchor(
        line=line,
        root_sha256=bytes.fromhex(_ROOT_SHA256[line]),
        ark_der=ark_der,
        ask_der=ask_der,
        asvk_der=asvk_der,
    )


def _pair(line: str, kind: str) -> tuple[bytes, bytes]:
    # Imported here, for `generate` needs the simulated line only and should start fast.
    from importlib.resources import files

    name = f"amd_{line.lower()}_{kind}_ark.pem"
    content = (files("contrast_tasks.attestation") / "roots" / name).read_bytes()
    first, second = pem_to_der(content)
    return first, second
