"""The page that compares celldrop with its peers, case by case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.peers_answers import ENOUGH, GOOD, OTHER_RESULT, SHARE, TIMEOUT_S, Answer, Case, Outcome

DUE = {"same": "labels", "refuse": "a refusal", "any": "labels or a word"}
SHOWN = 90
"""Characters of an error or a warning."""
MARKS = {
    Outcome.RIGHT: "right",
    Outcome.REFUSED: "refused",
    Outcome.WARNED: "warned",
    Outcome.WRONG_WARNED: "**wrong, warned**",
    Outcome.WRONG: "**wrong**",
    Outcome.FAILED: "**failed**",
}
INTRODUCTION = """\
# The same files, given to others

Made on {date} by `python -m benchmarks.peers_on_cases`, with
{versions}.

{n} small files, nearly all of real blood cells, most of them rebuilt from what users reported of these and other tools
(the links). Each file comes with what is right: the labels of the same cells in clean form (raw counts, gene symbols);
a refusal; or either the labels or a word, which is a warning or a refusal. These files were used to mend celldrop, not
the others. The page shows what a tool guards against, and says nothing of how good its labels are.

- **scanpy's reader**: `scanpy.read_h5ad`, and `scanpy.read_10x_h5` for a `.h5`. It opens the file, or raises.
- **CellTypist, X as it is**: `celltypist.annotate(adata, model)`, default options, on what that reader gives. It
  refuses counts, whatever else is right or wrong with the file: such a refusal is a failure where labels are due, and
  right where a refusal is.
- **CellTypist, by the tutorial**: the same, but where the tutorial's check fails (`adata.X.expm1().sum(axis=1)` is not
  10,000 in every cell) and X has no negative value, X goes through `scanpy.pp.normalize_total(adata, target_sum=1e4)`
  and `scanpy.pp.log1p(adata)` first.
- **CellTypist, the better of the two**: somebody who picks the right one of these ways for every file.
- **celldrop**: `celldrop run FILE`, default options but for the report's map, which is off{ours}.

Each tool is held against its own labels of the clean form, with its own model of the same eight sorted populations:
celldrop's `pbmc-sorted`, and one that `celltypist.train` made of the same cells and the same 3,000 genes by its
defaults. At least {enough} of the labels equal, or the tolerance of the case, is right; the number in a cell is that
share. Where a refusal is right, any error counts as one, however it is worded. A warning is what a user sees: a line
of CellTypist's log or a Python warning that is shown, and celldrop's warning codes. CellTypist ran in an environment of
its own with what it requires and no more; without hdf5plugin the reader opens no file compressed by lz4, zstd or such.
Each step on a file was given {timeout} s.
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """One case, by tool."""

    case: Case
    read: Mapping[str, Any]
    as_it_is: Answer
    by_the_tutorial: Answer
    celldrop: Answer

    @property
    def better(self) -> Answer:
        """CellTypist's better way."""
        return min(self.as_it_is, self.by_the_tutorial, key=lambda one: list(Outcome).index(one.outcome))


TOOLS: dict[str, Callable[[Compared], Answer]] = {
    "CellTypist, X as it is": lambda one: one.as_it_is,
    "CellTypist, by the tutorial": lambda one: one.by_the_tutorial,
    "CellTypist, the better of the two": lambda one: one.better,
    "celldrop": lambda one: one.celldrop,
}

WEIGHED = [TOOLS[tool] for tool in ("celldrop", "CellTypist, the better of the two", "CellTypist, by the tutorial")]


def page(found: Sequence[Compared], versions: Mapping[str, str], *, ours_before: bool) -> str:
    """The whole of it, in Markdown.

    Args:
        ours_before: Whether celldrop's results are those of an earlier run.
    """
    ours = ";\n  an earlier run of the same files, judged by the same program" if ours_before else ""
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    head = INTRODUCTION.format(date=date, versions=told, n=len(found), enough=ENOUGH, timeout=TIMEOUT_S, ours=ours)
    parts = [head, "## By tool\n", *_summary(found), "", *_reader(found), *_differences(found), "## By file\n"]
    return "\n".join([*parts, *_table(found), ""])


def _summary(found: Sequence[Compared]) -> Iterator[str]:
    yield "| tool | right in all | " + " | ".join(Outcome) + " |"
    yield "|---|" + "---|" * (1 + len(Outcome))
    for tool, of in TOOLS.items():
        counted = Counter(of(one).outcome for one in found)
        numbers = [sum(counted[kind] for kind in GOOD), *(counted[kind] for kind in Outcome)]
        yield f"| {tool} | " + " | ".join(map(str, numbers)) + " |"


def _reader(found: Sequence[Compared]) -> Iterator[str]:
    usable = [one for one in found if one.case.built["expect"] != "refuse"]
    opened = sum(not one.read["error"] for one in usable)
    yield f"scanpy's reader opens {opened} of the {len(usable)} files that hold usable cells.\n"


def _differences(found: Sequence[Compared]) -> Iterator[str]:
    ours, theirs, tutorial = ({one.case.name for one in found if _good(of(one))} for of in WEIGHED)
    neither = [one.case.name for one in found if one.case.name not in ours | theirs]
    yield f"- Right in celldrop, not in CellTypist by the tutorial: {len(ours - tutorial)} files."
    yield f"- Right in celldrop, in neither way of CellTypist: {len(ours - theirs)}."
    yield f"- Right in CellTypist, one way or the other, and not in celldrop: {_named(sorted(theirs - ours))}."
    yield f"- Right in none: {_named(neither)}.\n"


def _named(names: Sequence[str]) -> str:
    return f"{len(names)}" + (f" ({', '.join(f'`{name}`' for name in names)})" if names else "")


def _good(one: Answer) -> bool:
    return one.outcome in GOOD


def _table(found: Sequence[Compared]) -> Iterator[str]:
    header = (
        "case",
        "situation",
        "due",
        "scanpy's reader",
        *(f"CellTypist, {way}" for way in ("as it is", "tutorial")),
    )
    yield "| " + " | ".join((*header, "celldrop")) + " |"
    yield "|---|---|---|---|---|---|---|"
    for one in found:
        case, answers = one.case, (one.as_it_is, one.by_the_tutorial, one.celldrop)
        reader = f"`{one.read['error']}`" if one.read["error"] else "opens"
        cells = (f"`{case.name}`", _situation(case), DUE[case.built["expect"]], reader, *map(_cell, answers))
        yield "| " + " | ".join(cells) + " |"


def _situation(case: Case) -> str:
    said = _plain(case.situation)
    return f"[{said}]({case.source})" if "://" in case.source else said


def _cell(one: Answer) -> str:
    if match := SHARE.fullmatch(one.got):
        words = f"; {_short(match['words'])}" if match["words"] else ""
        return f"{MARKS[one.outcome]} {match['share']}{words}"
    if match := OTHER_RESULT.fullmatch(one.got):
        return f"{MARKS[one.outcome]}: gave labels" + (f"; {_short(match['words'])}" if match["words"] else "")
    between = "; " if one.outcome is Outcome.RIGHT else ": "
    return MARKS[one.outcome] + (between + _short(one.got) if one.got else "")


def _short(words: str) -> str:
    """So much of some words as a table bears; between codes it may break a line."""
    words = words.replace(",", ", ").replace(",  ", ", ")
    return _plain(words if len(words) <= SHOWN else words[: SHOWN - 2].rstrip() + " …")


def _plain(words: str) -> str:
    """Without what Markdown or HTML would take for its own."""
    for mark in "\\`*_[]<>|":
        words = words.replace(mark, f"\\{mark}")
    return words
