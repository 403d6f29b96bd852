"""The simple commands in a piece of shell, as words: enough of the grammar for our own scripts and pages."""

from __future__ import annotations

import re
from collections.abc import Iterator

_INNER = r"\$\((?:[^()]|\([^()]*\))*\)"
_TOKEN = re.compile(
    rf"""
      (?P<comment>(?<![^\s;&|()])\#[^\n]*)
    | (?P<joined>\\\n)
    | (?P<escaped>\\.)
    | (?P<single>'[^']*')
    | (?P<double>"(?:[^"\\$]|\\.|{_INNER}|\$)*")
    | (?P<inner>{_INNER})
    | (?P<end>[\n;&|()]+)
    | (?P<redirect>\d*[<>]+&?)
    | (?P<blank>[^\S\n]+)
    | (?P<plain>[^\s'"\\$;&|()<>]+|\$)
    """,
    re.VERBOSE | re.DOTALL,
)
_BEFORE = frozenset({"if", "then", "elif", "else", "do", "while", "until", "!", "{", "exec", "sudo", "time"})
_ASSIGNMENT = re.compile(r"\w+=")
ANSWER = "ANSWER"
"""Stands for what a command in $(…) would print."""


class ShellError(ValueError):
    """Text that is no shell, or more of it than is known here."""


def commands_of(script: str) -> Iterator[list[str]]:
    """Every simple command, those in $(…) as well, without assignments and redirections.

    Raises:
        ShellError: A quote is not closed.
    """
    for inner in re.findall(_INNER, _without_comments(script)):
        yield from commands_of(inner[2:-1])
    for line in _split(script):
        words = iter(line)
        command = next((word for word in words if word not in _BEFORE and not _ASSIGNMENT.match(word)), None)
        if command is not None:
            yield [command, *words]


def _without_comments(script: str) -> str:
    return "".join(match[0] for match in _tokens(script) if match.lastgroup not in {"comment", "single"})


def _tokens(script: str) -> Iterator[re.Match[str]]:
    place = 0
    while place < len(script):
        match = _TOKEN.match(script, place)
        if match is None:
            raise ShellError(f"Found {script[place : place + 40]!r}; expected the quote to be closed.")
        yield match
        place = match.end()


def _split(script: str) -> Iterator[list[str]]:
    words: list[str] = []
    word: str | None = None
    after_redirect = False
    for match in (*_tokens(script), _TOKEN.match("\n")):
        assert match is not None
        kind = match.lastgroup or ""
        if kind in _WORDS:
            word = (word or "") + _meant(kind, match[0])
            continue
        if word is not None and not after_redirect:
            words.append(word)
        after_redirect = kind == "redirect" or (after_redirect and word is None)
        word = None
        if kind == "end":
            yield words
            words = []


_WORDS = frozenset({"escaped", "single", "double", "inner", "plain"})


def _meant(kind: str, text: str) -> str:
    if kind == "double":
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    elif kind == "single":
        return text[1:-1]
    elif kind == "escaped":
        return text[1:]
    return re.sub(_INNER, ANSWER, text)
