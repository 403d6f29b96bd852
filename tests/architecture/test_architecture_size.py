"""Code stays readable: files and functions of a size that fits a head."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("functions", "jobs", "shared", "cli")
MAX_FILE_LINES = 400
MAX_MAIN_LINES = 40
MAX_FUNCTION_LINES = 50
SERVICES = ("functions/ingest", "functions/dispatch", "functions/reconcile", "functions/status", "jobs/inference")
SERVICE_MODULES = ("main", "services", "dependencies")
"""In every service. One that reads and writes data has a data_manager, one that parses input has schemas."""


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_a_file_fits_a_head() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_a_function_fits_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sources()
        for node in functions(path)
        if (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_the_median_function_is_short() -> None:
    lengths = sorted((node.end_lineno or 0) - node.lineno + 1 for path in sources() for node in functions(path))
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[int(len(lengths) * 0.9)] <= 30


@pytest.mark.parametrize("path", sorted((ROOT / "functions").glob("*/main.py")), ids=lambda path: path.parent.name)
def test_an_entry_point_only_parses_calls_and_maps(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_MAIN_LINES


def test_a_module_opens_with_one_sentence() -> None:
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in sources()}
    assert [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_modules_of_a_service(service: str) -> None:
    assert set(SERVICE_MODULES) <= {path.stem for path in (ROOT / service).glob("*.py")}
