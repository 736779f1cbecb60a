"""Who may talk to whom, by what the policies of a manifest say of the mesh: as rows, and as a drawing in SVG."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple
from xml.sax.saxutils import escape

from contrast_tasks.client.audit_policy import MODES
from contrast_tasks.client.audit_report import AuditedWorkload

ANYBODY = "anybody"
MEMBERS = "workloads of the mesh"
# A drawing of more rows is no longer readable.
_MOST_ROWS = 40
_WIDTH, _BOX, _ROW, _TOP = 560, 200, 34, 8
_LONGEST = 24


class Connection(NamedTuple):
    """One way in which a connection may be made.

    how: what protects it, in words. kind: whether both sides show certificates of the mesh, `mutual`, or not, `open`.
    """

    kind: Literal["mutual", "open"]
    source: str
    target: str
    ports: str
    how: str


def connections(workloads: Sequence[AuditedWorkload]) -> list[Connection]:
    """Return the connections that the workloads accept and make; none of what takes part in no mesh."""
    names = {san: workload.name for workload in workloads for san in workload.sans if san != "*"}
    return [row for workload in workloads for row in _of(workload, names)]


def _of(workload: AuditedWorkload, names: dict[str, str]) -> Iterator[Connection]:
    if workload.role or workload.allows is None:
        return
    mesh = workload.allows.mesh
    if mesh.fault:
        return
    if mesh.config is None:
        yield Connection("open", ANYBODY, workload.name, "every port", "no mesh: not protected")
        return
    config = mesh.config
    if config.has_ingress:
        peers = config.ingress_peers
        for port, accepted in sorted(peers.items()):
            how = f"mutual TLS, only {', '.join(accepted)}"
            yield Connection("mutual", MEMBERS, workload.name, f"port {port}", how)
        rest = "every other port" if config.ingress or peers else "every port"
        yield Connection("mutual", MEMBERS, workload.name, rest, "mutual TLS")
        for entry in config.ingress:
            how = MODES[entry.mode]
            yield Connection("open", ANYBODY, workload.name, f"port {entry.port}", how)
    else:
        yield Connection("open", ANYBODY, workload.name, "every port", "incoming: not protected")
    for remote in config.egress:
        target = names.get(remote.remote_host, remote.remote_host)
        how = f"mutual TLS, only {', '.join(remote.peers)}" if remote.peers else "mutual TLS"
        yield Connection("mutual", workload.name, target, f"port {remote.remote_port}", how)


def draw(rows: Sequence[Connection]) -> str:
    """Return the drawing as an SVG element, "" for none or too many; text stands beside each line, so colour is not needed."""
    sources = list(dict.fromkeys(row.source for row in rows))
    targets = list(dict.fromkeys(row.target for row in rows))
    count = max(len(sources), len(targets))
    if not rows or count > _MOST_ROWS or len(rows) > 2 * _MOST_ROWS:
        return ""
    height = 2 * _TOP + count * _ROW
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="picture-title picture-text">',
        '<title id="picture-title">Who may talk to whom</title>',
        f'<desc id="picture-text">{len(rows)} connections; the table below has each of them.</desc>',
    ]
    left, right = _BOX, _WIDTH - _BOX
    for row in rows:
        start, end = _middle(sources.index(row.source)), _middle(targets.index(row.target))
        bend = (left + right) // 2
        parts.append(
            f'<path class="{row.kind}" d="M{left} {start} C{bend} {start} {bend} {end} {right - 6} {end}"/>'
        )
    for x, names in ((0, sources), (right, targets)):
        for index, name in enumerate(names):
            parts.append(_box(x, index, name))
    return "".join((*parts, "</svg>"))


def _middle(index: int) -> int:
    return _TOP + index * _ROW + _ROW // 2


def _box(x: int, index: int, name: str) -> str:
    shown = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    style = ' class="outside"' if name == ANYBODY else ""
    return (
        f'<rect{style} x="{x}" y="{_TOP + index * _ROW + 3}" width="{_BOX}" height="{_ROW - 6}" rx="4"/>'
        f'<text x="{x + 10}" y="{_middle(index) + 5}">{escape(shown)}</text>'
    )
