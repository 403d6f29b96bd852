"""Renders the report as a single HTML file that needs no network: style and script are inside, all text is escaped."""

from __future__ import annotations

import base64
import hashlib
import sys
from contextlib import suppress
from pathlib import Path

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from typing_extensions import override

from jobs.inference.report import wording
from jobs.inference.report.data import ReportData
from shared.domain.words import percent, shortened

_FOLDER = Path(__file__).parent


def render(data: ReportData) -> bytes:
    """Render the report to bytes. The same data gives the same bytes."""
    script = (_FOLDER / "report.js").read_text(encoding="utf-8")
    page = (
        templates(_FOLDER)
        .get_template("report.html.j2")
        .render(data=data, style=style(), script=script, script_hash=_hash(script))
    )
    return page.encode()


def templates(folder: Path) -> Environment:
    """The templates in a folder: what they are given is escaped, and a name that is not given is an error."""
    pages = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=None if sys.dont_write_bytecode else _Compiled(str(folder / "__pycache__"), "%s.j2c"),
    )
    pages.filters.update(whole=wording.whole, percent=percent, shortened=shortened, sentence=wording.sentence)
    return pages


class _Compiled(FileSystemBytecodeCache):
    """Compiled templates, beside the compiled modules: compiling the report's takes a tenth of a small file's run."""

    @override
    def dump_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):  # A folder that cannot be written has no compiled modules either.
            Path(self.directory).mkdir(exist_ok=True)
            super().dump_bytecode(bucket)


def style() -> str:
    """The style of all pages."""
    return (_FOLDER / "report.css").read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """The script's hash, by which the page's content security policy allows only this script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
