"""No pickle, however it is put together, runs anything on its way to being refused."""

from __future__ import annotations

import builtins
import importlib
import os
import pickle
import pickletools
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.modeling.celltypist import GLOBALS, import_celltypist
from jobs.modeling.unpickling import NUMPY_GLOBALS, PickledObject, open_pickle
from jobs.modeling.unpickling_child import read
from shared.domain.errors import UnsafeModelError, UnsupportedModelError
from tests.modeling_import.pickles import Runs, model_pickle

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = [*NUMPY_GLOBALS, *GLOBALS]


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


TOUCH = "touch {}"
HOSTILE: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda shell: pickle.dumps({"Model": Runs(os.system, shell)}),
    "builtins.eval, deep inside": lambda shell: pickle.dumps(
        {"Model": [{"a": (Runs(builtins.eval, f"__import__('os').system({shell!r})"),)}]}
    ),
    "subprocess by protocol 0": lambda shell: pickle.dumps(Runs(subprocess.check_call, shell.split()), protocol=0),
    "numpy.load of a pickle": lambda shell: pickle.dumps(Runs(np.load, shell, None, True)),
    "importlib": lambda _: pickle.dumps(Runs(importlib.import_module, "antigravity")),
    "a module that is numpy's": lambda shell: b"cnumpy.testing._private.utils\nrunstring\n(" + text(shell) + b"}tR.",
    "a dotted name through an allowed module": lambda shell: (
        b"\x80\x04" + stack_global("numpy", "ndarray.__class__.__base__") + text(shell) + b"\x85R."
    ),
    "names from the memo, kept in another order": lambda shell: (
        b"\x80\x04" + text("system") + b"\x94" + text("os") + b"\x94" + b"00" + b"h\x01h\x00\x93"
        + text(shell) + b"\x85R."
    ),
    "a name overwritten in the memo": lambda shell: (
        b"\x80\x04" + text("numpy") + b"q\x00" + text("posix") + b"q\x00" + b"00" + b"h\x00" + text("system") + b"\x93"
        + text(shell) + b"\x85R."
    ),
    "a name that is worked out": lambda shell: (
        b"\x80\x04" + stack_global("_codecs", "encode") + text("os") + text("latin1") + b"\x86R" + text("system")
        + b"\x93" + text(shell) + b"\x85R."
    ),
    "a call of what a call made": lambda shell: (
        b"\x80\x04" + stack_global("numpy", "dtype") + text("O8") + b"\x85R" + text(shell) + b"\x85R."
    ),
    "INST": lambda shell: b"(" + text(shell) + b"ios\nsystem\n.",
    "OBJ": lambda shell: b"(cos\nsystem\n" + text(shell) + b"o.",
    "an extension code": lambda _: b"\x80\x02\x82\x01.",
    "a persistent id": lambda _: b"Pos.system\n.",
    "NEWOBJ_EX": lambda _: b"\x80\x04" + stack_global("numpy", "dtype") + b")}\x92.",
    "a class of scikit-learn's that no model needs": lambda _: (
        b"\x80\x04" + stack_global("sklearn.utils._testing", "set_random_state") + b")R."
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_pickle_that_wants_to_run_something_is_refused_and_nothing_runs(name: str, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    path = tmp_path / "model.pkl"
    path.write_bytes(HOSTILE[name](TOUCH.format(trace)))
    with pytest.raises(UnsafeModelError) as caught:
        import_celltypist(path, name="x", version="1")
    assert not trace.exists()
    assert caught.value.code == "MODEL_UNSAFE"
    assert str(path) in caught.value.message


def test_the_global_that_was_asked_for_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Runs(os.system, "true")))
    with pytest.raises(UnsafeModelError, match=r"the global posix\.system"):
        import_celltypist(path, name="x", version="1")


def laughs() -> bytes:
    """Ten lists of ten of the former, 30 times over: 10**30 values from 400 bytes."""
    body = b"\x80\x04" + text("ha") + b"\x94"
    for level in range(30):
        body += b"(" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"t\x94" + b"0"
    return body + b"h\x1e."


GREEDY = {
    "nested references": laughs(),
    "a list within itself": b"\x80\x04]\x94h\x00a.",
    "deep nesting": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a memo at the end of the world": b"\x80\x04Nr\xff\xff\xff\xff.",
    "an endless integer": b"\x80\x04\x8b" + struct.pack("<i", 2**20) + b"\x7f" * 2**20 + b".",
}


