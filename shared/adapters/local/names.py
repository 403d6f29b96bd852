"""Object names as file paths: which names are valid, and stay inside the bucket's folder."""

from __future__ import annotations

from pathlib import Path

from shared.domain.errors import InvalidNameError

MAX_SEGMENT_BYTES = 255
"""NAME_MAX of all common file systems."""
MAX_NAME_BYTES = 1024
"""Cloud Storage's limit, applied here too, so that names that work here also work there."""
_FORBIDDEN = ("\0", "\r", "\n")


def path_of(root: Path, name: str, *, hidden: bool) -> Path:
    """The path of an object under ``root``.

    Args:
        hidden: Whether segments that begin with a dot are allowed.

    Raises:
        InvalidNameError: The name would lead out of the root, or no file can have it.
    """
    problem = _problem(name, hidden=hidden)
    if problem:
        raise InvalidNameError(
            f"object name {name[:200]!r} {problem}",
            expected="segments of 1 to 255 bytes between single slashes, none of them '.' or '..'",
            where=str(root),
            hint="Rename the file and submit it again.",
        )
    return root.joinpath(name)


def is_keepable(name: str, *, hidden: bool) -> bool:
    """Whether ``path_of`` accepts the name."""
    return not _problem(name, hidden=hidden)


def _problem(name: str, *, hidden: bool) -> str:
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    if any(character in name for character in _FORBIDDEN):
        return "contains a line break or a NUL"
    if not hidden and len(encoded) > MAX_NAME_BYTES:
        return f"is {len(encoded)} bytes long, over {MAX_NAME_BYTES}"
    problems = (_segment_problem(segment, hidden=hidden) for segment in name.split("/"))
    return next(filter(None, problems), "")


def _segment_problem(segment: str, *, hidden: bool) -> str:
    if segment in {"", ".", ".."}:
        return f"has the segment {segment!r}"
    if not hidden and segment.startswith("."):
        return f"has the segment {segment[:40]!r}, and names that begin with a dot are reserved"
    size_bytes = len(segment.encode())
    if size_bytes > MAX_SEGMENT_BYTES:
        return f"has a segment of {size_bytes} bytes, over {MAX_SEGMENT_BYTES}"
    return ""
