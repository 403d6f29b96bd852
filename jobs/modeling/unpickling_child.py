"""The throw-away process that reads a foreign pickle: bytes on stdin, JSON and the bytes of arrays on stdout.

A crafted pickle can make even a reader that executes nothing fill its memory or run for ever. This process dies alone,
starts in milliseconds, and holds no secrets, as it uses only the standard library.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobs.modeling.unpickling_archive import Archive
from jobs.modeling.unpickling_index import read_index
from jobs.modeling.unpickling_machine import (
    ForeignPickleError,
    Global,
    HostilePickleError,
    Made,
    UnknownGlobalError,
    read_pickle,
)
from jobs.modeling.unpickling_names import INDEX, OPAQUE, SHAPES, TENSORS

MAX_VALUES = 1_000_000
"""A model with 60,000 genes needs 60,200."""
MAX_CHARACTERS = 2**25
"""Limit on the answer's JSON, approximately. A model with 60,000 genes needs 2 million."""
_MOST_REPEATS = 4
"""How often the arrays may repeat. Old classifiers refer to their weights twice."""
_SLACK_BYTES = 2**20
_SIZES = "1248"


@dataclass(slots=True)
class Encoder:
    """Encodes a tree of values as JSON, with the bytes of arrays separately.

    Attributes:
        size_bytes: The size of the pickle, which limits the bytes of arrays.
        numbers: The position of each array's bytes in ``blobs``, by the id of the object that they were read from.
        archive: Where the pickle's tensors are stored; None if it can have none.
        kept: Of a dict under one of these keys, the starts of the keys to encode; of other dicts, all are. The dict
            that holds everything has the key "".
    """

    size_bytes: int
    archive: Archive | None = None
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)
    blobs: list[bytes] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    n_values: int = 0
    n_characters: int = 0
    n_bytes: int = 0

    def encode(self, value: Any) -> Any:  # noqa: ANN401  # a pickle holds anything
        """Encode a value. Objects become ``{"class": …, "state": …}``, arrays ``{"array": …}``."""
        self._charge(value)
        match value:
            case None | bool() | int() | float() | str():
                return value
            case list() | tuple():
                return [self.encode(item) for item in value]
            case dict():
                return {"dict": [[self._key(key), self._item(key, item)] for key, item in value.items()]}
            case Global():
                return _opaque(value)
            case Made():
                return self._made(value)
            case bytes() | bytearray():
                return {"class": "builtins.bytes", "state": None}
            case _:
                raise ForeignPickleError(f"holds a {type(value).__name__}")

    def encode_root(self, value: Any) -> Any:  # noqa: ANN401  # as encode
        """Encode the value that holds everything."""
        return self._item("", value)

    def _charge(self, value: object) -> None:
        self.n_values += 1
        self.n_characters += 16
        if isinstance(value, str):
            self.n_characters += len(value)
        elif isinstance(value, int):
            self.n_characters += value.bit_length() // 3
        elif isinstance(value, Global | Made):
            self.n_characters += 60  # its name
        if self.n_values > MAX_VALUES or self.n_characters > MAX_CHARACTERS:
            raise HostilePickleError(f"more than {MAX_VALUES:,} values or {MAX_CHARACTERS:,} characters")

    def _item(self, key: object, item: object) -> Any:  # noqa: ANN401  # as encode
        if isinstance(key, str) and key in self.kept and isinstance(item, dict):
            starts = tuple(self.kept[key])
            item = {name: part for name, part in item.items() if isinstance(name, str) and name.startswith(starts)}
        return self.encode(item)

    def _key(self, key: object) -> str:
        text = str(key.by) if isinstance(key, Made) else str(key)
        self.n_characters += len(text)
        return text

    def _made(self, made: Made) -> Any:  # noqa: ANN401  # as encode
        name = (made.by.module, made.by.name)
        if name in OPAQUE:
            return self._harmless(made)
        if name in SHAPES:
            return _opaque(made.by)
        return self._tensor(made, self.archive) if self.archive and name in TENSORS else self._array_of(made)

    def _tensor(self, made: Made, archive: Archive) -> dict[str, Any]:
        inner = made.args[0] if made.args else None
        if isinstance(inner, Made) and (inner.by.module, inner.by.name) in SHAPES:
            return _opaque(inner.by)  # A parameter without numbers.
        tensor = archive.tensor(made)
        number = self._added(id(made), tensor.data)
        return {"array": number, "dtype": tensor.dtype, "shape": list(tensor.shape), "fortran": tensor.fortran}

    def _array_of(self, made: Made) -> Any:  # noqa: ANN401  # as encode
        match made.by.name:
            case "_reconstruct":
                return self._reconstructed(made.state)
            case "scalar":
                return self._scalar(*_expect(made.args, 2))
            case "_frombuffer":
                data, dtype, shape, order = _expect(made.args, 4)
                return self._array(shape, dtype, data, fortran=order == "F")
            case "encode":
                return _opaque(made.by)
            case _:
                return {"class": str(made.by), "state": self.encode(made.state)}

    def _harmless(self, made: Made) -> Any:  # noqa: ANN401  # as encode
        """Encode an object of a harmless class by its class only, and a pandas Index by its array."""
        match made.args:
            case (Global(), {"data": Made() as data}) if (made.by.module, made.by.name) in INDEX:
                return self.encode(data)
            case _:
                return _opaque(made.by)

    def _scalar(self, dtype: object, data: object) -> Any:  # noqa: ANN401  # as encode
        try:
            return self._array((), dtype, data, fortran=False)
        except ForeignPickleError:  # For example a date, in an attribute that is not needed.
            return {"class": "numpy.generic", "state": None}

    def _reconstructed(self, state: object) -> Any:  # noqa: ANN401  # as encode
        _, shape, dtype, fortran, data = _expect(state, 5)
        return self._array(shape, dtype, data, fortran=bool(fortran))

    def _array(self, shape: object, dtype: object, data: object, *, fortran: bool) -> Any:  # noqa: ANN401  # as encode
        sizes = _shape(shape)
        kind = _dtype(dtype)
        if kind == "O":
            if not isinstance(data, list) or fortran:
                raise ForeignPickleError("holds an array of objects without a list of them")
            return {"array": [self.encode(item) for item in data], "shape": sizes}
        return {"array": self._blob(data), "dtype": kind, "shape": sizes, "fortran": fortran}

    def _blob(self, data: object) -> int:
        """The position of an array's bytes in ``blobs``. An array that is referred to twice is written once."""
        return self._added(id(data.args[0] if isinstance(data, Made) and data.args else data), _bytes(data))

    def _added(self, source: int, content: bytes) -> int:
        self.n_bytes += len(content)
        if self.n_bytes > _MOST_REPEATS * self.size_bytes + _SLACK_BYTES:
            raise HostilePickleError(f"{self.n_bytes:,} bytes of arrays and more, from {self.size_bytes:,}")
        if source not in self.numbers:
            self.numbers[source] = len(self.blobs)
            self.blobs.append(content)
        return self.numbers[source]


