"""Reads a pickle as data: its opcodes build a tree of values, but nothing is imported or called.

Python's own unpickler imports and calls the globals that a pickle names, so the author of the pickle decides what runs.
Here, a global stays a name, and a call becomes a note of the callable and its arguments. Reading ends at a name that is
not allowed. Standard library only, as it runs in a bare child process (``unpickling_child``).
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from jobs.modeling.unpickling_names import DICTS

MAX_OPCODES = 20_000_000
"""A model with 60,000 genes needs 0.2 million."""


class HostilePickleError(Exception):
    """The pickle contains something that plain data never needs."""


class UnknownGlobalError(HostilePickleError):
    """The pickle names a global that is not allowed."""

    def __init__(self, module: str, name: str) -> None:
        super().__init__(f"the global {module}.{name}")
        self.module, self.name = module, name


class ForeignPickleError(Exception):
    """The pickle is incomplete, or its structure is not that of a model."""


@dataclass(frozen=True, slots=True)
class Global:
    """A global that the pickle names, and that an unpickler would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Made:
    """A call that was not made: the callable, its arguments, and the state for its result."""

    by: Global
    args: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A reference to what is stored beside the pickle: whatever the pickle says of it."""

    by: Any


@dataclass(slots=True)
class Machine:
    """The state of reading one pickle: stack, marks and memo.

    Attributes:
        stored: Whether the pickle may refer to what is stored beside it, as those in PyTorch's archives do.
    """

    allowed: Collection[tuple[str, str]]
    stored: bool = False
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:  # noqa: ANN401  # a pickle holds anything
        """Remove and return the topmost value, but none below the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ForeignPickleError("takes a value where there is none")
        return self.stack.pop()

    def pop_many(self, count: int) -> tuple[Any, ...]:
        """Remove and return several values, in the order in which they were pushed."""
        return tuple(self.pop() for _ in range(count))[::-1]

    def pop_mark(self) -> list[Any]:
        """Remove and return everything above the last mark."""
        if not self.marks:
            raise ForeignPickleError("takes values back to a mark where there is none")
        mark = self.marks.pop()
        above = self.stack[mark:]
        del self.stack[mark:]
        return above

    def top(self, kind: type) -> Any:  # noqa: ANN401  # a pickle holds anything
        """Return the topmost value, which must be of this type."""
        value = self.pop()
        if not isinstance(value, kind):
            raise ForeignPickleError(f"adds to a {type(value).__name__} as if it were a {kind.__name__}")
        self.push(value)
        return value

    def name(self, module: object, name: object) -> None:
        """Push a global, if it is allowed."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise HostilePickleError("a global with a name that is computed while loading")
        if (module, name) not in self.allowed:
            raise UnknownGlobalError(module, name)
        self.push(Global(module, name))

    def call(self, by: object, args: object) -> None:
        """Push a note of a call, instead of making the call."""
        if not isinstance(by, Global):
            raise HostilePickleError("a call of something that is not a plain global")
        if not isinstance(args, tuple):
            raise ForeignPickleError(f"calls {by} without a tuple of arguments")
        if (by.module, by.name) in DICTS:
            self.push(next((argument for argument in args if isinstance(argument, dict)), {}))
        else:
            self.push(Made(by, args))

    def remember(self, key: int) -> None:
        """Store the topmost value in the memo."""
        self.memo[key] = self.top(object)

    def recall(self, key: int) -> None:
        """Push a value from the memo."""
        if key not in self.memo:
            raise ForeignPickleError("recalls a value that was never kept")
        self.push(self.memo[key])


def read_pickle(data: bytes, allowed: Collection[tuple[str, str]], *, stored: bool = False) -> Any:  # noqa: ANN401  # a pickle holds anything
    """Read the tree of values in a pickle: plain values, lists, tuples, dicts, ``Global``, ``Made`` and ``Stored``.

    Args:
        allowed: Module and name of the allowed globals. They are not imported either.
        stored: Whether it may refer to what is stored beside it.

    Raises:
        HostilePickleError: There is a global that is not allowed, or an opcode that models never need.
        ForeignPickleError: The pickle is incomplete or malformed.
    """
    machine = Machine(allowed, stored)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > MAX_OPCODES:
                raise HostilePickleError(f"more than {MAX_OPCODES:,} steps")
            if opcode.name == "STOP":
                return machine.pop()
            _step(machine, opcode.name, argument)
    except (ValueError, TypeError) as error:  # pickletools on damaged bytes; impossible dict keys
        raise ForeignPickleError(f"is not a whole pickle: {error}") from error
    raise ForeignPickleError("ends before its last step")


def _step(machine: Machine, opcode: str, argument: Any) -> None:  # noqa: ANN401  # pickletools gives anything
    if opcode in _LITERALS:
        machine.push(argument)
    elif opcode in _CONSTANTS:
        machine.push(_CONSTANTS[opcode])
    elif opcode in _EMPTY:
        machine.push(_EMPTY[opcode]())
    elif opcode in _ACTIONS:
        _ACTIONS[opcode](machine, argument)
    elif opcode not in _NOTHING:
        raise HostilePickleError(f"the step {opcode}")


def _append(machine: Machine, _: object) -> None:
    value = machine.pop()
    machine.top(list).append(value)


def _appends(machine: Machine, _: object) -> None:
    values = machine.pop_mark()
    machine.top(list).extend(values)


def _set_item(machine: Machine, _: object) -> None:
    key, value = machine.pop_many(2)
    machine.top(dict)[_key(key)] = value


def _set_items(machine: Machine, _: object) -> None:
    items = machine.pop_mark()
    machine.top(dict).update(_pairs(items))


def _dict(machine: Machine, _: object) -> None:
    machine.push(_pairs(machine.pop_mark()))


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _key(key: object) -> str | float | Made | None:
    # Only plain keys, and Made, which is hashed by identity: the hash of a nested tuple can take for ever.
    if not isinstance(key, str | int | float | Made | None):
        raise ForeignPickleError(f"has a {type(key).__name__} as a key")
    return key


def _build(machine: Machine, _: object) -> None:
    state = machine.pop()
    if not isinstance(machine.top(object), dict):  # What a dict has beside its items, PyTorch's remarks, is left out.
        machine.top(Made).state = state


def _stored(machine: Machine, _: object) -> None:
    if not machine.stored:
        raise HostilePickleError("the step BINPERSID")
    machine.push(Stored(machine.pop()))


def _new_object(machine: Machine, _: object) -> None:
    machine.call(*machine.pop_many(2))


def _stack_global(machine: Machine, _: object) -> None:
    machine.name(*machine.pop_many(2))


def _global(machine: Machine, argument: Any) -> None:  # noqa: ANN401  # pickletools gives anything
    machine.name(*str(argument).split(" ", 1))


def _memoize(machine: Machine, _: object) -> None:
    machine.remember(len(machine.memo))


def _put(machine: Machine, argument: Any) -> None:  # noqa: ANN401  # pickletools gives anything
    machine.remember(int(argument))


def _get(machine: Machine, argument: Any) -> None:  # noqa: ANN401  # pickletools gives anything
    machine.recall(int(argument))


def _pop_mark(machine: Machine, _: object) -> None:
    machine.pop_mark()


def _duplicate(machine: Machine, _: object) -> None:
    machine.push(machine.top(object))


def _tuple_of(count: int) -> Callable[[Machine, Any], None]:
    return lambda machine, _: machine.push(machine.pop_many(count))


_LITERALS = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
_NOTHING = frozenset({"PROTO", "FRAME"})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: dict[str, Callable[[], object]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list}
"""A set is read as a list: hashing its members can take for ever."""
_ACTIONS: dict[str, Callable[[Machine, Any], None]] = {
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": _pop_mark,
    "DUP": _duplicate,
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_mark())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "FROZENSET": lambda machine, _: machine.push(tuple(machine.pop_mark())),
    "LIST": lambda machine, _: machine.push(machine.pop_mark()),
    "DICT": _dict,
    "APPEND": _append,
    "APPENDS": _appends,
    "ADDITEMS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "PUT": _put,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _memoize,
    "GET": _get,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _new_object,
    "NEWOBJ": _new_object,
    "BUILD": _build,
    "BINPERSID": _stored,
}
