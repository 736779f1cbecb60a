"""The host name of a pod, as kubelet and controllers choose it (docs/internals/reality.md 2.6)."""

from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.expectations import Pattern, Value
from contrast_tasks.policy.names import job_name
from contrast_tasks.policy.values import escape

_LENGTH = 63


def pod_hostname(context: PodContext) -> Value | None:
    """Return the host name, an anchored pattern if a part of it is unknown, None if it is the pod's name, cut to 63 characters.

    Source: Kubernetes, kubelet_pods.go GeneratePodHostNameAndDomain; indexed_job_utils.go.
    """
    spec, owner = context.spec, context.given.owner
    override = spec.text("hostnameOverride")
    if override:
        return override
    own = spec.text("hostname")
    fixed: Value | None = own[:_LENGTH].rstrip("-.") if own else None
    if not own and context.given.indexed_job:
        pattern, sample = job_name(owner)
        fixed = Pattern(regex=f"^{pattern}-[0-9]+$", sample=f"{sample}-0")
    if not (spec.flag("setHostnameAsFQDN") and spec.text("subdomain")):
        return fixed
    # The domain of the cluster is the node's setting.
    head = (
        "$(name)"
        if fixed is None
        else escape(fixed)
        if isinstance(fixed, str)
        else fixed.regex[1:-1]
    )
    sample = "$(name)" if fixed is None else fixed if isinstance(fixed, str) else fixed.sample
    domain, namespace = spec.text("subdomain"), owner.namespace or "$(namespace)"
    pattern = escape(namespace) if owner.namespace else namespace
    return Pattern(
        regex=rf"^{head}\.{escape(domain)}\.{pattern}\.svc\.[a-z0-9.-]+$",
        sample=f"{sample}.{domain}.{namespace}.svc.cluster.local",
    )
