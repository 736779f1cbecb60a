"""A manifest that a caller wants in force with its policies, however they were sent, and whether they belong together and fit.

A packed one need not bring the policies that the history has. Source: docs/internals/coordinator.md 2.4, 8.6.
"""

from typing import TYPE_CHECKING, NamedTuple

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.errors import REASON_ARGUMENT, REASON_HISTORY_FULL, REASON_POLICIES
from contrast_tasks.api.limits import (
    MAX_HISTORY_BYTES,
    MAX_PACKED_HISTORY_BYTES,
    MAX_PACKS,
    MAX_POLICIES,
    PACK_BYTES,
)
from contrast_tasks.api.packs import MAX_RAW_BYTES, BadPack, Pack, read_pack
from contrast_tasks.manifest.hashes import policy_hash_hex
from contrast_tasks.manifest.sizes import MAX_OBJECT_BYTES
from coordinator.documents import Documents
from coordinator.refusal import Refusal, invalid, listing

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from contrast_tasks.manifest.model import Manifest


class Sent(NamedTuple):
    """A request of any form. manifest: its bytes; previous: as sent, empty for none; signatures: all that it brings.

    sizes: bytes of each policy by its hash in hex. policies, packs: where they are.
    """

    manifest: bytes
    previous: bytes
    signatures: tuple[bytes, ...]
    sizes: dict[str, int]
    policies: tuple[bytes, ...] = ()
    packs: tuple[Pack, ...] = ()


def sent_plainly(request: pb.SetManifestRequest) -> Sent:
    """Return what a request of the reference product's form holds; raises Refusal if it is too large."""
    _check_count(len(request.Policies))
    _check_size("manifest", len(request.Manifest))
    for index, policy in enumerate(request.Policies):
        _check_size(f"policy {index}", len(policy))
    by_hash = {policy_hash_hex(policy): policy for policy in request.Policies}
    first = [request.Signature] if request.Signature or request.Approvals else []
    return Sent(
        manifest=request.Manifest,
        previous=request.PreviousTransitionHash,
        signatures=(*first, *request.Approvals),
        sizes={name: len(policy) for name, policy in by_hash.items()},
        policies=tuple(by_hash.values()),
    )


def sent_packed(request: ext.PackedManifest) -> Sent:
    """Return what a packed request holds; raises Refusal if it is too large, a pack malformed, or the manifest missing."""
    if len(request.Packs) > MAX_PACKS:
        raise invalid(
            REASON_ARGUMENT, f"found {len(request.Packs)} packs, wanted at most {MAX_PACKS}"
        )
    packs: list[Pack] = []
    sizes: dict[str, int] = {}
    for index, content in enumerate(request.Packs):
        packs.append(_read(index, content))
        sizes |= packs[-1].sizes
        # One more is the manifest.
        _check_count(len(sizes) - 1)
    name = request.Manifest.hex()
    manifest_bytes = sizes.pop(name, None)
    if manifest_bytes is None:
        raise invalid(REASON_ARGUMENT, f"no pack holds the manifest {name[:64]}")
    _check_size("manifest", manifest_bytes, MAX_RAW_BYTES)
    for policy, size in sizes.items():
        _check_size(f"policy {policy}", size)
    place = next(pack for pack in packs if name in pack.sizes)
    return Sent(
        manifest=dict(place.documents({name}))[name],
        previous=request.PreviousTransitionHash,
        signatures=tuple(request.Signatures),
        sizes=sizes,
        packs=tuple(packs),
    )


def check_policies(sent: Sent, manifest: "Manifest", documents: Documents) -> None:
    """Raise Refusal unless the policies are those that the manifest names; documents: of the manifest in force."""
    here: AbstractSet[str] = documents.policy_names if sent.packs else frozenset()
    if missing := sorted(manifest.policies.keys() - sent.sizes.keys() - here):
        raise invalid(REASON_POLICIES, f"no policy provided for hash {listing(missing)}")
    if unknown := sorted(sent.sizes.keys() - manifest.policies.keys()):
        raise invalid(
            REASON_POLICIES, f"policy provided that the manifest does not name: {listing(unknown)}"
        )


def check_history_size(sent: Sent, documents: Documents) -> None:
    """Refuse an update after which the history would be too large: for GetManifests, or if it is packed for our memory."""
    new = sum(size for name, size in sent.sizes.items() if name not in documents.policy_names)
    size, most = documents.size + len(sent.manifest) + new, MAX_HISTORY_BYTES
    what = "GetManifests returns"
    if sent.packs:
        more = sum(PACK_BYTES + len(pack.content) for pack in sent.packs)
        size, most = documents.packed_size + more, MAX_PACKED_HISTORY_BYTES
        what = "a coordinator keeps in packs"
    if documents.generations and size > most:
        raise Refusal(
            REASON_HISTORY_FULL, f"the history would have {size} bytes, {what} at most {most}"
        )


def _read(index: int, content: bytes) -> Pack:
    _check_size(f"pack {index}", len(content))
    try:
        return read_pack(content)
    except BadPack as err:
        raise invalid(REASON_ARGUMENT, f"pack {index}: {err}") from err


def _check_count(count: int) -> None:
    if count > MAX_POLICIES:
        raise invalid(REASON_ARGUMENT, f"found {count} policies, wanted at most {MAX_POLICIES}")


def _check_size(name: str, size: int, most: int = MAX_OBJECT_BYTES) -> None:
    if size > most:
        raise invalid(REASON_ARGUMENT, f"{name} has {size} bytes, wanted at most {most}")
