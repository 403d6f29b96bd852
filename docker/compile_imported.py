"""Compiles what celldrop imports, wherever its code says so, and leaves the rest of its libraries as source.

A start then compiles nothing, and the image does not carry bytecode of what it never loads: nine tenths of a library.
Bytecode is unchecked: the files of an image never change, and a start need not look at each of them.
"""

from __future__ import annotations

import ast
import compileall
import importlib
import importlib.util
import os
import py_compile
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

MODE = py_compile.PycInvalidationMode.UNCHECKED_HASH


def main(folders: Sequence[str]) -> bool:
    """Compile the source folders, and every module that an import statement anywhere in them loads.

    Raises:
        ImportError: Something that is installed cannot be imported.
    """
    for name in sorted({name for folder in folders for path in Path(folder).rglob("*.py") for name in imported(path)}):
        _load(name)
    files = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    for path in sorted(path for path in files if path.suffix == ".py" and path.is_relative_to(sys.prefix)):
        py_compile.compile(str(path), doraise=True, invalidation_mode=MODE)
    return all(compileall.compile_dir(folder, quiet=1, invalidation_mode=MODE) for folder in folders)


def imported(path: Path) -> Iterator[str]:
    """The modules that a source file's import statements name, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _load(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Not every part of celldrop is in every image; half a library is a fault of ours.
        if error.name is None or importlib.util.find_spec(error.name.partition(".")[0]) is not None:
            raise
        print(f"{name}: no {error.name} in this image")


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(Path.cwd()))
    done = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(0 if done else 1)  # Without the farewells of a hundred libraries that never met before.
