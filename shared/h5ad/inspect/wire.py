"""Frames between the inspecting child and its parent: JSON and bytes, so that a broken child can run nothing here."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from shared.domain.errors import CelldropError
from shared.forkserver.wire import receive_exactly
from shared.h5ad.facts import FileFacts
from shared.ports.blobs import ByteRange

_HEADER = struct.Struct("<cQ")
LONGEST_FRAME = 512 * 1024 * 1024


class Kind(Enum):
    """What a frame holds."""

    HELLO = b"H"
    ORDER = b"J"
    READ = b"R"
    DATA = b"D"
    FACTS = b"F"
    ERROR = b"E"


def send(link: socket.socket, kind: Kind, *parts: bytes) -> None:
    """Send one frame made of ``parts``."""
    link.sendall(_HEADER.pack(kind.value, sum(map(len, parts))))
    for part in parts:
        link.sendall(part)


def receive(link: socket.socket) -> tuple[Kind, bytes]:
    """The next frame.

    Raises:
        EOFError: The other side is gone, or sent what is no frame.
    """
    mark, length = _HEADER.unpack(receive_exactly(link, _HEADER.size))
    if length > LONGEST_FRAME or mark not in {kind.value for kind in Kind}:
        raise EOFError
    return Kind(mark), receive_exactly(link, length)


def pack_spans(spans: Sequence[ByteRange]) -> bytes:
    """Ranges as JSON."""
    return json.dumps([[span.offset, span.length] for span in spans]).encode()


def unpack_spans(data: bytes) -> list[ByteRange]:
    """Ranges from JSON; ValueError for anything else."""
    spans = [ByteRange(int(offset), int(length)) for offset, length in json.loads(data)]
    if any(span.offset < 0 or span.length < 0 for span in spans):
        raise ValueError(data[:100])
    return spans


def pack_blobs(parts: Sequence[bytes]) -> list[bytes]:
    """Byte strings, with their lengths in front."""
    return [struct.pack(f"<I{len(parts)}Q", len(parts), *map(len, parts)), *parts]


def unpack_blobs(data: bytes) -> list[bytes]:
    """Byte strings from one frame."""
    (count,) = struct.unpack_from("<I", data)
    lengths = struct.unpack_from(f"<{count}Q", data, 4)
    parts, place = [], 4 + 8 * count
    for length in lengths:
        parts.append(data[place : place + length])
        place += length
    return parts


def pack_facts(facts: FileFacts) -> bytes:
    """Facts as JSON; NaN and infinity stay as Python writes them."""
    return json.dumps(facts, default=_fields).encode()


def _fields(value: object) -> dict[str, object]:
    """One level of a dataclass: ``asdict`` would copy every gene's name on its own, ten times slower."""
    assert is_dataclass(value)
    return {field.name: getattr(value, field.name) for field in fields(value)}


def pack_error(error: CelldropError, cause: str = "") -> bytes:
    """An error's code and words, and the library's own words for the log."""
    words: dict[str, Any] = {"code": error.code, "found": error.found, "expected": error.expected}
    return json.dumps({**words, "where": error.where, "hint": error.hint, "cause": cause}).encode()
