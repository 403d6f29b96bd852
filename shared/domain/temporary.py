"""Names that programs give to what is not whole yet, or goes with another file: no drops."""

from __future__ import annotations

import re

_PIECES = (
    "/.gcsfuse_tmp/",  # what gcsfuse appends to a file, before it is composed
    "/gcloud/tmp/parallel_composite_uploads/",
    "/gsutil/tmp/parallel_composite_uploads/",
)

TEMPORARY_SUFFIXES = (
    "~",
    ".crdownload",  # Chrome
    ".download",  # Safari
    ".filepart",  # WinSCP
    ".part",  # Firefox, rclone
    ".partial",  # rclone, Edge
    ".swp",
    ".temp",
    ".tmp",
)
"""Of names that programs give to what they are still writing; in a mounted bucket these become objects."""

_HIDDEN_COPY = re.compile(
    r"\._.*"  # macOS: what a file has beside its bytes
    r"|\.DS_Store"
    r"|\..+\.(?![a-z]{6})[A-Za-z0-9]{6}"  # rsync, whose endings are words one time in two hundred
    r"|\.(fuse_hidden|nfs)[0-9a-f]+"
    r"|\.(goutputstream|com\.google\.Chrome)[.-]\w+"
)


def is_piece(name: str) -> bool:
    """Whether an object of that name is a piece of an upload, which becomes an object of its own."""
    return any(mark in f"/{name}" for mark in _PIECES)


def is_temporary(name: str) -> bool:
    """Whether a file's name says that it is still being written, or goes with another one."""
    return name.lower().endswith(TEMPORARY_SUFFIXES) or _HIDDEN_COPY.fullmatch(name) is not None
