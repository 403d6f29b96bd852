"""Logs at a terminal are one readable line each, whatever is in their fields."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from shared.telemetry import configure, event

EVIL = "a\x1b[2J\x9b31m\u202eb\r\nforged"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    found = logging.getLogger()
    handlers, level = found.handlers, found.level
    yield found
    found.handlers = handlers
    found.setLevel(level)


def logged(log_format: str, root: logging.Logger) -> str:
    stream = io.StringIO()
    configure(log_format, "INFO", stream)
    try:
        int(EVIL)
    except ValueError:
        root.exception("it said %s", EVIL)
    event(root, "answered", path=EVIL)
    return stream.getvalue()


def test_nothing_in_a_text_log_moves_the_cursor_or_forges_a_line(root: logging.Logger) -> None:
    text = logged("text", root)
    assert not set("\x1b\x9b\u202e\r") & set(text)
    assert r"path=a\x1b[2J\x9b31m\u202eb\r\nforged" in text
    assert "Traceback (most recent call last):\n" in text


def test_a_json_log_has_a_line_an_event(root: logging.Logger) -> None:
    first, second = (json.loads(line) for line in logged("json", root).splitlines())
    assert (first["severity"], second["path"]) == ("ERROR", EVIL)
