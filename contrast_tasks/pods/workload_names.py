"""How people name a workload on the command line: as kubectl lets them, and as our own output writes it."""

from collections.abc import Iterable

from contrast_tasks.errors import did_you_mean
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS

_DEFAULT = "default"


def spellings(key: str) -> frozenset[str]:
    """Return all names of the workload with a key, as `Deployment/web` or `shop/Deployment/web`, in small letters.

    They are `web`, `deployment/web`, `deployments/web`, `deploy/web`, and each behind its namespace. A workload without one
    is in `default` too.
    """
    *namespace, kind, name = key.split("/")
    short = WORKLOAD_KINDS[kind].short if kind in WORKLOAD_KINDS else kind
    names = [name, *(f"{each}/{name}" for each in (kind, f"{kind}s", short))]
    above = namespace[0] if namespace else _DEFAULT
    return frozenset(each.lower() for plain in names for each in (plain, f"{above}/{plain}"))


def matching(name: str, keys: Iterable[str]) -> list[str]:
    """Return the keys that a person may mean by `name`, in any case of letters; `Job/nightly-` keeps its dash."""
    wanted = name.lower()
    return [key for key in keys if wanted in spellings(key)]


def hint_for(name: str, keys: Iterable[str]) -> str:
    """Return what to say of a name that no workload has."""
    known = sorted(keys)
    return did_you_mean(name, known) or f"there are: {', '.join(known) or 'none'}"
