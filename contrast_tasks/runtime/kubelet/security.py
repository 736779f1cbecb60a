"""Users, groups and rights that the kubelet asks for.

Source: Kubernetes, pkg/kubelet/kuberuntime/security_context*.go and pkg/securitycontext.
"""

import re

from contrast_tasks.decode import Json
from contrast_tasks.runtime.cri import (
    Capabilities,
    NamespaceMode,
    Namespaces,
    Profile,
    ProfileKind,
    Security,
)
from contrast_tasks.runtime.kubelet.quantities import containers_of
from contrast_tasks.runtime.node import Drawn, Image, Surroundings
from contrast_tasks.runtime.objects import child, flag, number, text, texts
from contrast_tasks.runtime.refusals import ContainerRefused

_KINDS: dict[str, ProfileKind] = {
    "RuntimeDefault": "default",
    "Unconfined": "unconfined",
    "Localhost": "localhost",
}
_NUMBER = re.compile(r"[+-]?[0-9]+")


def namespaces(pod: Json) -> Namespaces:
    """Return which namespaces the containers of a pod share."""
    spec = child(pod, "spec")
    shared: NamespaceMode = "pod" if flag(spec, "shareProcessNamespace") else "container"
    return Namespaces(
        network="node" if flag(spec, "hostNetwork") else "pod",
        ipc="node" if flag(spec, "hostIPC") else "pod",
        pid="node" if flag(spec, "hostPID") else shared,
    )


def supplemental_groups(pod: Json) -> tuple[int, ...]:
    """Return the groups that every process of a pod gets: that of its volumes first."""
    security = child(pod, "spec", "securityContext")
    volumes = number(security, "fsGroup")
    named = security.filled("supplementalGroups")
    others = [each.integer() for each in named.items()] if named else []
    return (*(() if volumes is None else (volumes,)), *others)


def has_strict_groups(pod: Json) -> bool:
    """Return whether the groups of the image's /etc/group shall not count."""
    return text(child(pod, "spec", "securityContext"), "supplementalGroupsPolicy") == "Strict"


def is_privileged(pod: Json) -> bool:
    """Return whether any container of a pod is privileged."""
    return any(flag(child(each, "securityContext"), "privileged") for each in containers_of(pod))


def container_security(pod: Json, container: Json, image: Image, around: Surroundings) -> Security:
    """Return the security context of a container; its own members override those of the pod."""
    own = child(container, "securityContext")
    whole = child(pod, "spec", "securityContext")
    user, username = _user(own, whole, image)
    _require_non_root(pod, container, around.drawn, user=user, username=username)
    escalation = own.get("allowPrivilegeEscalation")
    unmasked = text(own, "procMount") == "Unmasked"
    asked = own.filled("capabilities")
    return Security(
        namespaces=namespaces(pod),
        user=user,
        username=username,
        group=_first(number(own, "runAsGroup"), number(whole, "runAsGroup")),
        supplemental_groups=supplemental_groups(pod),
        strict_groups=has_strict_groups(pod),
        privileged=flag(own, "privileged"),
        readonly_rootfs=flag(own, "readOnlyRootFilesystem"),
        no_new_privileges=escalation is not None and escalation.value is False,
        capabilities=Capabilities(add=texts(asked, "add"), drop=texts(asked, "drop"))
        if asked
        else None,
        masked_paths=() if unmasked else around.node.kubelet.masked_paths(around.node.cpus),
        readonly_paths=() if unmasked else around.node.kubelet.readonly,
        seccomp=_profile("seccompProfile", own, whole) or Profile(kind="unconfined"),
        apparmor=_profile("appArmorProfile", own, whole),
    )


def _user(own: Json, whole: Json, image: Image) -> tuple[int | None, str]:
    """Return (uid, "") or (None, name); the group that an image names with its user does not count."""
    asked = _first(number(own, "runAsUser"), number(whole, "runAsUser"))
    if asked is not None:
        return asked, ""
    user = image.user.partition(":")[0]
    if not user or _NUMBER.fullmatch(user):
        return int(user or 0), ""
    return None, user


def _require_non_root(
    pod: Json, container: Json, drawn: Drawn, *, user: int | None, username: str
) -> None:
    own, whole = child(container, "securityContext"), child(pod, "spec", "securityContext")
    asked = own.get("runAsNonRoot")
    if asked is None or asked.value is None:
        asked = whole.get("runAsNonRoot")
    if asked is None or not asked.value:
        return
    metadata = child(pod, "metadata")
    named = f"{text(metadata, 'name')}_{text(metadata, 'namespace', 'default')}({drawn.uid})"
    where = f'(pod: "{named}", container: {text(container, "name")})'
    if _first(number(own, "runAsUser"), number(whole, "runAsUser")) == 0:
        raise ContainerRefused(
            f"container's runAsUser breaks non-root policy {where}", by="kubelet"
        )
    if user == 0:
        raise ContainerRefused(
            f"container has runAsNonRoot and image will run as root {where}", by="kubelet"
        )
    if user is None:
        raise ContainerRefused(
            f"container has runAsNonRoot and image has non-numeric user ({username}), "
            f"cannot verify user is non-root {where}",
            by="kubelet",
        )


def _profile(member: str, own: Json, whole: Json) -> Profile | None:
    place = own.filled(member) or whole.filled(member)
    if place is None:
        return None
    kind = place.at("type").text()
    if kind not in _KINDS:
        raise place.wrong(f"a type among {', '.join(_KINDS)}")
    return Profile(kind=_KINDS[kind], localhost=text(place, "localhostProfile"))


def apparmor_profiles(pod: Json) -> tuple[str, ...] | None:
    """Return the profiles that the kernel of a node for the pod has loaded, None if the pod asks for no AppArmor.

    A pod is not put on a node without what it asks for, so such a node shows nothing of its life.
    """
    whole = child(pod, "spec", "securityContext")
    asked = [
        profile
        for container in containers_of(pod)
        if (profile := _profile("appArmorProfile", child(container, "securityContext"), whole))
        and profile.kind != "unconfined"
    ]
    return tuple(each.localhost for each in asked if each.localhost) if asked else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
