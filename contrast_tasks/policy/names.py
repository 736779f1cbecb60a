"""The names that controllers give to pods, and the spellings of a pinned image (docs/internals/policy.md 5, 6.2)."""

import re

from contrast_tasks.errors import ImageError
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.policy.model import Owner
from contrast_tasks.policy.values import escape

# Of annotations that containerd sets. Source: containerd, internal/cri/annotations.
CRI_PREFIX = "io.kubernetes.cri."

# Source: Kubernetes, apimachinery, util/rand: the characters of generated suffixes.
_SUFFIX = "[bcdfghjklmnpqrstvwxz2456789]+"
_SAMPLE_HASH = "6c9d7f8b54"
_SAMPLE_SUFFIX = "x2k9w"
# A generated name is cut to 63 characters, of which five are the suffix.
_PREFIX_LENGTH = 58
_HASH_LENGTH = 10
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9][-.a-z0-9]{0,252}")


def is_label(name: str) -> bool:
    """Return whether a text is a DNS label, as names of containers and volumes must be; they become parts of paths."""
    return _LABEL.fullmatch(name) is not None


def is_subdomain(name: str) -> bool:
    """Return whether a text is a DNS name, or the beginning of one, such as generateName."""
    return _SUBDOMAIN.fullmatch(name) is not None


def pod_name_pattern(owner: Owner, pod_name: str, generate_name: str) -> tuple[str, str] | None:
    """Return the anchored pattern of the pod's name and a matching name, None if the object has no name.

    pod_name, generate_name: of the metadata of a bare Pod; the controllers of other kinds name their pods.
    """
    if owner.kind == "Pod" and pod_name:
        return f"^{escape(pod_name)}$", pod_name
    # The API server completes the name of a Job as it completes that of a pod; others need one.
    own = owner.name or (owner.generate_name if owner.kind == "Job" else "")
    prefix = generate_name if owner.kind == "Pod" else own
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
    # The limit falls into the hash, or on the dash after it.
    return f"^{escape(name)}-{_SUFFIX}(?:-{_SUFFIX})?$", sample


def job_name(owner: Owner) -> tuple[str, str]:
    """Return the pattern, without anchors, of the name of a Job, or of a CronJob's Jobs, and a name that it matches."""
    if owner.kind == "CronJob":
        return f"{escape(owner.name)}-[0-9]+", f"{owner.name}-27000000"
    if owner.name:
        return escape(owner.name), owner.name
    pattern, sample = _generated(owner.generate_name)
    return pattern[1:-1], sample


def _job(owner: Owner) -> tuple[str, str]:
    own, prefix = job_name(owner)
    if len(prefix) + 12 > _PREFIX_LENGTH:
        kept = f"{owner.name}-"[:_PREFIX_LENGTH]
        tail = "" if len(kept) == _PREFIX_LENGTH else "[0-9-]*"
        if not owner.name:
            kept = owner.generate_name[:_PREFIX_LENGTH]
            tail = f"(?:{_SUFFIX}[0-9-]*)?"
        return f"^{escape(kept)}{tail}{_SUFFIX}$", f"{prefix}-"[:_PREFIX_LENGTH] + _SAMPLE_SUFFIX
    return f"^{own}(?:-[0-9]+)?-{_SUFFIX}$", f"{prefix}-{_SAMPLE_SUFFIX}"


def pull_sources(reference: str) -> tuple[str, ...]:
    """Return the spellings of this reference that an image pull may use, sorted.

    If there is a digest, the runtime may drop the tag but not replace it. A malformed reference, which is an error
    elsewhere, has only its own spelling.
    """
    try:
        parsed = parse_reference(reference)
    except ImageError:
        return (reference,)
    sources = {reference, parsed.canonical}
    if parsed.digest:
        sources.add(f"{parsed.registry}/{parsed.repository}@{parsed.digest}")
    return tuple(sorted(sources))
