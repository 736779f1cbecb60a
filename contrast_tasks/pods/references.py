"""Image references and their canonical spelling.

Grammar: OCI distribution specification 1.1, "Pulling manifests". The short forms (`nginx`, `user/image`) and their
default registry are those of the Docker command line.
"""

import re

from contrast_tasks.errors import ImageError, Location
from contrast_tasks.records import Record

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
_MAX_NAME_LENGTH = 255  # of host and path together, as the specification recommends

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def is_digest(text: object) -> bool:
    """Return whether `text` is `sha256:` and 64 lower-case hex digits; other algorithms are not accepted."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


class ImageReference(Record):
    """A parsed reference; name: everything before tag and digest, as written."""

    name: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"

    @property
    def registry(self) -> str:
        """Return the host of the registry, `docker.io` if none is written."""
        return _split_name(self.name)[0]

    @property
    def repository(self) -> str:
        """Return the path on the registry; on docker.io, `nginx` is `library/nginx`."""
        registry, path = _split_name(self.name)
        return f"library/{path}" if registry == DEFAULT_REGISTRY and "/" not in path else path

    @property
    def canonical(self) -> str:
        """Return the full spelling, which is equal for all spellings of a reference.

        The tag `latest` is added only if there is neither tag nor digest.
        """
        tag = self.tag or (None if self.digest else DEFAULT_TAG)
        return str(self.replace(name=f"{self.registry}/{self.repository}", tag=tag))

    def pinned(self, digest: str) -> "ImageReference":
        """Return the reference with this digest; a tag is kept for human readers."""
        return self.replace(digest=digest)


def _split_name(name: str) -> tuple[str, str]:
    head, slash, rest = name.partition("/")
    # A host has a dot, a colon or a capital letter, or is "localhost"; anything else is the first part of the path.
    # Source: distribution/reference 0.5, which Docker, containerd and the kubelet use.
    is_host = "." in head or ":" in head or head == "localhost" or head != head.lower()
    if not slash or not is_host:
        return DEFAULT_REGISTRY, name
    host = DEFAULT_REGISTRY if head in {"docker.io", "index.docker.io"} else head
    return host, rest


def parse_reference(text: str, *, where: Location | None = None) -> ImageReference:
    """Parse `[host[:port]/]path[:tag][@sha256:<64 hex>]`.

    where: place of the reference in a user's file. Raises ImageError naming the malformed part.
    """

    def refuse(problem: str) -> ImageError:
        hint = "write it as [host/]name[:tag][@sha256:<64 hex digits>]"
        return ImageError(f"image reference {text!r}: {problem}", hint=hint, where=where)

    if not text:
        raise refuse("it is empty")
    named, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise refuse(f"digest {digest!r} is not sha256: and 64 lower-case hex digits")
    head, colon, tag = named.rpartition(":")
    if not colon or "/" in tag:  # the colon belongs to a port
        head, tag = named, ""
    elif not _TAG.fullmatch(tag):
        raise refuse(f"tag {tag!r} is not 1 to 128 of letters, digits, '_', '.', '-'")
    registry, path = _split_name(head)
    if not _PATH.fullmatch(path):
        raise refuse(f"name {path!r} is not lower-case parts joined by '/'")
    if not _HOST.fullmatch(registry):
        raise refuse(f"registry {registry!r} is not a host name with an optional port")
    if len(head) > _MAX_NAME_LENGTH:
        raise refuse(f"its name has {len(head)} characters, at most {_MAX_NAME_LENGTH} are allowed")
    return ImageReference(name=head, tag=tag or None, digest=digest or None)
