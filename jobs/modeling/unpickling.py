"""Reads foreign pickles without executing anything in them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jobs.modeling.unpickling_known import known_as
from jobs.modeling.unpickling_names import NUMPY, STORAGES, TENSORS
from shared.domain.errors import InputNotFoundError, UnsafeModelError, UnsupportedModelError

MAX_BYTES = 2**30
"""A larger file is refused; CellTypist's largest model is 0.1 GB."""
TIMEOUT_S = 120
_MEMORY_BYTES = 2**27
_REPOSITORY = Path(__file__).resolve().parents[2]
_CHILD = "import sys; sys.path.insert(0, sys.argv[1]); from jobs.modeling.unpickling_child import main; main()"

Array: TypeAlias = npt.NDArray[Any]
Value: TypeAlias = "bool | int | float | str | list[Any] | dict[str, Any] | Array | PickledObject | None"

NUMPY_GLOBALS = NUMPY
"""The globals in pickled arrays. They are recognised by name, never imported."""


@dataclass(frozen=True, slots=True)
class PickledObject:
    """An object of a foreign class: the name of the class, and the attributes that would have been set."""

    kind: str
    attributes: dict[str, Any]


def read_foreign(path: Path) -> bytes:
    """Read the bytes of a foreign model file.

    Raises:
        InputNotFoundError: The file does not exist.
        UnsupportedModelError: It cannot be read, or is larger than ``MAX_BYTES``.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_BYTES:
            raise _unreadable(f"a file of {size_bytes:,} bytes, above the limit of {MAX_BYTES:,}", str(path))
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputNotFoundError("no such file", where=str(path), hint="Check the path.") from error
    except OSError as error:
        raise _unreadable(f"a file that cannot be read: {error.strerror}", str(path)) from error


@dataclass(frozen=True, slots=True)
class Library:
    """A library that saves models, as messages name what it saves.

    Attributes:
        expected: Its files.
        ask_for: What to ask the authors of a file for, if it contains more than data.
        hint: What to do about a damaged file.
        allowed: Module and name of its own classes in a file, beside numpy's arrays and harmless ones.
    """

    expected: str
    ask_for: str
    hint: str
    allowed: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    """How a file is to be read, and what is said of one that is something else.

    Attributes:
        allowed: Module and name of the allowed globals.
        archive: Whether it is an archive of PyTorch.
        index: Whether it is an index of hnswlib.
        kept: As in ``open_archive``.
    """

    where: str
    allowed: Sequence[tuple[str, str]]
    library: Library
    archive: bool = False
    index: bool = False
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def unsafe(self, found: str) -> UnsafeModelError:
        return UnsafeModelError(
            found,
            expected="a model of plain data",
            where=self.where,
            hint="Nothing in it was executed. Do not open it with pickle if you do not trust its source. Otherwise ask "
            f"its authors for {self.library.ask_for}.",
        )

    def unsupported(self, found: str, hint: str = "") -> UnsupportedModelError:
        hint = hint or self.library.hint
        return UnsupportedModelError(found, expected=self.library.expected, where=self.where, hint=hint)


_CELLTYPIST = Library(
    expected="a model saved by CellTypist (.pkl)",
    ask_for="a model saved by CellTypist, which needs only numpy and scikit-learn's linear classifiers",
    hint="Check that the download is complete and is the model itself, not a table or an archive.",
)


def open_pickle(data: bytes, globals_allowed: Sequence[tuple[str, str]], *, where: str) -> Value:
    """Read the values in a pickle as data, in a throw-away process with limits.

    Args:
        globals_allowed: Module and name of the allowed classes, in addition to numpy's arrays and harmless classes
            (``unpickling_names``). Their objects become ``PickledObject``. Nothing is imported, so the library of a
            class need not be installed.
        where: The file's name, for error messages.

    Raises:
        UnsafeModelError: The pickle contains a global that is not allowed, or needs more memory or time than a model.
        UnsupportedModelError: It is incomplete, contains more than plain values, arrays and these classes, or is a
            model of a known other kind.
    """
    return _opened(data, _Asked(where, [*NUMPY_GLOBALS, *globals_allowed], _CELLTYPIST))


def open_archive(data: bytes, kept: Mapping[str, Sequence[str]], library: Library, *, where: str) -> Value:
    """Read the values in an archive of PyTorch (``torch.save``) as data, likewise. Tensors become arrays.

    Args:
        kept: Of a dict under one of these keys, the starts of the keys to keep: what a model has for each cell of its
            training data is not read. The dict that holds everything has the key ``""``. Of other dicts, all are kept.

    Raises:
        UnsafeModelError, UnsupportedModelError: As for a pickle.
    """
    allowed = [*NUMPY_GLOBALS, *sorted(STORAGES | TENSORS), *library.allowed]
    return _opened(data, _Asked(where, allowed, library, archive=True, kept=kept))


def open_index(data: bytes, library: Library, *, where: str) -> Value:
    """Read an index of hnswlib, likewise: ``vectors``, a row a cell, and the ``numbers`` of the cells.

    Raises:
        UnsupportedModelError: It is not a whole index.
    """
    return _opened(data, _Asked(where, (), library, index=True))


def _opened(data: bytes, asked: _Asked) -> Value:
    header, blobs = _ask_child(data, asked)
    known = known_as(header["global"][0]) if "global" in header else None
    if known is not None:
        hint = "No bundle can be made of it. Train a model with `celldrop models train`."
        raise asked.unsupported(f"{known} ({'.'.join(header['global'])})", hint)
    if "hostile" in header:
        raise asked.unsafe(f"a pickle that asks for {header['hostile']}")
    if "foreign" in header:
        raise asked.unsupported(f"a file that {header['foreign']}")
    try:
        return _Decoder(_cut(blobs, header["sizes"])).decode(header["value"])
    except (ValueError, TypeError) as error:
        raise asked.unsupported(f"a pickle with a damaged array: {error}") from error


def _ask_child(data: bytes, asked: _Asked) -> tuple[dict[str, Any], memoryview]:
    orders = {
        "allowed": asked.allowed,
        "archive": asked.archive,
        "index": asked.index,
        "kept": {key: list(starts) for key, starts in asked.kept.items()},
        "memory_bytes": _MEMORY_BYTES + 16 * len(data),
        "cpu_s": TIMEOUT_S,
    }
    command = [sys.executable, "-I", "-S", "-c", _CHILD, str(_REPOSITORY)]
    stdin = json.dumps(orders).encode() + b"\n" + data
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT_S, check=False)  # noqa: S603  # our own interpreter, constant arguments
    except subprocess.TimeoutExpired as error:
        raise asked.unsafe(f"a pickle that takes longer than {TIMEOUT_S} s to read") from error
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise asked.unsafe(f"a pickle that crashes its reader (status {done.returncode}: {last or 'no message'})")
    length = int.from_bytes(done.stdout[:8], "big")
    return json.loads(done.stdout[8 : 8 + length]), memoryview(done.stdout)[8 + length :]


def _cut(blobs: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    ends = list(accumulate(sizes))
    return [blobs[end - size : end] for end, size in zip(ends, sizes, strict=True)]


@dataclass(frozen=True, slots=True)
class _Decoder:
    """Decodes the child's answer into values."""

    blobs: Sequence[memoryview]

    def decode(self, value: Any) -> Value:  # noqa: ANN401  # JSON
        match value:
            case {"class": str(kind), "state": state}:
                attributes = self.decode(state)
                return PickledObject(kind, attributes if isinstance(attributes, dict) else {})
            case {"array": list(items), "shape": shape}:
                return _object_array([self.decode(item) for item in items], shape)
            case {"array": int(number), "dtype": dtype, "shape": shape, "fortran": fortran}:
                return self._array(number, str(dtype), shape, fortran=fortran)
            case {"dict": pairs}:
                return {key: self.decode(item) for key, item in pairs}
            case list():
                return [self.decode(item) for item in value]
            case _:
                return value  # type: ignore[no-any-return]  # a plain value of JSON

    def _array(self, number: int, dtype: str, shape: list[int], *, fortran: bool) -> Array:
        array = np.frombuffer(self.blobs[number], dtype=np.dtype(dtype)).copy()
        return array.reshape(shape, order="F" if fortran else "C")[()]  # without dimensions: a number or a text


def _object_array(items: list[Value], shape: list[int]) -> Array:
    if len(items) != prod(shape):
        msg = f"{len(items)} objects for shape {shape}"
        raise ValueError(msg)
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


def _unreadable(found: str, where: str) -> UnsupportedModelError:
    hint = "Check that it is the model itself, and that it may be read."
    expected = "a model of CellTypist, scvi-tools, cellarium-ml or SCimilarity"
    return UnsupportedModelError(found, expected=expected, where=where, hint=hint)
