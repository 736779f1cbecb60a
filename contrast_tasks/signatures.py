"""Signatures of files: what tells that a file is the one seen before, without reading it.

The change time, which ordinary programs cannot set, is part of it.
"""

import os

Signature = tuple[int, int, int, int]

# Two changes within one tick of the file system's clock have the same signature, so younger files are not trusted.
RACY_NS = 2_000_000_000


def signature_of(status: os.stat_result) -> Signature:
    """Return (size in bytes, modification time in ns, change time in ns, inode)."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