def _opaque(name: Global) -> dict[str, Any]:
    return {"class": str(name), "state": None}


def _dtype(dtype: object) -> str:
    """The code of a pickled dtype, such as ``<f8``. Only numbers, text and objects are supported."""
    if not isinstance(dtype, Made) or dtype.by.name != "dtype" or not dtype.args:
        raise ForeignPickleError("holds an array without a plain type")
    code = str(dtype.args[0])
    state = dtype.state if isinstance(dtype.state, tuple) else ()
    if code in {"O8", "O"}:
        return "O"
    if len(state) < 5 or any(part is not None for part in state[2:5]):
        raise ForeignPickleError(f"holds an array of structured type {code!r}")
    order = ">" if state[1] == ">" else "<"
    numeric = code[:1] in set("biuf") and code[1:] in set(_SIZES)
    text = code[:1] in set("US") and code[1:].isdecimal()
    if not numeric and not text:
        raise ForeignPickleError(f"holds an array of type {code!r}")
    return order + code


def _shape(shape: object) -> list[int]:
    if not isinstance(shape, tuple) or len(shape) > 2 or not all(type(size) is int and size >= 0 for size in shape):
        raise ForeignPickleError("holds an array of an odd shape")
    return list(shape)


def _bytes(data: object) -> bytes:
    match data:
        case bytes() | bytearray():
            return bytes(data)
        case Made(by=Global(module="_codecs", name="encode"), args=(str() as text, "latin1")):
            return text.encode("latin1")  # how protocol 2 writes bytes
        case Made(by=Global(module="__builtin__", name="bytes"), args=()):
            return b""  # and no bytes
        case _:
            raise ForeignPickleError("holds an array without its bytes")


