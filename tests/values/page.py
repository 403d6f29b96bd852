"""A page of the docs that several tests write, each a section of its own."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "files.md"


def section(heading: str) -> str:
    """The section under a heading of the first level, with its heading; empty where there is none."""
    return next((part for part in _parts() if part.startswith(f"# {heading}\n")), "")


def write_section(heading: str, text: str) -> None:
    """Put a section in place of the one of that heading, or behind the others."""
    parts = _parts()
    if section(heading):
        parts = [text if part.startswith(f"# {heading}\n") else part for part in parts]
    else:
        parts.append(text)
    PAGE.write_text("\n".join(part.rstrip("\n") + "\n" for part in parts))


def _parts() -> list[str]:
    lines = PAGE.read_text().splitlines(keepends=True)
    starts = [place for place, line in enumerate(lines) if line.startswith("# ")]
    return ["".join(lines[a:b]).rstrip("\n") + "\n" for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
