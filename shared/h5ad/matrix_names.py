"""The names by which a user asks for a matrix (``X``, ``raw``, ``layers/counts``) and the paths that they mean."""

from __future__ import annotations

from collections.abc import Sequence

_RAW = ("raw/X", "raw.X")


def wanted_path(wanted: str, paths: Sequence[str]) -> str | None:
    """The path that an option's ``X``, ``raw`` or ``layers/NAME`` means; None where there is none of the kind."""
    names = {"X": ("X", "matrix"), "raw": _RAW, "raw/X": _RAW}.get(wanted, (wanted,))
    found = next((name for name in names if name in paths), None)
    if found is None and wanted == "X" and len(paths) == 1 and "/" not in paths[0] and paths[0] != "raw.X":
        return paths[0]
    return found


def wanted_word(path: str) -> str:
    """The option by which a path is asked for."""
    return "raw" if path in _RAW else path
