"""How large the annotations of one object may be (G081)."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from contrast_tasks import catalogue
from contrast_tasks.annotations import ID_PREFIXES, POLICY_KEYS
from contrast_tasks.kube import workloads
from contrast_tasks.kube.subject import Subject
from contrast_tasks.pointers import Path

# Source: Kubernetes, apimachinery, api/validation: TotalAnnotationSizeLimitB.
LIMIT_BYTES: Final = 256 * 1024
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


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


def applied_bytes(obj: Mapping[str, Any], carried: str) -> int:
    """Return the size of an object's own annotations after a client-side `kubectl apply`, which adds the object itself.

    carried: the annotation that its pods get besides; of a bare Pod it is one of the object's own.
    """
    metadata = workloads.mapping_at(obj, "metadata")
    own = annotation_bytes(workloads.mapping_at(metadata, "annotations"))
    noted = len(json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode()) + len(carried)
    return len(_LAST_APPLIED) + noted + own + (len(carried) if obj["kind"] == "Pod" else 0)


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
