"""Renders the report as a single HTML file that needs no network: style and script are inside, all text is escaped."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jobs.inference.report import wording
from jobs.inference.report.data import ReportData
from shared.domain.words import shortened

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
    )
    pages.filters.update(whole=wording.whole, percent=wording.percent, shortened=shortened)
    return pages


def style() -> str:
    """The style of all pages."""
    return (_FOLDER / "report.css").read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """The script's hash, by which the page's content security policy allows only this script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
