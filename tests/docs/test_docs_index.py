"""The front page of the documentation leads to every page, and its drawing of the packages is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
INDEX = (DOCS / "index.md").read_text()


def links() -> list[str]:
    return [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", INDEX) if "://" not in link]


def arrows() -> list[tuple[str, str]]:
    """The arrows of the second drawing, as folders: who imports whom."""
    _, house = re.findall(r"```mermaid\n(.*?)```", INDEX, re.DOTALL)
    folders = dict(re.findall(r'(\w+) ?\["([^"]+)"\]', house))
    return [(folders[a], folders[b]) for a, b in re.findall(r"(\w+)(?:\[[^\]]*\])? --> (\w+)", house)]


def imports(importer: str, imported: str) -> bool:
    """Whether a module of one package names another package in an import."""
    place = ROOT / importer
    files = list(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    assert files
    name = re.escape(imported.replace("/", "."))
    return any(re.search(rf"^\s*(?:from|import) {name}\b", file.read_text(), re.MULTILINE) for file in files)


def test_every_page_is_linked_from_the_index() -> None:
    pages = {path.resolve() for path in DOCS.rglob("*") if path.is_file()} - {DOCS / "index.md"}
    linked = {(DOCS / link).resolve() for link in links()}
    assert len(pages) > 30
    assert sorted(str(page.relative_to(DOCS)) for page in pages - linked) == []


def test_the_index_is_linked_from_the_readme() -> None:
    assert "](docs/index.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("importer", "imported"), arrows())
def test_an_arrow_of_the_house_is_an_import_and_nothing_points_back(importer: str, imported: str) -> None:
    assert imports(importer, imported)
    assert not imports(imported, importer)


def test_the_main_packages_are_drawn() -> None:
    drawn = {folder for arrow in arrows() for folder in arrow}
    assert drawn >= {"cli", "functions", "jobs/inference", "jobs/modeling", "jobs/engine", "shared", "shared/domain"}
