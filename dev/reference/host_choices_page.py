"""docs/reference/host-choices.md: what a policy leaves to the host, from the table of choices."""

from itertools import groupby
from pathlib import Path

from contrast_tasks.policy.host_choices import HOST_CHOICES
from dev.reference.markdown import NOTICE, code, prose, table

INTRODUCTION = """\
# What the host may still choose

A policy denies every request of the host that differs from what the pod needs. What it leaves to the host is listed here for auditors, by request and member; `*` stands for each element of a list, `...` for what follows, `?` for a member that no agent knows. A host can always refuse to run a pod, stop it or starve it.

A policy knows that a container was started, not that it has finished: the agent does not tell. The host may end an init container with a signal and start the next one. Signals cannot be refused: the runtime kills a container once more after it has ended by itself, init containers too, and the kubelet ends those that run when a pod is deleted. So an init container must leave what the others need, as the initializer leaves their certificates, and the guest drops connections until the mesh is set up.

Changing limits of a running container (`UpdateContainer`) is allowed, since the host chose them. Standard input of containers, commands that are neither probe nor hook, pausing, diagnostics and statistics of volumes are refused; each denial prints a line `DENY <request> container=<name> codes=<codes>`.
"""


def render_host_choices(root: Path) -> str:
    """Return the page."""
    del root
    lines = [NOTICE, "", *INTRODUCTION.splitlines()]
    for request, choices in groupby(HOST_CHOICES, key=lambda each: each.request):
        rows = (
            (", ".join(map(code, each.members.split())), prose(each.bounds)) for each in choices
        )
        lines += ["", f"## {request}", "", *table(("members", "what the host may choose"), rows)]
    return "\n".join(lines) + "\n"
