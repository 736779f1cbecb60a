"""A policy that stands in a source already, from an earlier run of this tool or of the reference product."""

from contrast_tasks import catalogue
from contrast_tasks.annotations import POLICY_KEYS
from contrast_tasks.kube import workloads
from contrast_tasks.kube.subject import Subject
from contrast_tasks.manifest.policy_document import (
    ANNOTATIONS,
    DESCRIBED,
    DocumentError,
    document_in,
)
from contrast_tasks.releases.table import Channel


def check_policy(subject: Subject, channel: Channel) -> None:
    """Report a policy whose channel is not that of the chosen release; the output has a new one in any case."""
    annotations = workloads.mapping_at(workloads.pod_metadata(subject.obj), "annotations")
    for key in POLICY_KEYS:
        if not annotations.get(key):
            continue
        try:
            found = document_in({key: annotations[key]})
        except DocumentError:
            # Whatever it is, it is replaced.
            continue
        if found is not None and found.channel != channel:
            path = (*workloads.template_path(subject.obj), "metadata", "annotations", key)
            subject.report(
                catalogue.POLICY_CHANNEL,
                path,
                f"found {DESCRIBED[found.channel]} in {key}, the release of the runtime expects"
                f" {DESCRIBED[channel]} in {ANNOTATIONS[channel]}",
            )
