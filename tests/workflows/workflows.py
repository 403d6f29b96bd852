"""The workflows as documents, and what they lean on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
SCRIPTS = ROOT / ".github" / "scripts"
MODULE = ROOT / "deploy" / "terraform"
PAGE = ROOT / "docs" / "how-to" / "operate.md"
NAMES = ("docker-workflow", "deploy-workflow", "test-workflow")
CALLED = ("docker-workflow", "deploy-workflow")

Document = dict[str, Any]


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.yml").read_text()


def workflow(name: str) -> Document:
    document: dict[Any, Any] = yaml.safe_load(text_of(name))
    # YAML 1.1 takes the word for a truth value.
    return {"on": document.pop(True), **document}


def jobs(name: str) -> list[Document]:
    return list(workflow(name)["jobs"].values())


def steps(name: str) -> Iterator[Document]:
    for job in jobs(name):
        yield from job["steps"]


def step_that_uses(name: str, action: str) -> list[Document]:
    return [step for step in steps(name) if step.get("uses", "").startswith(f"{action}@")]


def inputs(name: str, event: str) -> dict[str, Document]:
    found: dict[str, Document] = workflow(name)["on"][event]["inputs"]
    return found


def module_variables() -> set[str]:
    return {
        name
        for path in MODULE.glob("variables*.tf")
        for name in re.findall(r'^variable "(\w+)"', path.read_text(), re.MULTILINE)
    }
