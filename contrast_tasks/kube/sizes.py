"""How large the annotations of one object may be (G081)."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from contrast_tasks import catalogue
from contrast_tasks.annotations import ID_PREFIXES, POLICY_KEYS
from contrast_tasks.kube import workloads
from contrast_tasks.kube.subject import Subject
from contrast_tasks.pointers import Path

# Source: Kubernetes, apimachinery, api/validation: TotalAnnotationSizeLimitB.
LIMIT_BYTES: Final = 256 * 1024


def annotation_bytes(annotations: Mapping[str, Any]) -> int:
    """Return the size of annotations as the API server counts: names and values.

    Those that generate writes anew do not count.
    """
    return sum(
        len(str(name).encode()) + len(text.encode(errors="surrogatepass"))
        for name, text in annotations.items()
        if isinstance(text, str)
        and name not in POLICY_KEYS
        and not str(name).startswith(ID_PREFIXES)
    )


def check_sizes(subject: Subject, places: Iterable[Path]) -> None:
    """Report annotations as written that the API server refuses; places: paths of the mappings of annotations."""
    for place in places:
        size = annotation_bytes(workloads.annotations_at(subject.obj, place))
        if size > LIMIT_BYTES:
            subject.report(
                catalogue.ANNOTATIONS_TOO_LARGE,
                place,
                f"found annotations of {size:,} bytes, expected at most {LIMIT_BYTES:,} for one object",
                "keep what is large in a ConfigMap, which the pods mount",
            )
