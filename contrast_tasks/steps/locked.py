"""What a project has locked."""

from functools import lru_cache

from contrast_tasks.errors import ImageError
from contrast_tasks.images.lock import Lock, parse_lock
from contrast_tasks.settings.components import COMPONENT_IMAGES
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.project import Project


def read_lock(settings: Settings) -> Lock:
    """Return the lock file, an empty lock if there is none; raises ImageError if the file is not valid."""
    path = settings.root / settings.lock
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Lock()
    return _parsed(content, settings.lock)


@lru_cache(maxsize=1)
def _parsed(content: bytes, file: str) -> Lock:
    # Cached: each workload of a run reads it.
    return parse_lock(content, file)


def unlocked(project: Project) -> list[str]:
    """Return the images of the workloads of which nothing is known yet but their names, sorted."""
    try:
        lock = read_lock(project.settings)
    except ImageError:
        # That the file is not valid is said elsewhere.
        return []
    settings = project.settings
    ours = {getattr(settings.components, name) for name in COMPONENT_IMAGES}
    return [
        image for image in project.used_images if image not in ours and _is_unknown(lock, image)
    ]


def _is_unknown(lock: Lock, image: str) -> bool:
    try:
        return lock.resolve(image) is None
    except ImageError:
        # No name of an image.
        return False
