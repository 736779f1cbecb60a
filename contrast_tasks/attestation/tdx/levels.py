"""The patch level of a quote.

Platform (processor components, PCE, TDX components), TDX module and quoting enclave each have a level; the quote's status is
the worst of the three. A quote that meets no level is rejected: its platform is older than everything that Intel still lists.

Source: docs/internals/attestation.md 3.5; the verification steps of the TDX DCAP quote verification library.
"""

from dataclasses import dataclass

from contrast_tasks.attestation.errors import TcbRejected
from contrast_tasks.attestation.tdx.quote import QeReport, TdReport
from contrast_tasks.attestation.tdx.tcb import (
    IsvLevel,
    ModuleIdentity,
    PlatformLevel,
    QeIdentity,
    TcbInfo,
    TcbStatus,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchLevel:
    """The status of each part and the advisories for it.

    lacking: one phrase for each component below the level that Intel lists as UpToDate.
    """

    platform: TcbStatus
    module: TcbStatus
    qe: TcbStatus
    advisories: tuple[str, ...]
    lacking: tuple[str, ...] = ()

    @property
    def status(self) -> TcbStatus:
        """Return the worst of the three."""
        return max(self.platform, self.module, self.qe)


def evaluate_tcb(
    *,
    body: TdReport,
    qe_report: QeReport,
    pck_components: tuple[int, ...],
    pck_pce_svn: int,
    tcb_info: TcbInfo,
    qe_identity: QeIdentity,
) -> PatchLevel:
    """Return the level of platform, module and quoting enclave.

    pck_components: the 16 SGX component SVNs of the PCK certificate; pck_pce_svn: its PCE SVN.
    A body of TDX 1.5 has the SVNs at the guest's launch and the current ones; both are judged, and the worse counts.
    Raises TcbRejected if no level matches, or if module or enclave are not Intel's.
    """
    qe = _qe_level(qe_report, qe_identity)
    svns = [svn for svn in (body.tee_tcb_svn, body.tee_tcb_svn2) if svn]
    platforms = [_platform_level(svn, pck_components, pck_pce_svn, tcb_info) for svn in svns]
    modules = [_module_level(svn, body, tcb_info) for svn in svns]
    levels: tuple[PlatformLevel | IsvLevel, ...] = (*platforms, *modules, qe)
    lacking: list[str] = []
    if any(level.status for level in levels):
        for svn in svns:
            lacking += _lacking_platform(svn, pck_components, pck_pce_svn, tcb_info)
            lacking += _lacking_module(svn, tcb_info)
        lacking += _lacking_svn(qe_report.isv_svn, qe_identity.levels, "quoting enclave")
    return PatchLevel(
        platform=max(level.status for level in platforms),
        module=max(level.status for level in modules),
        qe=qe.status,
        advisories=tuple(sorted({advisory for level in levels for advisory in level.advisories})),
        lacking=tuple(dict.fromkeys(lacking)),
    )


def _lacking_platform(
    svn: bytes, components: tuple[int, ...], pce_svn: int, tcb_info: TcbInfo
) -> list[str]:
    """Return a phrase for each component below the best level."""
    best = min(tcb_info.levels, key=lambda level: level.status)
    sgx = zip(components, best.sgx_components, best.sgx_names, strict=True)
    tdx = zip(svn, best.tdx_components, best.tdx_names, strict=True)
    lacking = [
        f"{kind} component {number}{f' ({name})' if name else ''} is {have}, wanted {want}"
        for kind, rows, ignored in (("SGX", sgx, 0), ("TDX", tdx, _first_compared(svn)))
        for number, (have, want, name) in enumerate(rows, start=1)
        if number > ignored and have < want
    ]
    if pce_svn < best.pce_svn:
        lacking.append(f"PCE SVN is {pce_svn}, wanted {best.pce_svn}")
    return lacking


def _lacking_module(svn: bytes, tcb_info: TcbInfo) -> list[str]:
    identity = _module_identity(svn, tcb_info)
    levels = identity.levels if identity else ()
    return _lacking_svn(svn[0], levels, f"TDX module {_module_name(svn)}")


def _lacking_svn(found: int, levels: tuple[IsvLevel, ...], what: str) -> list[str]:
    wanted = [level.isv_svn for level in levels if level.status is TcbStatus.UpToDate]
    if not wanted or found >= min(wanted):
        return []
    return [f"SVN of the {what} is {found}, wanted {min(wanted)}"]


def _require_masked(what: str, found: bytes, wanted: bytes, mask: bytes) -> None:
    if bytes(byte & bits for byte, bits in zip(found, mask, strict=True)) != wanted:
        raise TcbRejected(f"{what} is {found.hex()}, wanted {wanted.hex()} under mask {mask.hex()}")


def _require_equal(what: str, found: bytes | int, wanted: bytes | int) -> None:
    if found != wanted:
        texts = [value.hex() if isinstance(value, bytes) else value for value in (found, wanted)]
        raise TcbRejected(f"{what} is {texts[0]}, wanted {texts[1]}")


def _qe_level(report: QeReport, identity: QeIdentity) -> IsvLevel:
    _require_masked(
        "quoting enclave MISCSELECT",
        report.misc_select.to_bytes(4, "little"),
        identity.misc_select,
        identity.misc_select_mask,
    )
    _require_masked(
        "quoting enclave ATTRIBUTES",
        report.attributes,
        identity.attributes,
        identity.attributes_mask,
    )
    _require_equal("quoting enclave MRSIGNER", report.mr_signer, identity.mr_signer)
    _require_equal("quoting enclave ISVPRODID", report.isv_prod_id, identity.isv_prod_id)
    for level in identity.levels:
        if level.isv_svn <= report.isv_svn:
            return level
    raise TcbRejected(
        f"no TCB level matches the quoting enclave: ISVSVN is {report.isv_svn}, "
        f"lowest listed is {identity.levels[-1].isv_svn}",
        reason="no-matching-level",
    )


def _first_compared(svn: bytes) -> int:
    # A module with a major version has an identity of its own, so its two components are not compared with the platform's.
    return 2 if svn[1] > 0 else 0


def _platform_level(
    svn: bytes, components: tuple[int, ...], pce_svn: int, tcb_info: TcbInfo
) -> PlatformLevel:
    first = _first_compared(svn)
    for level in tcb_info.levels:
        if (
            all(have >= want for have, want in zip(components, level.sgx_components, strict=True))
            and pce_svn >= level.pce_svn
            and all(
                have >= want
                for have, want in zip(svn[first:], level.tdx_components[first:], strict=True)
            )
        ):
            return level
    lacking = "; ".join(_lacking_platform(svn, components, pce_svn, tcb_info))
    raise TcbRejected(
        f"no platform TCB level matches: SGX components {list(components)}, PCE SVN {pce_svn}, "
        f"TEE_TCB_SVN {svn.hex()}",
        hint=f"the platform is older than every level Intel lists; update its firmware and microcode: {lacking}",
        reason="no-matching-level",
    )


def _module_name(svn: bytes) -> str:
    return f"TDX_{svn[1]:02X}"


def _module_identity(svn: bytes, tcb_info: TcbInfo) -> ModuleIdentity | None:
    name = _module_name(svn)
    identities = tcb_info.module_identities
    return next((identity for identity in identities if identity.name.upper() == name), None)


def _module_level(svn: bytes, body: TdReport, tcb_info: TcbInfo) -> IsvLevel:
    if svn[1] == 0:
        _require_module(body, tcb_info.module)
        return IsvLevel(isv_svn=0, status=TcbStatus.UpToDate, advisories=())
    identity = _module_identity(svn, tcb_info)
    if identity is None:
        listed = ", ".join(known.name for known in tcb_info.module_identities) or "none"
        raise TcbRejected(
            f"TCB info does not list the TDX module identity {_module_name(svn)}, only {listed}"
        )
    _require_module(body, identity)
    for level in identity.levels:
        if level.isv_svn <= svn[0]:
            return level
    raise TcbRejected(
        f"no TCB level matches TDX module {identity.name}: SVN is {svn[0]}, "
        f"lowest listed is {identity.levels[-1].isv_svn}",
        hint="the TDX module is older than every level Intel lists: update it and reboot the host",
        reason="no-matching-level",
    )


def _require_module(body: TdReport, identity: ModuleIdentity) -> None:
    what = f"of module {identity.name}"
    _require_equal(f"MRSIGNERSEAM {what}", body.mr_signer_seam, identity.mr_signer)
    _require_masked(
        f"SEAMATTRIBUTES {what}",
        body.seam_attributes,
        identity.attributes,
        identity.attributes_mask,
    )
