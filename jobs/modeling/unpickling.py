"""Reads foreign pickles without executing anything in them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from jobs.modeling.unpickling_names import NUMPY
from shared.domain.errors import InputNotFoundError, UnsafeModelError, UnsupportedModelError

MAX_BYTES = 2**30
"""A larger pickle is refused; CellTypist's largest model is 0.1 GB."""
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
            raise _unsupported(f"a file of {size_bytes:,} bytes, above the limit of {MAX_BYTES:,}", str(path))
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputNotFoundError("no such file", where=str(path), hint="Check the path.") from error
    except OSError as error:
        raise _unsupported(f"a file that cannot be read: {error.strerror}", str(path)) from error


def open_pickle(data: bytes, globals_allowed: Sequence[tuple[str, str]], *, where: str) -> Value:
    """Read the values in a pickle as data, in a throw-away process with limits.

    Args:
        globals_allowed: Module and name of the allowed classes, in addition to numpy's arrays and harmless classes
            (``unpickling_names``). Their objects become ``PickledObject``. Nothing is imported, so the library of a
            class need not be installed.
        where: The file's name, for error messages.

    Raises:
        UnsafeModelError: The pickle contains a global that is not allowed, or needs more memory or time than a model.
        UnsupportedModelError: It is incomplete, or contains more than plain values, arrays and these classes.
    """
    header, blobs = _ask_child(data, globals_allowed, where)
    if "hostile" in header:
        raise _unsafe(f"a pickle that asks for {header['hostile']}", where)
    if "foreign" in header:
        raise _unsupported(f"a file that {header['foreign']}", where)
    try:
        return _Decoder(_cut(blobs, header["sizes"])).decode(header["value"])
    except (ValueError, TypeError) as error:
        raise _unsupported(f"a pickle with a damaged array: {error}", where) from error


def _ask_child(
    data: bytes, globals_allowed: Sequence[tuple[str, str]], where: str
) -> tuple[dict[str, Any], memoryview]:
    orders = {
        "allowed": [*NUMPY_GLOBALS, *globals_allowed],
        "memory_bytes": _MEMORY_BYTES + 16 * len(data),
        "cpu_s": TIMEOUT_S,
    }
    command = [sys.executable, "-I", "-S", "-c", _CHILD, str(_REPOSITORY)]
    stdin = json.dumps(orders).encode() + b"\n" + data
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT_S, check=False)  # noqa: S603  # our own interpreter, constant arguments
    except subprocess.TimeoutExpired as error:
        raise _unsafe(f"a pickle that takes longer than {TIMEOUT_S} s to read", where) from error
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise _unsafe(f"a pickle that crashes its reader (status {done.returncode}: {last or 'no message'})", where)
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


def _unsafe(found: str, where: str) -> UnsafeModelError:
    return UnsafeModelError(
        found,
        expected="a model of plain data",
        where=where,
        hint="Nothing in it was executed. Do not open it with pickle if you do not trust its source. Otherwise ask its "
        "authors for a model saved by CellTypist, which needs only numpy and scikit-learn's linear classifiers.",
    )


def _unsupported(found: str, where: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        found,
        expected="a model saved by CellTypist (.pkl)",
        where=where,
        hint="Check that the download is complete and is the model itself, not a table or an archive.",
    )
