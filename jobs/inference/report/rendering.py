"""The report as one HTML file that asks nothing of any network: style and script inside, everything escaped."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jobs.inference.report import wording
from jobs.inference.report.data import ReportData

_FOLDER = Path(__file__).parent


def render(data: ReportData) -> bytes:
    """The report's bytes; the same data gives the same."""
    pages = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(whole=wording.whole, percent=wording.percent, shortened=wording.shortened)
    script = (_FOLDER / "report.js").read_text(encoding="utf-8")
    page = pages.get_template("report.html.j2").render(
        data=data, style=(_FOLDER / "report.css").read_text(encoding="utf-8"), script=script, script_hash=_hash(script)
    )
    return page.encode()


def _hash(script: str) -> str:
    """The only script that the page's policy lets run is this one."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