@pytest.mark.parametrize("name", GREEDY)
def test_a_pickle_that_wants_too_much_is_refused(name: str) -> None:
    with pytest.raises((UnsafeModelError, UnsupportedModelError)):
        import_from(GREEDY[name])


def import_from(data: bytes) -> object:
    value = open_pickle(data, GLOBALS, where="here")
    if not isinstance(value, dict):
        raise UnsupportedModelError("not a model")
    return value


@pytest.mark.parametrize(
    "act",
    [
        "open('/etc/hostname')",
        "open({trace!r}, 'w')",
        "__import__('os').system('touch {trace}')",
        "__import__('socket').socket()",
        "__import__('antigravity')",
        "exec('1')",
        "bytearray(2**31)",
    ],
)
def test_the_reading_process_could_not_act_even_if_it_were_made_to(act: str, tmp_path: Path) -> None:
    trace = str(tmp_path / "ran")
    lines = ["import os, socket", "from jobs.modeling.unpickling_child import confine", "confine(2**29, 10)"]
    code = "\n".join([*lines, act.format(trace=trace), "os.write(1, b'acted')"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False)
    assert done.returncode != 0
    assert b"acted" not in done.stdout
    assert not Path(trace).exists()


FOREIGN = {
    "nothing": b"",
    "text": b"gene,cell\n1,2\n",
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(64),
    "zip": b"PK\x03\x04" + bytes(64),
    "no end": b"\x80\x04}",
    "bytes longer than the file": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x",
    "nothing on the stack": b"\x80\x04R.",
    "a mark that is not there": b"\x80\x04t.",
    "below a mark": b"\x80\x04]((Na.",
    "something never kept": b"\x80\x04h\x07.",
    "items without a key": b"\x80\x04}(Nu.",
    "an unhashable key": b"\x80\x04}]Ns.",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_a_whole_pickle_is_told(name: str) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        import_from(FOREIGN[name])
    assert caught.value.code == "MODEL_UNSUPPORTED"


def test_a_model_cut_anywhere_is_refused() -> None:
    whole = model_pickle(["a", "b", "c"])
    for length in range(0, len(whole) - 1, 7):
        answer, _ = read(whole[:length], ALLOWED)
        assert "foreign" in answer, length


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_model_never_breaks_its_reader(data: st.DataObject) -> None:
    damaged = bytearray(model_pickle(["a", "b", "c"], protocol=data.draw(st.sampled_from([2, 4, 5]))))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    answer, _ = read(bytes(damaged), ALLOWED)
    assert answer.keys() <= {"value", "hostile", "global", "foreign"}


ARRAYS: list[Any] = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(3, dtype=">f8"),
    np.array(["B cell", "T cell, naïve"]),
    np.array(["B cell", None, 3], dtype=object),
    np.array([True, False]),
    np.float64(0.5),
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_come_out_as_they_went_in(protocol: int) -> None:
    found = open_pickle(pickle.dumps(ARRAYS, protocol=protocol), (), where="here")
    assert isinstance(found, list)
    for one, other in zip(found, ARRAYS, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype.kind == other.dtype.kind


@pytest.mark.parametrize(
    "array",
    [np.zeros(2, [("a", "f4"), ("b", "i4")]), np.zeros(2, "M8[s]"), np.zeros(2, complex), np.zeros((2, 2, 2))],
    ids=str,
)
def test_arrays_of_other_types_are_refused(array: Any) -> None:
    with pytest.raises(UnsupportedModelError, match="array"):
        open_pickle(pickle.dumps(array), (), where="here")


def test_an_array_with_too_few_bytes_is_refused() -> None:
    whole = pickle.dumps(np.arange(4.0), protocol=4)
    with pytest.raises(UnsupportedModelError, match="array"):
        open_pickle(whole.replace(b"\x4b\x04\x85", b"\x4b\x05\x85"), (), where="here")


def test_objects_are_names_with_attributes_and_no_classes() -> None:
    value = open_pickle(model_pickle(["a", "b", "c"], sgd=True), GLOBALS, where="here")
    assert isinstance(value, dict)
    assert isinstance(value["Model"], PickledObject)
    assert value["Model"].kind == "sklearn.linear_model._stochastic_gradient.SGDClassifier"


def test_the_reader_needs_no_opcode_that_it_refuses() -> None:
    used = {opcode.name for opcode, _, _ in pickletools.genops(model_pickle(["a", "b"], sgd=True, protocol=5))}
    assert used.isdisjoint({"INST", "OBJ", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEWOBJ_EX"})
