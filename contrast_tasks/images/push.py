"""Push packed images to a registry: blobs that it lacks, then the manifest under its tag.

Source: OCI distribution specification 1.1, "Push".
"""

import time
from collections.abc import Callable
from typing import Self
from urllib.parse import urljoin, urlsplit

from contrast_tasks.errors import ImageError
from contrast_tasks.images.credentials import Credential
from contrast_tasks.images.documents import OCI_MANIFEST
from contrast_tasks.images.pack import PackedImage
from contrast_tasks.images.registry import api_address
from contrast_tasks.images.transport import Request, Transport
from contrast_tasks.pods.references import DEFAULT_TAG, ImageReference, parse_reference
from contrast_tasks.web.answers import OK, Answer

_ACCEPTED, _CREATED, _NOT_FOUND = 202, 201, 404
_MAX_ANSWER_BYTES = 1 << 20
_OCTETS = "application/octet-stream"


class Pusher:
    """Pushes to registries; a context manager that closes its connections."""

    def __init__(
        self,
        *,
        find_credential: Callable[[str, str], Credential | None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Create a client; arguments as those of `Registry`."""
        self._transport = Transport(find_credential=find_credential, sleep=sleep)
        self.bytes_sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def push(self, image: PackedImage) -> str:
        """Push an image to the place that its reference names; return the reference with its digest.

        Raises ImageError.
        """
        reference = parse_reference(image.reference)
        digest = image.descriptor.digest
        for blob, content in image.blobs.items():
            if blob != digest:
                self._push_blob(reference, blob, content)
        self._send(
            reference,
            f"manifests/{reference.tag or DEFAULT_TAG}",
            method="PUT",
            body=image.blobs[digest],
            media_type=OCI_MANIFEST,
            expected=(_CREATED,),
        )
        return str(reference.pinned(digest))

    def _push_blob(self, reference: ImageReference, digest: str, content: bytes) -> None:
        asked = self._send(reference, f"blobs/{digest}", method="HEAD", expected=(OK, _NOT_FOUND))
        if asked.status == OK:
            return
        begun = self._send(
            reference, "blobs/uploads/", method="POST", body=b"", expected=(_ACCEPTED,)
        )
        place = _upload_place(reference, begun.headers.get("location", ""), digest)
        self._send(
            reference,
            place,
            method="PUT",
            body=content,
            media_type=_OCTETS,
            expected=(_CREATED,),
        )
        self.bytes_sent += len(content)

    def _send(
        self,
        reference: ImageReference,
        path: str,
        *,
        method: str,
        body: bytes | None = None,
        media_type: str = "",
        expected: tuple[int, ...],
    ) -> Answer:
        base = f"{api_address(reference.registry)}/{reference.repository}/"
        return self._transport.send(
            Request(
                url=urljoin(base, path),
                registry=reference.registry,
                repository=reference.repository,
                subject=f"image {reference}",
                max_bytes=_MAX_ANSWER_BYTES,
                method=method,
                body=body,
                media_type=media_type,
                expected=frozenset(expected),
            )
        )


def _upload_place(reference: ImageReference, location: str, digest: str) -> str:
    """Return the address to send a blob to; raises ImageError unless it is the registry's own.

    Our credentials go there too, and a registry that keeps blobs elsewhere redirects reads, not writes.
    """
    base = f"{api_address(reference.registry)}/{reference.repository}/blobs/uploads/"
    place = urljoin(base, location)
    wanted, found = urlsplit(base), urlsplit(place)
    if not location or (wanted.scheme, wanted.netloc) != (found.scheme, found.netloc):
        raise ImageError(
            f"image {reference}: the registry wants an upload at {found.netloc or 'no address'}, expected its own"
        )
    return f"{place}{'&' if found.query else '?'}digest={digest}"
