"""Every piece of advice that the code gives, and what in it does not exist: options, commands, settings, calls."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from cli.main import app
from functions.status.problems import HTTP_CODES
from jobs.inference.schemas import TaskEnvironment
from shared.domain.all_errors import all_errors
from shared.domain.options import PARSERS
from shared.domain.submission import State
from shared.h5ad.judge.cautions import WarningCode
from shared.settings import ENV_FILE, Settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("shared", "functions", "jobs", "cli")
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))

OUR_COMMANDS = typer.main.get_command(app)
CODES = {kind.code for kind in all_errors()} | {*WarningCode, *State} | {code for code, *_ in HTTP_CODES.values()}
SETTINGS = {f"CELLDROP_{name.upper()}" for name in Settings.model_fields} | {ENV_FILE}
OTHER_VARIABLES = {
    *(f"CELLDROP_{name.upper()}" for name in TaskEnvironment.model_fields),
    *(str(field.validation_alias) for field in TaskEnvironment.model_fields.values()),
    "CELLDROP_WRITE_DOCS",
}
MODULES = {"adata": "anndata.AnnData", "sc": "scanpy", "ad": "anndata", "pd": "pandas", "np": "numpy"}
LIBRARIES = ("anndata", "scanpy", "pandas", "scipy", "numpy")
PLACEHOLDER = "{}"

_CALL = re.compile(rf"(?<![\w.])({'|'.join((*MODULES, *LIBRARIES))})\.([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\([^()]*\))?")
_KEYWORD = re.compile(r"(?:^|[(,]\s*)([a-z_]\w*)=")
_OURS = re.compile(r"`?celldrop ((?:models |shards )?[a-z]+)([^`\n]*)")
_NO_COMMAND = {"again", "that", "wrote", "is", "with", "model", "works", "itself"}
_FOREIGN_COMMAND = re.compile(r"\b(gcloud|gh|docker|terraform|git|make|kubectl|pip|bq|python)\b|^--|--format=")


def strings() -> Iterator[tuple[str, str]]:
    """Every string of the code with where it stands; an f-string is one, with ``{}`` for what it puts in."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
            for node in ast.walk(tree):
                if isinstance(node, ast.JoinedStr) or (_is_text(node) and id(node) not in inside):
                    yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", _text(node)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if _is_text(part) else PLACEHOLDER for part in node.values)
    assert isinstance(node, ast.Constant)
    return str(node.value)


def wrong(text: str) -> list[str]:
    """What a text names that does not exist."""
    return [*_wrong_options(text), *_wrong_commands(text), *_wrong_settings(text), *_wrong_calls(text)]


def wrong_codes(page: str) -> list[str]:
    """Codes that a page of the reference names and that nobody gives."""
    named = set(re.findall(r"`([A-Z]{2,}(?:_[A-Z0-9]+)+)`", page))
    return sorted(name for name in named - CODES - SETTINGS - OTHER_VARIABLES if not name.endswith(("_ID", "_TOKEN")))


def _all_options(command: Any) -> set[str]:
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return own.union({"--help"}, *(_all_options(child) for child in getattr(command, "commands", {}).values()))


def _wrong_options(text: str) -> Iterator[str]:
    if not _FOREIGN_COMMAND.search(text):
        known = _all_options(OUR_COMMANDS)
        yield from (name for name in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text) if name not in known)
    for key, value in re.findall(r"(?:--set|option|options) `?([a-z_]+)=([^\s`,.;)]+(?:\.\d+)?)", text):
        if key not in PARSERS:
            yield f"{key}={value}"
        elif not re.search(r"[A-Z{}]{2}|^N$|^\[", value.removeprefix("layers/")):
            yield from _unread(key, value)


def _unread(key: str, value: str) -> Iterator[str]:
    try:
        PARSERS[key].parse(value)
    except (ValueError, KeyError):
        yield f"{key}={value}"


def _wrong_commands(text: str) -> Iterator[str]:
    for named, arguments in _OURS.findall(text):
        command: Any = OUR_COMMANDS
        words = named.split()
        if words[0] in _NO_COMMAND:
            continue
        for word in words:
            command = getattr(command, "commands", {}).get(word)
            if command is None:
                yield f"celldrop {named}"
                break
        else:
            options = re.findall(r"(?<!\S)--[a-z][a-z-]*", arguments)
            yield from (f"celldrop {named} {name}" for name in options if name not in _all_options(command))


def _wrong_settings(text: str) -> Iterator[str]:
    for named in re.findall(r"CELLDROP_[A-Z{}_]*[A-Z{}]", text):
        pattern = re.escape(named).replace(r"\{\}", "[A-Z_]+")
        if not any(re.fullmatch(pattern, known) for known in SETTINGS | OTHER_VARIABLES):
            yield named


def _wrong_calls(text: str) -> Iterator[str]:
    for start, path, arguments in _CALL.findall(text):
        found: Any = _resolved(f"{MODULES.get(start, start)}.{path}", text)
        if found is None:
            yield f"{start}.{path}"
        elif arguments and callable(found):
            taken = inspect.signature(found).parameters.values()
            names = {one.name for one in taken}
            if not any(one.kind is one.VAR_KEYWORD for one in taken):
                yield from (f"{start}.{path}({name}=)" for name in _KEYWORD.findall(arguments) if name not in names)


def _resolved(path: str, text: str) -> Any:
    """What a dotted path names, as far as it can be followed: an instance's own attributes end it."""
    words = path.split(".")
    found: Any = importlib.import_module(words[0])
    for place, word in enumerate(words[1:], start=1):
        try:
            found = getattr(found, word)
        except AttributeError:
            try:
                found = importlib.import_module(".".join(words[: place + 1]))
            except ImportError:
                return None
        if isinstance(found, property):
            return text
    return found