def _expect(values: object, count: int) -> Sequence[Any]:
    if not isinstance(values, tuple) or len(values) != count:
        raise ForeignPickleError("holds an array in an unknown encoding")
    return values


def read(
    data: bytes,
    allowed: Sequence[Sequence[str]],
    *,
    archive: bool = False,
    kept: Mapping[str, Sequence[str]] | None = None,
) -> tuple[dict[str, Any], list[bytes]]:
    """Read a pickle, or the one in an archive of PyTorch.

    Args:
        kept: As in ``Encoder``.

    Returns:
        ``{"value": …}`` and the blobs; ``{"hostile": …}``, with the name of the ``"global"`` if it is one that is not
        allowed; or ``{"foreign": …}``.
    """
    try:
        opened = Archive.opened(data) if archive else None
        encoder = Encoder(len(data), opened, kept or {})
        names = OPAQUE | {(module, name) for module, name in allowed}
        value = read_pickle(opened.pickle if opened else data, names, stored=archive)
        return {"value": encoder.encode_root(value)}, encoder.blobs
    except UnknownGlobalError as error:
        return {"hostile": str(error), "global": [error.module, error.name]}, []
    except HostilePickleError as error:
        return {"hostile": str(error)}, []
    except (ForeignPickleError, UnicodeError) as error:
        return {"foreign": str(error)}, []
    except RecursionError:
        return {"hostile": "values nested without end"}, []


def read_cells(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Read an index of hnswlib. The answer is as that of ``read``."""
    try:
        value, blobs = read_index(data)
    except ForeignPickleError as error:
        return {"foreign": str(error)}, []
    return {"value": value}, blobs


def confine(memory_bytes: int, cpu_s: int) -> None:
    """Limit this process's memory and time, and forbid new files, sockets and processes."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    with contextlib.suppress(ValueError):  # macOS refuses this limit; there, only the number of values is limited
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    sys.addaudithook(_refuse)


def _refuse(event: str, _: object) -> None:
    if event.partition(".")[0] in {"os", "subprocess", "socket", "ctypes", "import", "open", "exec", "shutil"}:
        raise HostilePickleError(f"a call of {event}")


def main() -> None:
    """Read the limits (one line of JSON) and the pickle from stdin, and answer on stdout."""
    orders = json.loads(sys.stdin.buffer.readline())
    confine(orders["memory_bytes"], orders["cpu_s"])
    data = sys.stdin.buffer.read()
    if orders["index"]:
        answer, blobs = read_cells(data)
    else:
        answer, blobs = read(data, orders["allowed"], archive=orders["archive"], kept=orders["kept"])
    header = json.dumps({**answer, "sizes": [len(blob) for blob in blobs]}).encode()
    sys.stdout.buffer.write(len(header).to_bytes(8, "big") + header)
    for blob in blobs:
        sys.stdout.buffer.write(blob)
    sys.stdout.buffer.flush()
