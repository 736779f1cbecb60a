"""What a Coordinator and its clients take at a time where there are no packs, as the reference product's have none.

Source: docs/internals/coordinator.md 2.4.
"""

from collections.abc import Iterator, Mapping

MAX_REQUEST_BYTES = 16 * 1024 * 1024
# One stored object must fit a ConfigMap.
MAX_OBJECT_BYTES = 1024 * 1024 - 1
_FRAME_BYTES = 8  # the most that protobuf adds to a document


def excesses(manifest_bytes: int, policies: Mapping[str, int]) -> Iterator[str]:
    """Yield what is too large, with the size that was found and the one that is possible; policies: bytes by hash."""
    for name, size in {"the manifest": manifest_bytes, **policies}.items():
        if size > MAX_OBJECT_BYTES:
            subject = f"policy {name}" if name in policies else name
            yield f"{subject} has {size} bytes, expected at most {MAX_OBJECT_BYTES}"
    size = sum(each + _FRAME_BYTES for each in (manifest_bytes, *policies.values()))
    if size > MAX_REQUEST_BYTES:
        yield f"the manifest and its {len(policies)} policies have {size} bytes, expected at most {MAX_REQUEST_BYTES}"
