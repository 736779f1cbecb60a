"""How people name a workload on the command line: as kubectl lets them, and as our own output writes it."""

from collections.abc import Iterable

from contrast_tasks.errors import did_you_mean
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS

_DEFAULT = "default"


def spellings(key: str) -> frozenset[str]:
    """Return all names of the workload with a key, as `Deployment/web` or `shop/Deployment/web`, in small letters.

    They are `web`, `deployment/web`, `deployments/web`, `deploy/web`, `deployment.apps/web` as `kubectl get -o name` has it,
    and each behind its namespace. A workload without one is in `default` too.
    """
    *namespace, kind, name = key.split("/")
    kinds = [kind, f"{kind}s"]
    if known := WORKLOAD_KINDS.get(kind):
        with_group = [f"{each}.{known.group}" for each in kinds if known.group]
        kinds += [known.short, *with_group]
    names = [name, *(f"{each}/{name}" for each in kinds)]
    above = namespace[0] if namespace else _DEFAULT
    return frozenset(each.lower() for plain in names for each in (plain, f"{above}/{plain}"))


def typed(name: str) -> str:
    """Return a name as `spellings` has it: in small letters, without the file that names of tasks have before it."""
    return name.rpartition("#")[2].lower()


def matching(name: str, keys: Iterable[str]) -> list[str]:
    """Return the keys that a person may mean by `name`, in any case of letters; `Job/nightly-` keeps its dash."""
    wanted = typed(name)
    return [key for key in keys if wanted in spellings(key)]


def hint_for(name: str, keys: Iterable[str]) -> str:
    """Return what to say of a name that no workload has."""
    known = sorted(keys)
    return did_you_mean(name, known) or f"there are: {', '.join(known) or 'none'}"
