"""What lies at the top: the version and the licence are said once, and everywhere the same."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_command_line_says_its_version() -> None:
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.stdout) == (0, f"celldrop {version('celldrop')}\n")


def test_the_citation_is_of_this_version_and_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_the_version_has_a_dated_section_of_changes() -> None:
    released = yaml.safe_load((ROOT / "CITATION.cff").read_text())["date-released"]
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:2] == ["Unreleased", f"{PROJECT['version']} ({released})"]


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())]
    inside = [(page, link) for page, link in links if not link.startswith(("http://", "https://"))]
    assert len(inside) > 50
    assert [f"{page.name}: {link}" for page, link in inside if not (page.parent / link).exists()] == []


TYPED = re.compile(r"^(?:[A-Z_]+=\S+ )?celldrop ", re.MULTILINE)
SENTENCE = "ype the commands in the checkout after `. .venv/bin/activate` ([README](../../README.md#try-it))."


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/how-to/*.md")), ids=lambda page: page.name)
def test_before_its_first_command_a_page_says_how_the_command_is_found(page: Path) -> None:
    text = page.read_text()
    blocks = re.finditer(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    first = next((block.start() for block in blocks if TYPED.search(block[1])), None)
    assert (first is None) or SENTENCE in text[:first], "newcomers have no celldrop on their PATH"


def test_the_readme_says_how_the_command_is_found_before_its_first_command() -> None:
    text = (ROOT / "README.md").read_text()
    commands = [found.start() for found in TYPED.finditer(text)]
    assert len(commands) > 5
    assert text.index("\n. .venv/bin/activate\n") < commands[0]
    assert text.index("\n## Try it\n") < text.index("\n. .venv/bin/activate\n")


def test_no_page_writes_the_command_in_another_way() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    assert [page.name for page in pages if "bin/celldrop" in page.read_text()] == []
