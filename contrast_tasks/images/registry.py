"""Images from a registry, with all content checked against the requested digest.

Registries on this machine are accessed over http, all others over https; no setting weakens that. Mirrors need no more
trust than their registry, and are asked first. Source: OCI distribution specification 1.1, "Pull".
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Self

from contrast_tasks.errors import ImageError
from contrast_tasks.images.credentials import Credential, Credentials, auth_files
from contrast_tasks.images.documents import MANIFEST_TYPES, Descriptor, digest_of
from contrast_tasks.images.mirrors import Mirrors, Place
from contrast_tasks.images.resolve import MAX_DOCUMENT_BYTES, check_blob
from contrast_tasks.images.transport import Request, Transport, is_loopback
from contrast_tasks.pods.references import DEFAULT_REGISTRY, DEFAULT_TAG, ImageReference

_HUB_HOST = "registry-1.docker.io"  # the registry of docker.io. Source: Docker's client


class Registry:
    """An ImageSource for all registries; a context manager that closes its connections."""

    def __init__(
        self,
        *,
        find_credential: Callable[[str, str], Credential | None],
        sleep: Callable[[float], None] = time.sleep,
        attempts: int = 5,
        mirrors: Mirrors | None = None,
    ) -> None:
        """Create a client.

        find_credential: called with registry and repository, once a registry asks for credentials. sleep: waits some
        seconds between attempts. attempts: how often a request that fails for a transient reason is sent. mirrors: where
        to look first.
        """
        self._transport = Transport(find_credential=find_credential, sleep=sleep, attempts=attempts)
        self._hasty = Transport(find_credential=find_credential, sleep=sleep, attempts=1)
        self._mirrors = mirrors or Mirrors()
        self._failed: set[Place] = set()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return a registry client with the user's own credentials."""
        home = Path.home()
        return cls(
            find_credential=Credentials(auth_files(environ, home)).find,
            mirrors=Mirrors.from_environment(environ, home),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()
        self._hasty.close()

    def manifest(self, reference: ImageReference) -> bytes:
        """Return the index or manifest of a reference, checked against its digest or else the digest in the answer.

        Raises ImageError.
        """
        subject = f"image {reference}"
        wanted = reference.digest or reference.tag or DEFAULT_TAG
        with tempfile.TemporaryFile() as stream:
            headers = self._download(
                reference, f"manifests/{wanted}", stream, MAX_DOCUMENT_BYTES, MANIFEST_TYPES
            )
            stream.seek(0)
            content = stream.read()
        found = digest_of(content)
        stated = headers.get("docker-content-digest", found)
        if reference.digest is not None and found != reference.digest:
            raise ImageError(f"{subject}: {reference.registry} sent a manifest with digest {found}")
        # Only SHA-256 can be compared; the header may use another algorithm.
        if stated.startswith("sha256:") and stated != found:
            raise ImageError(f"{subject}: manifest has digest {found}, the registry says {stated}")
        return content

    def open_blob(self, reference: ImageReference, descriptor: Descriptor) -> BinaryIO:
        """Download a blob to a temporary file, which is deleted when it is closed. Raises ImageError."""
        digest, size_bytes = descriptor.digest, descriptor.size_bytes
        stream: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it  # type: ignore[assignment]
        try:
            self._download(reference, f"blobs/{digest}", stream, size_bytes)
            stream.seek(0)
            check_blob(stream, descriptor, f"image {reference}")
        except BaseException:
            stream.close()
            raise
        return stream

    def _download(
        self,
        reference: ImageReference,
        path: str,
        into: BinaryIO,
        max_bytes: int,
        accept: tuple[str, ...] = (),
    ) -> Mapping[str, str]:
        """Write a document or blob to `into`, from the first place that gives it; return the headers of the answer.

        A mirror that has failed is asked no more for the repository. Raises ImageError, that of the last place.
        """
        *mirrors, last = self._mirrors.places(reference)
        failed: list[str] = []
        for place in mirrors:
            if place in self._failed:
                continue
            try:
                return self._hasty.download(
                    _request(reference, place, path, max_bytes, accept), into
                )
            except ImageError as err:
                self._failed.add(place)
                failed.append(str(err).removeprefix(f"image {reference}: "))
        try:
            return self._transport.download(
                _request(reference, last, path, max_bytes, accept), into
            )
        except ImageError as err:
            if not failed:
                raise
            raise type(err)(f"{err}; before: {'; '.join(failed)}", hint=err.hint) from err


def _request(
    reference: ImageReference, place: Place, path: str, max_bytes: int, accept: tuple[str, ...]
) -> Request:
    return Request(
        url=f"{api_address(place.registry)}/{place.repository}/{path}",
        registry=place.registry,
        repository=place.repository,
        subject=f"image {reference}",
        accept=accept,
        max_bytes=max_bytes,
    )


def api_address(registry: str) -> str:
    """Return the address of a registry's API, without `/` at its end."""
    host = _HUB_HOST if registry == DEFAULT_REGISTRY else registry
    # An IPv6 address is in brackets, followed by its port.
    name = host[: host.index("]") + 1] if host.startswith("[") else host.partition(":")[0]
    scheme = "http" if is_loopback(name) else "https"
    return f"{scheme}://{host}/v2"
