"""Folders of kept endorsements, filled as `endorsements fetch` would, and guests that are judged by them."""

import json
from dataclasses import dataclass
from datetime import datetime, tzinfo
from urllib.parse import quote

from contrast_tasks.attestation.endorsements import pcs
from contrast_tasks.attestation.endorsements.fetch import EndorsementCache
from contrast_tasks.attestation.tdx.document import render_document
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.evidence_documents import OID_TDX
from contrast_tasks.web.answers import Answer
from tests.fakes.intel import NOW, Body, Intel, PckValues, changed


@dataclass(frozen=True, kw_only=True)
class TdxMachine:
    """Issues quotes of the synthetic vendor's platform for a guest with the policy `host_data`."""

    intel: Intel
    host_data: bytes = b"\xc0" * 32
    oid: str = OID_TDX

    def issue(self, report_data: bytes) -> bytes:
        body = changed(Body(), report_data=report_data, mr_config_id=self.host_data + bytes(16))
        return render_document(parse_quote(self.intel.quote(body)))


class FixedTime(datetime):
    """A datetime whose present is the synthetic vendors'."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # never a FixedTime
        return NOW.astimezone(tz)


def keep_collateral(cache: EndorsementCache, intel: Intel) -> None:
    """Put all four parts of the collateral for the synthetic platform into a folder."""
    bundle = json.loads(intel.collateral())
    signed = (
        (pcs.tcb_info_url(PckValues().fmspc), "tcb_info", "tcbInfo", "tcb-info"),
        (pcs.QE_IDENTITY_URL, "qe_identity", "enclaveIdentity", "sgx-enclave-identity"),
    )
    for url, member, name, header in signed:
        body = f'{{"{name}":{bundle[member]},"signature":"{bundle[f"{member}_signature"]}"}}'
        chain = {f"{header}-issuer-chain": quote(bundle[f"{member}_issuer_chain"])}
        cache.put(url, Answer(status=200, headers=chain, body=body.encode()))
    chain = {"sgx-pck-crl-issuer-chain": quote(bundle["pck_crl_issuer_chain"])}
    crl = bytes.fromhex(bundle["pck_crl"])
    cache.put(pcs.pck_crl_url("platform"), Answer(status=200, headers=chain, body=crl))
    root_crl = bytes.fromhex(bundle["root_ca_crl"])
    cache.put(pcs.ROOT_CRL_URL, Answer(status=200, body=root_crl))
