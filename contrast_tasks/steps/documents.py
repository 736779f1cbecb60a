"""The parsed documents that workloads and their configuration stand in, our own Coordinator's among them as it is deployed."""

from contrast_tasks.errors import ImageError
from contrast_tasks.images.lock import Lock
from contrast_tasks.kube.documents import Document, decode, parse_documents
from contrast_tasks.platforms import platform
from contrast_tasks.prepare.memory import image_bytes
from contrast_tasks.settings.load import ComponentSettings
from contrast_tasks.steps.index import Workload
from contrast_tasks.steps.paths import COORDINATOR_SOURCE
from contrast_tasks.steps.project import Project

# As in templates/coordinator/coordinator.yml: what the process needs.
_COORDINATOR_MEBIBYTES = 200
_parsed: dict[tuple[str, str], list[Document]] = {}
_PARSED_AT_MOST = 8


def documents_of(project: Project, file: str) -> list[Document]:
    """Return the documents of a source; the last few files stay parsed, since their workloads come one by one."""
    name, text = (file, project.sources[file].digest), None
    if file == COORDINATOR_SOURCE:
        # What becomes of the template follows from settings and lock file too.
        text = _as_it_is_deployed(decode(project.read(file), file), project)
        name = (file, text)
    documents = _parsed.get(name)
    if documents is None:
        documents = parse_documents(text or decode(project.read(file), file), file)
        while len(_parsed) >= _PARSED_AT_MOST:
            del _parsed[next(iter(_parsed))]
        _parsed[name] = documents
    return documents


def _as_it_is_deployed(text: str, project: Project) -> str:
    """Return our Coordinator with its image, and with memory for it where it is unpacked in the guest's."""
    image = project.settings.components.coordinator
    text = text.replace(f"image: {ComponentSettings().coordinator}\n", f"image: {image}\n")
    if platform(project.settings.platform).pulls_in_guest:
        try:
            locked = (project.lock() or Lock()).resolve(image)
        except ImageError:
            locked = None
        if locked is not None:
            needed = _COORDINATOR_MEBIBYTES + -(-sum(image_bytes([locked])) // (1 << 20))
            text = text.replace(f"memory: {_COORDINATOR_MEBIBYTES}Mi\n", f"memory: {needed}Mi\n")
    return text


def document_of(project: Project, workload: Workload) -> Document:
    """Return the document that a workload stands in."""
    return documents_of(project, workload.file)[workload.position]
