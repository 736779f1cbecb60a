"""What a project has locked."""

from functools import lru_cache

from contrast_tasks.images.lock import Lock, parse_lock
from contrast_tasks.settings.model import Settings


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
