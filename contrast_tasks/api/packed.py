"""Setting a manifest and reading the history in packs: calls of the extension, whose size grows with what is new only.

A Coordinator without them answers with CoordinatorFailed, whose `is_unknown` tells so. Source: docs/internals/coordinator.md 14.2.
"""

from collections.abc import Iterable, Mapping, Sequence

import grpc

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.calls import call_unary
from contrast_tasks.api.errors import CoordinatorFailed, RequestRefused
from contrast_tasks.api.extension import ManifestPlan, plan_of
from contrast_tasks.api.limits import MAX_PACKED_HISTORY_BYTES, MAX_PACKS
from contrast_tasks.api.packs import (
    BadPack,
    DocumentTooLarge,
    Pack,
    PackedDocuments,
    pack_documents,
    read_pack,
)
from contrast_tasks.api.userapi import (
    EXTENSION,
    ManifestHistory,
    SetManifestResult,
    latest_of,
    result_of,
)
from contrast_tasks.manifest.hashes import manifest_hash, named_policies
from contrast_tasks.manifest.sizes import MAX_REQUEST_BYTES

_FRAME_BYTES = 1024  # far more than everything but packs takes in a request


def set_manifest(
    channel: grpc.Channel,
    manifest: bytes,
    policies: Iterable[bytes],
    timeout_s: float,
    *,
    previous_transition_hash: bytes = b"",
    signatures: Sequence[bytes] = (),
) -> SetManifestResult:
    """Put `manifest` in force; arguments and errors as of `userapi.set_manifest`.

    policies: those that the manifest names and that the Coordinator's history does not have.
    """
    request = _packed(manifest, policies, signatures)
    request.PreviousTransitionHash = previous_transition_hash
    return result_of(
        call_unary(
            channel,
            (EXTENSION,),
            "SetPacked",
            request,
            pb.SetManifestResponse.FromString,
            timeout_s=timeout_s,
        )
    )


def plan_manifest(
    channel: grpc.Channel,
    manifest: bytes,
    policies: Iterable[bytes],
    timeout_s: float,
    *,
    signatures: Sequence[bytes] = (),
) -> ManifestPlan:
    """Return what setting this manifest would do, without doing it; arguments as of `set_manifest`."""
    return plan_of(
        call_unary(
            channel,
            (EXTENSION,),
            "PlanPacked",
            _packed(manifest, policies, signatures),
            ext.PlanManifestResponse.FromString,
            timeout_s=timeout_s,
        )
    )


def get_history(
    channel: grpc.Channel, known: Mapping[bytes, Pack], timeout_s: float
) -> tuple[ManifestHistory, Mapping[bytes, Pack]]:
    """Return the whole history, as `userapi.get_manifests` does, and the packs it is in, by digest.

    known: packs that need not be sent again. Raises what `userapi.get_manifests` raises.
    """
    packs = dict(known)
    received = 0
    while True:
        answer = call_unary(
            channel,
            (EXTENSION,),
            "GetPacked",
            ext.GetPackedRequest(Known=packs),
            ext.GetPackedResponse.FromString,
            timeout_s=timeout_s,
        )
        new = [_read(content) for content in answer.Packs]
        packs |= {pack.digest: pack for pack in new}
        missing = set(answer.Hashes) - packs.keys()
        if not missing:
            break
        received += sum(len(pack.content) for pack in new)
        # An update in between may change which packs there are, but not without end.
        if not new or received > 2 * MAX_PACKED_HISTORY_BYTES:
            raise CoordinatorFailed(f"the coordinator does not send {len(missing)} of its packs")
    used = {digest: packs[digest] for digest in answer.Hashes}
    return _history(answer, list(used.values())), used


def _history(answer: ext.GetPackedResponse, packs: Sequence[Pack]) -> ManifestHistory:
    names = [digest.hex() for digest in answer.Manifests]
    manifests = dict(PackedDocuments(packs, set(names)).items())
    # One that is malformed is found out elsewhere.
    named = {name for content in manifests.values() for name in named_policies(content) or ()}
    return ManifestHistory(
        manifests=tuple(manifests.get(name, b"") for name in names),
        lost_manifests={
            index: answer.Manifests[index]
            for index, name in enumerate(names)
            if name not in manifests
        },
        # A pack may hold more than what is asked for, if a set was interrupted.
        policies=PackedDocuments(packs, named),
        lost_policies=frozenset(name.hex() for name in answer.LostPolicies),
        lost_before=answer.LostBefore,
        root_ca_pem=answer.RootCA,
        mesh_ca_pem=answer.MeshCA,
        latest_transition=latest_of(answer),
    )


def _packed(
    manifest: bytes, policies: Iterable[bytes], signatures: Sequence[bytes]
) -> ext.PackedManifest:
    """Return a request. Raises RequestRefused if it would be too large."""
    try:
        # The manifest by itself, as it is stored.
        packs = [*pack_documents([manifest]), *pack_documents(policies)]
    except DocumentTooLarge as err:
        raise RequestRefused(f"the coordinator does not take {err}") from err
    size = sum(len(pack.content) for pack in packs)
    if size > MAX_REQUEST_BYTES - _FRAME_BYTES or len(packs) > MAX_PACKS:
        raise RequestRefused(
            f"the manifest and its policies have {size} bytes in {len(packs)} packs, "
            f"a coordinator takes at most {MAX_REQUEST_BYTES} in {MAX_PACKS}",
            hint="give a part of the workloads a coordinator of their own",
        )
    return ext.PackedManifest(
        Manifest=manifest_hash(manifest),
        Signatures=signatures,
        Packs=[pack.content for pack in packs],
    )


def _read(content: bytes) -> Pack:
    try:
        return read_pack(content)
    except BadPack as err:
        raise CoordinatorFailed(f"the coordinator sends a pack that is malformed: {err}") from err
