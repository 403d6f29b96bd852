"""What an archive holds, by the names in it; nothing is unpacked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from shared.domain.words import listed
from shared.h5ad.foreign import kinds
from shared.h5ad.foreign.kinds import Foreign

MOST_NAMES = 200
_LOCAL, _CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
_BLOCK = 512
_UNPACK = "Unpack it, and send the .h5ad inside: "

Names = Sequence[str]


def names_in_zip(head: bytes, tail: bytes) -> list[str]:
    """Names from the headers in a zip archive's first and last bytes, each once, at most 200."""
    found: dict[str, None] = {}
    for data, mark, length_at, name_at in ((tail, _CENTRAL, 28, 46), (head, _LOCAL, 26, 30)):
        for match in re.finditer(re.escape(mark), data):
            length = int.from_bytes(data[match.start() + length_at : match.start() + length_at + 2], "little")
            start = match.start() + name_at
            name = data[start : start + length]
            if 0 < length <= 1024 and len(name) == length and not name.startswith(b"__MACOSX/"):
                found[name.decode("utf-8", "replace")] = None
            if len(found) >= MOST_NAMES:
                return list(found)
    return list(found)


def names_in_tar(head: bytes) -> list[str]:
    """Names of the members whose headers are in a tar archive's first bytes, at most 200; none where it is no tar."""
    found: list[str] = []
    place = 0
    while place + _BLOCK <= len(head) and len(found) < MOST_NAMES:
        header = head[place : place + _BLOCK]
        size = re.match(rb"[ 0]*([0-7]{1,11})[ \0]", header[124:136])
        if header[257:262] != b"ustar" or size is None:
            break
        if header[156:157] in b"0\0":  # A file; folders and long names of the next member are others.
            prefix = header[345:500].split(b"\0")[0]
            name = header[:100].split(b"\0")[0]
            found.append((prefix + b"/" * bool(prefix) + name).decode("utf-8", "replace"))
        place += _BLOCK + -(-int(size.group(1), 8) // _BLOCK) * _BLOCK
    return found


def recognise_names(names: Names, archive: str, head: bytes) -> Foreign:
    """The kind of an archive with these members."""
    for fits, kind in _KINDS:
        if fits(names):
            return _told(kind, names, archive)
    if _any(names, r"(^|/)data\.pkl$"):
        return kinds.SCVI if b"attr_dict" in head else kinds.TORCH
    inside = [name for name in names if re.search(r"\.(h5ad|h5)$", name, re.IGNORECASE)]
    if inside:
        return Foreign(f"a {archive} with {listed(inside)}", f"{_UNPACK}{listed(inside)}.")
    content = f" with {listed(names)}" if names else ""
    return Foreign(f"a {archive}{content}", f"Unpack it, and send the .h5ad inside; where there is none: {kinds.SAVE}")


def _told(kind: Foreign, names: Names, archive: str) -> Foreign:
    if kind is kinds.TENX_ARCHIVE:
        return replace(kind, what=f"a {archive} of 10x .mtx files ({listed(names)})")
    return kind


def _any(names: Names, pattern: str) -> bool:
    return any(re.search(pattern, name, re.IGNORECASE) for name in names)


def _having(pattern: str) -> Callable[[Names], bool]:
    return lambda names: _any(names, pattern)


_KINDS: tuple[tuple[Callable[[Names], bool], Foreign], ...] = (
    (_having(r"^xl/"), kinds.EXCEL),
    (_having(r"^(word|ppt)/"), Foreign("an Office document")),
    (_having(r"(^|/)(\.zgroup|\.zattrs|\.zarray|\.zmetadata|zarr\.json)$"), kinds.ZARR_ZIP),
    (_having(r"(^|/)matrix\.mtx(\.gz)?$"), kinds.TENX_ARCHIVE),
    (lambda names: bool(names) and all(name.endswith(".npy") for name in names), kinds.NPZ),
)
