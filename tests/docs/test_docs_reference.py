"""What can be looked up is all there, and true."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.main import app
from functions.status import page
from functions.status.routes import ROUTES
from tools import reference_docs

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", sorted(reference_docs.ALL))
def test_a_page_made_from_the_code_is_as_the_code_is(name: str) -> None:
    page = ROOT / "docs" / "reference" / name
    assert page.read_text() == reference_docs.ALL[name](), "run `make docs`"


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.name)
def test_each_row_of_a_table_has_as_many_cells_as_its_head(page: Path) -> None:
    """A bar that is not escaped would begin another cell."""
    bars = [
        len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0 for line in page.read_text().splitlines()
    ]
    assert [
        place + 1 for place, (above, own) in enumerate(pairwise([0, *bars])) if above and own and above != own
    ] == []


def test_a_bar_in_a_cell_is_escaped_once() -> None:
    assert reference_docs.row("`a|b`", "c\\|d") == "| `a\\|b` | c\\|d |"


def test_the_page_on_http_has_every_route() -> None:
    written = {call for calls, _ in reference_docs.ROUTES for call in re.findall(r"[A-Z]+ /[^ ,?]*", calls)}
    sample = {"{id}": "0" * 32, "{name}": next(iter(page.ASSETS))}
    answered = set()
    for call in written:
        method, path = call.split()
        for place, value in sample.items():
            path = path.replace(place, value)
        found = [route for route in ROUTES if route.method == method and route.pattern.fullmatch(path)]
        assert len(found) == 1, call
        answered.add((method, found[0].pattern))
    assert answered == {(route.method, route.pattern) for route in ROUTES}


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", (ROOT / "README.md").read_text())) <= targets


def test_every_command_in_the_readme_exists() -> None:
    known = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    pages = [ROOT / "README.md", *ROOT.glob("docs/how-to/*.md")]
    written = "\n".join(page.read_text() for page in pages)
    commands = set(re.findall(r"^celldrop (models \w+|shards \w+|[a-z]+)", written, re.MULTILINE))
    assert {"run", "validate", "serve", "models import"} <= commands
    assert [command for command in sorted(commands) if f"## `celldrop {command}`" not in known] == []


@pytest.mark.parametrize("name", ["import", "train", "index", "evaluate", "list", "show"])
def test_the_folder_of_models_has_one_name(name: str) -> None:
    """``--models``; ``--out``, as it was called, is still understood where it does not mean a folder of figures."""
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    (said,) = re.findall(rf"^## `celldrop models {name}`\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert re.search(r"^- `--models` The folder of bundles.*CELLDROP_MODELS_DIR", said, re.MULTILINE)
    assert ("- `--out` " in said) == (name == "evaluate")
    models: Any = typer.main.get_command(app)
    command = models.commands["models"].commands[name]
    assert "--out" in {spelling for option in command.params for spelling in option.opts}
