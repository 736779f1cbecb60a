"""The number of a guest's virtual processors, which follows from its pod's CPU limits, and the checks on it (G033).

The number is measured, so evidence tells it. Source: docs/internals/releases.md 3; docs/internals/generate.md 6.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from contrast_tasks import catalogue
from contrast_tasks.kube import workloads
from contrast_tasks.kube.subject import Subject
from contrast_tasks.platforms import Platform
from contrast_tasks.pods.quantities import QuantityError, parse_quantity, rounded_up
from contrast_tasks.pointers import Path
from contrast_tasks.releases.table import Release

_GPU_PREFIX: Final = "nvidia.com/"
_MILLI: Final = 1000


def vcpus_of(spec: Mapping[str, Any]) -> int:
    """Return how many virtual processors the guest of a pod has: one, and as many as the CPU limits ask for, rounded up.

    spec: the pod's. Raises QuantityError for a malformed or negative limit.
    """
    main = sum(_milli(item) for _, item in workloads.mappings_at(spec, "containers"))
    inits = [item for _, item in workloads.mappings_at(spec, "initContainers")]
    sidecars = sum(_milli(item) for item in inits if item.get("restartPolicy") == "Always")
    needed = max(main + sidecars, sum(map(_milli, inits)), _milli(spec))
    return -(-needed // _MILLI) + 1


def check_processors(subject: Subject, platform: Platform, release: Release) -> None:
    """Report CPU limits that the release or the platform does not allow.

    Before ID blocks came with the pod, the runtime had those for one processor only.
    """
    limits = list(_cpu_limits(subject))
    malformed = [(path, owner, error) for path, owner, error in limits if error is not None]
    for path, owner, error in malformed:
        message = f"{owner}: {error} as CPU limit"
        subject.report(catalogue.CPU_QUANTITY, path, message, error.hint)
    if malformed:
        return
    if release.id_blocks is None:
        for path, owner, _ in limits:
            message = (
                f"{owner} has the CPU limit {_value_at(subject, path)}, expected none: it changes the"
                f" guest's measurement, and the runtime of {release.name} knows that of one processor only"
            )
            subject.report(catalogue.CPU_LIMIT, path, message)
        return
    count, most = vcpus_of(subject.spec), release.id_blocks.max_cpus
    place = limits[0][0] if limits else subject.spec_path
    if count > most:
        subject.report(
            catalogue.CPU_COUNT,
            place,
            f"the CPU limits make a guest of {count} virtual CPUs, expected at most {most} with the"
            f" runtime of {release.name}",
            f"lower the limits to {most - 1} CPUs in all",
        )
    elif platform.tee == "tdx":
        for path, owner, _ in limits:
            message = (
                f"{owner} has the CPU limit {_value_at(subject, path)}, and reference values of TDX guests"
                " name no number of virtual CPUs: evidence is accepted only if they were measured with"
                f" {count}"
            )
            subject.report(catalogue.CPU_LIMIT_TDX, path, message)
    gpus = _gpus(subject.spec)
    if count < gpus:
        subject.report(
            catalogue.CPU_GPUS,
            place,
            f"the guest has {gpus} GPUs and {count} virtual CPUs, expected as many CPUs at least",
            f"set resources.limits.cpu to {gpus - 1} or more",
        )


def _cpu_limits(subject: Subject) -> Iterator[tuple[Path, str, QuantityError | None]]:
    """Yield path and owner of each CPU limit, and what is wrong with it."""
    spec, at = subject.spec, subject.spec_path
    owners = [
        ((*at, kind, number), f"container {item.get('name')}", item)
        for kind in ("initContainers", "containers")
        for number, item in workloads.mappings_at(spec, kind)
    ]
    for path, owner, item in (*owners, (at, "the pod", spec)):
        if _limits(item).get("cpu") is None:
            continue
        error = None
        try:
            _milli(item)
        except QuantityError as found:
            error = found
        yield (*path, "resources", "limits", "cpu"), owner, error


def _value_at(subject: Subject, path: Path) -> Any:
    found: Any = subject.obj
    for step in path:
        found = found[step]
    return found


def _limits(item: Mapping[str, Any]) -> dict[str, Any]:
    return workloads.mapping_at(workloads.mapping_at(item, "resources"), "limits")


def _milli(item: Mapping[str, Any]) -> int:
    """Return the CPU limit of a container or a pod in thousandths, rounded up as Kubernetes does."""
    value = _limits(item).get("cpu")
    if value is None:
        return 0
    amount = parse_quantity(value)
    if amount < 0:
        raise QuantityError(f"found {value!r}, expected a number of CPUs of at least 0")
    return rounded_up(amount * _MILLI)


def _gpus(spec: Mapping[str, Any]) -> int:
    """Return how many GPUs the containers' limits name; malformed numbers are reported where policies are derived."""
    found = 0
    for kind in ("initContainers", "containers"):
        for _, item in workloads.mappings_at(spec, kind):
            for name, value in _limits(item).items():
                if str(name).startswith(_GPU_PREFIX):
                    try:
                        found += rounded_up(parse_quantity(value))
                    except QuantityError:
                        continue
    return found
