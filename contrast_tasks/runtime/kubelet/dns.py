"""Name resolution of a pod: its host name and resolv.conf. Source: Kubernetes, pkg/kubelet/network/dns."""

from contrast_tasks.decode import Json
from contrast_tasks.runtime.cri import Dns
from contrast_tasks.runtime.node import Node
from contrast_tasks.runtime.objects import child, entries, flag, text, texts

# Source: Kubernetes, pkg/apis/core/validation.
_MAX_SERVERS = 3
_MAX_SEARCHES, _MAX_SEARCH, _MAX_SEARCH_LINE = 32, 253, 2048  # domains, characters of each, of all
_MAX_HOSTNAME = 63  # characters; the kernel allows no more


def pod_hostname(pod: Json, node: Node) -> str:
    """Return the host name, "" for a pod on the node's network, which has the node's."""
    spec, metadata = child(pod, "spec"), child(pod, "metadata")
    if flag(spec, "hostNetwork"):
        return ""
    override = text(spec, "hostnameOverride")
    name = override or text(spec, "hostname") or text(metadata, "name")
    name = name[:_MAX_HOSTNAME].rstrip("-.") if len(name) > _MAX_HOSTNAME else name
    if override:
        return name
    subdomain = text(spec, "subdomain")
    if subdomain and flag(spec, "setHostnameAsFQDN"):
        namespace = text(metadata, "namespace", "default")
        return f"{name}.{subdomain}.{namespace}.svc.{node.domain}"
    return name


def pod_dns(pod: Json, node: Node) -> Dns:
    """Return the parts of resolv.conf; what the pod adds comes last, and its options replace those of the same name.

    The kubelet keeps the pod's options in a map, so where a pod has any, their order is random.
    """
    spec = child(pod, "spec")
    given = child(spec, "dnsConfig")
    base = _base(pod, node)
    options = dict.fromkeys(base.options)
    for entry in entries(given, "options"):
        name, value = text(entry, "name"), text(entry, "value")
        options = {each: None for each in options if each.partition(":")[0] != name}
        options[f"{name}:{value}" if value else name] = None
    return Dns(
        servers=_distinct(base.servers, texts(given, "nameservers"))[:_MAX_SERVERS],
        searches=_fitting(_distinct(base.searches, texts(given, "searches"))),
        options=tuple(options),
    )


def _base(pod: Json, node: Node) -> Dns:
    spec = child(pod, "spec")
    policy = text(spec, "dnsPolicy", "ClusterFirst")
    if policy == "None":
        return Dns()
    if policy == "Default" or (policy == "ClusterFirst" and flag(spec, "hostNetwork")):
        return node.resolver
    namespace = text(child(pod, "metadata"), "namespace", "default")
    service = f"svc.{node.domain}"
    return Dns(
        servers=(node.dns_server,),
        searches=_distinct(
            (f"{namespace}.{service}", service, node.domain), node.resolver.searches
        ),
        options=("ndots:5",),
    )


def _fitting(searches: tuple[str, ...]) -> tuple[str, ...]:
    """Return the domains that the kubelet keeps: it leaves out what is too long, and the last ones."""
    kept = [each for each in searches[:_MAX_SEARCHES] if len(each) <= _MAX_SEARCH]
    while len(" ".join(kept)) > _MAX_SEARCH_LINE:
        kept.pop()
    return tuple(kept)


def _distinct(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))
