"""The fields of a pod, by their effect on the guest (docs/internals/policy.md 4.12).

A field is used, irrelevant for the guest, weaker there, refused, or unknown. Unknown fields are errors, since they may
change what runs.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.policy.place import Place

_Refused = Mapping[str, tuple[Any, ...]]
_Members = tuple[tuple[tuple[str, ...], frozenset[str], _Refused], ...]
_REFUSED_INSIDE: Mapping[str, _Refused] = {"resources": {"claims": ([],)}}


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _members(table: Mapping[str, str]) -> _Members:
    return tuple(
        (tuple(path.split("/")), _names(names), _REFUSED_INSIDE.get(path, {}))
        for path, names in table.items()
    )


_POD = _names(
    # Used.
    "containers initContainers volumes securityContext shareProcessNamespace enableServiceLinks "
    "automountServiceAccountToken serviceAccountName serviceAccount hostname subdomain setHostnameAsFQDN "
    "hostnameOverride "
    # Irrelevant for the guest: scheduling, names, limits.
    "activeDeadlineSeconds affinity dnsConfig dnsPolicy hostAliases imagePullSecrets nodeName nodeSelector "
    "os overhead preemptionPolicy priority priorityClassName readinessGates resources restartPolicy runtimeClassName "
    "schedulerName schedulingGates terminationGracePeriodSeconds tolerations "
    "topologySpreadConstraints"
)
_CONTAINER = _names(
    "name image command args workingDir env envFrom volumeMounts volumeDevices securityContext livenessProbe "
    "readinessProbe startupProbe lifecycle restartPolicy tty terminationMessagePath resources "
    # Irrelevant for the guest.
    "imagePullPolicy ports resizePolicy restartPolicyRules stdin stdinOnce terminationMessagePolicy"
)
_POD_SECURITY = _names(
    "runAsUser runAsGroup runAsNonRoot fsGroup fsGroupChangePolicy supplementalGroups sysctls "
    "seccompProfile appArmorProfile seLinuxChangePolicy"
)
_CONTAINER_SECURITY = _names(
    "runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem privileged allowPrivilegeEscalation capabilities "
    "seccompProfile appArmorProfile"
)
_PROBE = (
    "exec httpGet tcpSocket grpc initialDelaySeconds periodSeconds timeoutSeconds successThreshold "
    "failureThreshold terminationGracePeriodSeconds"
)
_HOOK = "exec httpGet tcpSocket sleep"
# Known members of nested objects that affect what runs, by path; an asterisk marks a list.
_IN_POD = _members(
    {
        "securityContext/sysctls*": "name value",
        "volumes*/emptyDir": "medium sizeLimit",
    }
)
_IN_CONTAINER = _members(
    {
        "env*": "name value valueFrom",
        "env*/valueFrom/configMapKeyRef": "name key optional",
        "env*/valueFrom/secretKeyRef": "name key optional",
        "env*/valueFrom/fieldRef": "apiVersion fieldPath",
        "env*/valueFrom/resourceFieldRef": "containerName resource divisor",
        "envFrom*": "prefix configMapRef secretRef",
        "envFrom*/configMapRef": "name optional",
        "envFrom*/secretRef": "name optional",
        "lifecycle": "postStart preStop stopSignal",
        **{f"lifecycle/{name}": _HOOK for name in ("postStart", "preStop")},
        **{f"lifecycle/{name}/exec": "command" for name in ("postStart", "preStop")},
        **dict.fromkeys(("livenessProbe", "readinessProbe", "startupProbe"), _PROBE),
        **{
            f"{name}/exec": "command"
            for name in ("livenessProbe", "readinessProbe", "startupProbe")
        },
        "resources": "limits requests",
        "securityContext/capabilities": "add drop",
        "volumeDevices*": "name devicePath",
        "volumeMounts*": "name mountPath readOnly mountPropagation recursiveReadOnly subPath subPathExpr",
    }
)

# Refused fields, with the values that are accepted because they change nothing.
_REFUSED_POD: Mapping[str, tuple[Any, ...]] = {
    "hostPID": (False,),
    "hostIPC": (False,),
    "hostNetwork": (False,),
    "hostUsers": (True,),
    "ephemeralContainers": ([],),
    "resourceClaims": ([],),
}
_REFUSED_SECURITY: Mapping[str, tuple[Any, ...]] = {
    "procMount": ("Default",),
    "seLinuxOptions": ({},),
    "windowsOptions": ({},),
    "supplementalGroupsPolicy": ("Merge",),
}
_WEAKER = ("seccompProfile", "appArmorProfile")


def check_pod(spec: Place, metadata: Place) -> None:
    """Report every field of the pod that is unknown, refused or weaker in the guest."""
    _known(spec, _POD, _REFUSED_POD)
    security = spec.mapping("securityContext")
    _known(security, _POD_SECURITY, _REFUSED_SECURITY)
    _weaker(security)
    _check_inside(spec, _IN_POD)
    metadata.mapping("labels")
    metadata.mapping("annotations")


def check_container(container: Place, *, init: bool) -> None:
    """Report every field of the container that is unknown, refused or weaker in the guest."""
    _known(container, _CONTAINER, {})
    security = container.mapping("securityContext")
    _known(security, _CONTAINER_SECURITY, _REFUSED_SECURITY)
    _weaker(security)
    restart = container.text("restartPolicy")
    if restart and not (init and restart == "Always"):
        container.at("restartPolicy").report(
            catalogue.UNSUPPORTED_FIELD,
            f"restartPolicy {restart!r} of a container is not supported",
            "only Always in initContainers is supported",
        )
    _check_inside(container, _IN_CONTAINER)
    if container.flag("stdin"):
        container.at("stdin").report(
            catalogue.WEAKER_IN_GUEST,
            "the policy does not allow the host to write to standard input",
            hint="",
        )


def _check_inside(place: Place, members: _Members) -> None:
    for path, names, refused in members:
        for inner in _places(place, path):
            _known(inner, names, refused)


def _places(place: Place, path: Sequence[str]) -> Iterator[Place]:
    """Yield the objects at a path, one for each element of the lists in it."""
    if not path:
        yield place
        return
    step, rest = path[0], path[1:]
    if not place.has(step.rstrip("*")):
        return
    inner = place.entries(step[:-1]) if step.endswith("*") else (place.mapping(step),)
    for each in inner:
        yield from _places(each, rest)


def _known(place: Place, known: frozenset[str], refused: Mapping[str, tuple[Any, ...]]) -> None:
    for key, value in place.value.items():
        if key in known or value is None:
            continue
        field = place.at(str(key))
        if key in refused:
            # A zero value is not set, except where `false` says something else than nothing.
            is_unset = value in ("", 0, [], {}) and key != "hostUsers"
            if not is_unset and value not in refused[key]:
                field.report(
                    catalogue.UNSUPPORTED_FIELD, f"{key} is not supported in a confidential pod"
                )
            continue
        near = difflib.get_close_matches(str(key), sorted(known | refused.keys()), n=1)
        field.report(
            catalogue.UNKNOWN_FIELD,
            f"the field {key} is unknown, so its effect on the guest is unknown too",
            f"did you mean {near[0]}" if near else None,
        )


def _weaker(security: Place) -> None:
    for key in _WEAKER:
        if security.has(key):
            security.at(key).report(
                catalogue.WEAKER_IN_GUEST, f"{key} is not applied inside the guest"
            )
