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

This page compares celldrop with scanpy and CellTypist on {n} small, awkward files. Nearly all of them contain
real blood cells, and most were rebuilt from problems that users reported with these and other tools (see the
links). The page shows which problems a tool guards against. It does not show how good the tool's labels are.
These files were used to improve celldrop, but not the other tools.

It was made on {date} by `python -m benchmarks.peers_on_cases`, with
{versions}.

Each file has an expected result. It is one of these:

- the labels that the same cells get in clean form (raw counts, gene symbols);
- a refusal;
- either the labels, or a warning or a refusal.

The tools are:

- **scanpy's reader**: `scanpy.read_h5ad`, and `scanpy.read_10x_h5` for a `.h5`. It opens the file, or raises an
  exception.
- **CellTypist, X as it is**: `celltypist.annotate(adata, model)` with default options, on the result of that
  reader. It refuses counts, whether or not anything else is wrong with the file. Such a refusal is a failure
  where labels are expected, and correct where a refusal is expected.
- **CellTypist, by the tutorial**: the same, with the check from the tutorial. If `adata.X.expm1().sum(axis=1)`
  is not 10,000 in every cell, and X has no negative value, X is first processed with
  `scanpy.pp.normalize_total(adata, target_sum=1e4)` and `scanpy.pp.log1p(adata)`.
- **CellTypist, the better of the two**: the result for a user who chooses the better of these two ways for
  every file.
- **celldrop**: `celldrop run FILE` with default options, except that the report's map is off{ours}.

Each tool is compared with its own labels of the clean form. It uses its own model of the same eight sorted
populations: `pbmc-sorted` for celldrop, and for CellTypist a model that `celltypist.train` made with default
options from the same cells and the same 3,000 genes. A result is right if at least {enough} of the labels are
equal, or as many as the tolerance of the case allows. The number in a cell of the table is that share. Where a
refusal is expected, any error counts as a refusal, whatever its wording. A warning is anything that a user
sees: a line in CellTypist's log, a Python warning that is shown, or a warning code of celldrop.

CellTypist ran in a separate environment with only the packages that it requires. Without hdf5plugin, the reader
cannot open files compressed with lz4, zstd and similar. Each step on a file was given {timeout} s.
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
    ours = (
        ".\n  Its results are from an earlier run of the same files, judged by the same program" if ours_before else ""
    )
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
