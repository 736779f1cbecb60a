"""The audit report as one HTML page: no scripts, nothing loaded from elsewhere, for screens of any width and for print."""

from typing import Any

from contrast_tasks.client.audit_picture import connections, draw
from contrast_tasks.client.audit_report import AuditReport
from contrast_tasks.resources import read_text

_TEMPLATE = "templates/audit/page.html.j2"


def render_page(audit: AuditReport) -> str:
    """Return the page; equal reports give equal pages. Every text of a manifest or policy is escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    rows = connections(audit.workloads)
    values: dict[str, Any] = {
        "audit": audit,
        "newest": audit.generations[-1],
        "connections": rows,
        # Made of escaped text.
        "picture": Markup(draw(rows)),  # noqa: S704
        "weaker": [
            (each.name, line)
            for each in audit.workloads
            if each.allows is not None
            for line in each.allows.weaker
        ],
    }
    return environment.from_string(read_text(_TEMPLATE)).render(values)
