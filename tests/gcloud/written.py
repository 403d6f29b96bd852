"""Where gcloud commands are written in this repository: pages, scripts, workflows, what Terraform tells."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.gcloud.shell import commands_of

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SHELLS = frozenset({"", "sh", "bash", "shell"})
_SPAN = re.compile(r"`(gcloud [^`]+)`")
_HCL_STRING = re.compile(r'"((?:[^"\\\n$]|\\.|\$\{[^}\n]*\}|\$)*)"')
_HCL_GAP = re.compile(r"\$\{[^}]*\}")
_SHEBANG = re.compile(r"#!.*\b(?:ba|da)?sh\b")


@dataclass(frozen=True, slots=True)
class Written:
    """A command, and the file that it stands in."""

    path: str
    words: tuple[str, ...]
    in_prose: bool = False
    """In a sentence, where a command may be named without its operands."""


def files_of(root: Path) -> list[Path]:
    """Every file that git has, or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := root / name).is_file()]


def written_commands(root: Path, first: str) -> Iterator[Written]:
    """The commands of one program in all files; those of our tests and of Python's own text are proved elsewhere."""
    for path in files_of(root):
        name = str(path.relative_to(root))
        if not name.startswith("tests/"):
            for written in commands_in_file(path, name):
                if written.words[0] == first:
                    yield written


def commands_in_file(path: Path, name: str) -> Iterator[Written]:
    """Every command in a file, by its kind."""
    match path.suffix:
        case ".md":
            yield from _in_page(name, path.read_text())
        case ".yml" | ".yaml":
            yield from _in_scripts(name, runs_of(yaml.safe_load(path.read_text())))
        case ".tf" | ".hcl":
            yield from _in_terraform(name, path.read_text())
        case "" | ".sh":
            yield from _in_scripts(name, shell_scripts([path]))
        case _:
            pass


def shell_scripts(paths: Iterable[Path]) -> Iterator[str]:
    """The text of those files that say that a shell reads them."""
    for path in paths:
        start = path.read_bytes()[:80].partition(b"\n")[0].decode(errors="replace")
        if _SHEBANG.match(start):
            yield path.read_text()


def runs_of(document: object) -> Iterator[str]:
    """The shell parts of a workflow, or of whatever has a `run`."""
    match document:
        case dict():
            for key, value in document.items():
                if key == "run" and isinstance(value, str):
                    yield value
                else:
                    yield from runs_of(value)
        case list():
            for value in document:
                yield from runs_of(value)
        case _:
            pass


def shell_blocks(page: str) -> Iterator[str]:
    """The fenced blocks of a page that are for a shell."""
    for _, language, body in _BLOCK.findall(page):
        if language in _SHELLS:
            yield body


def _in_scripts(name: str, scripts: Iterable[str]) -> Iterator[Written]:
    for script in scripts:
        for words in commands_of(script):
            yield Written(name, tuple(words))


def _in_page(name: str, page: str) -> Iterator[Written]:
    for body in shell_blocks(page):
        # Blocks without a language may be drawings.
        if re.search(r"\b(?:gcloud|gh|terraform) ", body):
            yield from _in_scripts(name, [body])
    for span in _SPAN.findall(_BLOCK.sub("", page)):
        for words in commands_of(" ".join(span.split())):
            yield Written(name, tuple(words), in_prose=True)


def _in_terraform(name: str, text: str) -> Iterator[Written]:
    for value in _HCL_STRING.findall(text):
        if value.startswith("gcloud "):
            yield from _in_scripts(name, [_HCL_GAP.sub("name-1", value)])
        else:
            yield from _in_page(name, value)
