"""Reads the tensors of an archive of PyTorch (``torch.save``): a zip file with a pickle and the bytes of each storage.

Standard library only, as it runs in a bare child process (``unpickling_child``). Nothing is decompressed: PyTorch does
not compress, so an entry is never larger than the file.
"""

from __future__ import annotations

import encodings.cp437  # noqa: F401  # names in a zip file may need it, and nothing can be imported later
import io
import struct
import zipfile
from dataclasses import dataclass
from math import prod

from jobs.modeling.unpickling_machine import ForeignPickleError, Global, Made, Stored
from jobs.modeling.unpickling_names import STORAGES

_PICKLE = "/data.pkl"
_MOST_AXES = 4
_FAULTS = (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, OverflowError, RuntimeError, struct.error)
"""What Python's zipfile raises on damaged bytes; a RuntimeError is for an entry that is encrypted."""
_TYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "<b1",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as it is stored: by rows, or by columns if ``fortran`` says so."""

    data: bytes
    dtype: str
    shape: tuple[int, ...]
    fortran: bool


@dataclass(frozen=True, slots=True)
class Archive:
    """An open archive.

    Attributes:
        folder: The folder in the zip file that holds everything.
        pickle: The bytes of its pickle.
    """

    file: zipfile.ZipFile
    folder: str
    pickle: bytes

    @classmethod
    def opened(cls, data: bytes) -> Archive:
        """Open an archive.

        Raises:
            ForeignPickleError: The bytes are not an archive of PyTorch.
        """
        try:
            file = zipfile.ZipFile(io.BytesIO(data))
            found = [entry for entry in file.namelist() if entry.count("/") == 1 and entry.endswith(_PICKLE)]
            if len(found) != 1:
                raise ForeignPickleError("is a zip archive that PyTorch did not write")
            folder = found[0].removesuffix(_PICKLE)
            archive = cls(file, folder, _entry(file, found[0]))
            if f"{folder}/byteorder" in file.namelist() and _entry(file, f"{folder}/byteorder") != b"little":
                raise ForeignPickleError("has its numbers in another byte order than usual machines")
        except _FAULTS as error:
            raise ForeignPickleError(f"is not a whole archive of PyTorch: {error}") from error
        return archive

    def tensor(self, made: Made) -> Tensor:
        """The tensor that a call in the pickle would have made.

        Raises:
            ForeignPickleError: It is not a plain one, or its numbers are not there.
        """
        match made.args:
            case (Made() as inner, *_) if made.by.name == "_rebuild_parameter":
                return self.tensor(inner)
            case (Stored(by=("storage", Global() as kind, str() as key, *_)), int(start), shape, strides, *_):
                sizes, fortran = _layout(shape, strides)
            case _:
                raise ForeignPickleError("holds a tensor in an unknown form")
        if (kind.module, kind.name) not in STORAGES or kind.name not in _TYPES:
            raise ForeignPickleError(f"holds numbers of type {kind.name.removesuffix('Storage')}")
        dtype = _TYPES[kind.name]
        width = int(dtype[2:])
        try:
            content = _entry(self.file, f"{self.folder}/data/{key}")
        except _FAULTS as error:
            raise ForeignPickleError(f"lacks the numbers of a tensor: {error}") from error
        data = content[start * width : (start + prod(sizes)) * width]
        if start < 0 or len(data) != prod(sizes) * width:
            raise ForeignPickleError("lacks some numbers of a tensor")
        return Tensor(data, dtype, sizes, fortran)


def _entry(file: zipfile.ZipFile, name: str) -> bytes:
    if file.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ForeignPickleError("is a compressed zip archive, which PyTorch does not write")
    return file.read(name)


def _layout(shape: object, strides: object) -> tuple[tuple[int, ...], bool]:
    """The shape of a tensor whose numbers lie one after the other, and whether they do so by columns."""
    if not isinstance(shape, tuple) or not isinstance(strides, tuple) or len(shape) > _MOST_AXES:
        raise ForeignPickleError("holds a tensor of an odd shape")
    if not all(type(size) is int and size >= 0 for size in (*shape, *strides)) or len(shape) != len(strides):
        raise ForeignPickleError("holds a tensor of an odd shape")
    if _follow(shape[::-1], strides[::-1]):
        return shape, False
    if _follow(shape, strides):
        return shape, True
    raise ForeignPickleError("holds a tensor whose numbers are not stored by rows or columns")


def _follow(sizes: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the numbers lie one after the other along the first axis, these along the second, and so on."""
    step = 1
    for size, stride in zip(sizes, strides, strict=True):
        if size > 1 and stride != step:
            return False
        step *= size
    return True
