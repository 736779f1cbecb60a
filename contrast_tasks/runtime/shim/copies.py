"""The requests that copy files of the host into the guest (docs/internals/policy.md 4.10)."""

import stat
from collections.abc import Iterable, Iterator

from contrast_tasks.agent_messages import Request
from contrast_tasks.releases.shims import CopyForm
from contrast_tasks.runtime.host_files import Entry

GUEST_FOLDER = "/run/kata-containers/shared/containers/"
# Largest part of a file in one request, in bytes.
_PART = 2**20
# The mode of folders that the agent has to make on the way, in the notation of Go, whose flag for a folder is bit 31.
_DIR_MODE = 1 << 31 | 0o750
_TYPES = {stat.S_IFREG: "Regular", stat.S_IFDIR: "Directory", stat.S_IFLNK: "Symlink"}


def copy_requests(
    entries: Iterable[Entry], path: str, purpose: str, *, form: CopyForm
) -> Iterator[Request]:
    """Yield the requests that make a tree at a path of the guest, or some of its entries.

    The bytes of files are zeros here.
    """
    for entry in entries:
        target = f"{path}/{entry.path}" if entry.path else path
        for offset in range(0, entry.size, _PART) or [0]:
            message = {
                "path": target,
                "file_size": entry.size,
                "file_mode": entry.mode,
                "dir_mode": _DIR_MODE,
                "uid": entry.uid,
                "gid": entry.gid,
                "offset": offset,
            }
            if form == "link":
                message["symlink_src"] = entry.target or ""
            elif form == "bytes":
                part = bytes(min(_PART, entry.size - offset))
                message["data"] = list(entry.target.encode() if entry.target else part)
            else:
                message["file_type"] = _TYPES.get(stat.S_IFMT(entry.mode), "Unknown")
                message["symlink_target"] = entry.target
            yield Request("CopyFileRequest", message, purpose)
