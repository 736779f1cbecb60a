"""Names the cluster gives to pods, and the spellings of a pinned image (docs/internals/policy.md 5, 6.2)."""

import re

from contrast_tasks.errors import ImageError
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.policy.model import Owner
from contrast_tasks.policy.values import escape

# Kubernetes makes suffixes from these characters only (apimachinery, util/rand).
_SUFFIX = "[bcdfghjklmnpqrstvwxz2456789]+"
_SAMPLE_HASH = "6c9d7f8b54"
_SAMPLE_SUFFIX = "x2k9w"
# A generated name is cut to 63 characters, of which five are the suffix.
_PREFIX_LENGTH = 58
_HASH_LENGTH = 10
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9][-.a-z0-9]{0,252}")


def is_label(name: str) -> bool:
    """Return whether the text is a DNS label, as names of containers and volumes are; they become parts of paths."""
    return _LABEL.fullmatch(name) is not None


def is_subdomain(name: str) -> bool:
    """Return whether the text is a DNS name, or the beginning of one as generateName is."""
    return _SUBDOMAIN.fullmatch(name) is not None


def pod_name_pattern(owner: Owner, pod_name: str, generate_name: str) -> tuple[str, str] | None:
    """Return the anchored pattern of the pod's name and a name that it matches; None without any name.

    pod_name and generate_name are those of a bare Pod's metadata; other kinds name their pods themselves.
    """
    if owner.kind == "Pod" and pod_name:
        return f"^{escape(pod_name)}$", pod_name
    prefix = generate_name if owner.kind == "Pod" else owner.name
    if not prefix:
        return None
    if owner.kind == "Deployment":
        return _deployment(owner.name)
    if owner.kind == "StatefulSet":
        return f"^{escape(owner.name)}-[0-9]+$", f"{owner.name}-0"
    if owner.kind in {"Job", "CronJob"}:
        return _job(owner)
    return _generated(prefix if owner.kind == "Pod" else f"{prefix}-")


def _generated(prefix: str) -> tuple[str, str]:
    kept = prefix[:_PREFIX_LENGTH]
    return f"^{escape(kept)}{_SUFFIX}$", kept + _SAMPLE_SUFFIX


def _deployment(name: str) -> tuple[str, str]:
    sample = f"{name}-{_SAMPLE_HASH}-"[:_PREFIX_LENGTH] + _SAMPLE_SUFFIX
    if len(name) + _HASH_LENGTH + 2 <= _PREFIX_LENGTH:
        return f"^{escape(name)}-{_SUFFIX}-{_SUFFIX}$", sample
    if len(name) + 1 >= _PREFIX_LENGTH:
        return f"^{escape(f'{name}-'[:_PREFIX_LENGTH])}{_SUFFIX}$", sample
    # The cut falls into the hash or onto the dash behind it.
    return f"^{escape(name)}-{_SUFFIX}(?:-{_SUFFIX})?$", sample


def _job(owner: Owner) -> tuple[str, str]:
    number = "-[0-9]+" if owner.kind == "CronJob" else ""
    prefix = f"{owner.name}-27000000" if number else owner.name
    if len(prefix) + 12 > _PREFIX_LENGTH:
        kept = f"{owner.name}-"[:_PREFIX_LENGTH]
        tail = "" if len(kept) == _PREFIX_LENGTH else "[0-9-]*"
        return f"^{escape(kept)}{tail}{_SUFFIX}$", f"{prefix}-"[:_PREFIX_LENGTH] + _SAMPLE_SUFFIX
    pattern = f"^{escape(owner.name)}{number}(?:-[0-9]+)?-{_SUFFIX}$"
    return pattern, f"{prefix}-{_SAMPLE_SUFFIX}"


def pull_sources(reference: str) -> tuple[str, ...]:
    """Return the texts a pull of this reference may name, sorted.

    With a digest the tag may be dropped by the runtime, but not replaced; without one only the tag binds. What is no
    reference, which is an error elsewhere, has no other spelling.
    """
    try:
        parsed = parse_reference(reference)
    except ImageError:
        return (reference,)
    sources = {reference, parsed.canonical}
    if parsed.digest:
        sources.add(f"{parsed.registry}/{parsed.repository}@{parsed.digest}")
    return tuple(sorted(sources))
