"""docs/reference/refusals.md: every reason for which a Coordinator refuses a call."""

from pathlib import Path

from contrast_tasks.api.errors import REASONS
from dev.reference.markdown import NOTICE, code, prose, table

INTRODUCTION = """\
# Refusals

A Coordinator that refuses a call tells a status code, a text, a reason and mostly a hint. Programs decide by the reason: texts may change. Reason and hint are a `google.rpc.ErrorInfo` of the domain
`contrast-tasks` and a `google.rpc.LocalizedMessage`, in the trailing metadata `grpc-status-details-bin`, with a `google.rpc.Help` that leads to the reason's row below. HTTP attestation has the same words in the member `code`. The metadata that a meaning names in code
style are in the ErrorInfo. Coordinators of the reference product send code and text only.
"""


def render_refusals(_: Path) -> str:
    """Return the page."""
    rows = (
        (
            f'<a id="{reason}"></a>{code(reason)}',
            code(known.code.name),
            prose(known.meaning),
            prose(known.hint),
        )
        for reason, known in REASONS.items()
    )
    lines = [NOTICE, "", *INTRODUCTION.splitlines(), ""]
    return "\n".join([*lines, *table(("reason", "status code", "when", "hint"), rows)]) + "\n"
