"""The annotated YAML of all sources in one file, as the reference product's `generate` writes it on demand.

Source: docs/internals/generate.md 2.1.
"""

from collections.abc import Iterable, Iterator

from contrast_tasks.files import write_atomic
from contrast_tasks.kube.documents import BYTE_ORDER_MARK, decode, is_json, split
from contrast_tasks.steps.project import Project


def write_combined(project: Project, file: str) -> bool:
    """Write the annotated YAML of all sources to one file, in their order; return whether its bytes differed."""
    texts = [
        decode((project.root / project.paths.deployment(source)).read_bytes(), source.file)
        for source in project.index.files
    ]
    return write_atomic(project.root / file, joined(texts).encode())


def joined(texts: Iterable[str]) -> str:
    """Return YAML texts as one stream; a text with directives needs an end of document before it."""
    stream = ""
    for part in (part for text in texts for part in _parts(text)):
        body = part.removeprefix(BYTE_ORDER_MARK)
        if stream and not stream.endswith("\n"):
            stream += "\n"
        if stream and body.startswith("%"):
            stream += "...\n"
        elif not body.startswith("---"):
            stream += "---\n"
        stream += body
    return stream


def _parts(text: str) -> Iterator[str]:
    """Yield the parts of a file that need a marker between them: JSON may have several objects without any."""
    if is_json(text):
        yield from (f"{chunk.text.strip()}\n" for chunk in split(text))
    else:
        yield text
