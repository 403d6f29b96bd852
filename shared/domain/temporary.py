"""Recognises names of temporary files and of files that belong to another file. They are not drops."""

from __future__ import annotations

import re

_PIECES = (
    "/.gcsfuse_tmp/",  # data that gcsfuse appends to a file, before it composes them
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
"""Suffixes of files that a program is still writing. In a mounted bucket, such files become objects."""

_HIDDEN_COPY = re.compile(
    r"\._.*"  # macOS: a file's metadata
    r"|\.DS_Store"
    r"|\..+\.(?![a-z]{6})[A-Za-z0-9]{6}"  # rsync's random suffix; all lower-case ones, 1 in 200, could be words
    r"|\.(fuse_hidden|nfs)[0-9a-f]+"
    r"|\.(goutputstream|com\.google\.Chrome)[.-]\w+"
)


def is_piece(name: str) -> bool:
    """Whether the object is a piece of a parallel upload, which is later composed into another object."""
    return any(mark in f"/{name}" for mark in _PIECES)


def is_temporary(name: str) -> bool:
    """Whether a file's name shows that it is still being written, or belongs to another file."""
    return name.lower().endswith(TEMPORARY_SUFFIXES) or _HIDDEN_COPY.fullmatch(name) is not None
