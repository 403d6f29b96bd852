"""The report: what it says is what was counted, and nothing in it can run or call home."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.inference.merge.calls import Rules, Vocabulary
from jobs.inference.merge.groups import Merge, ordered
from jobs.inference.merge.survey import Findings, Survey
from jobs.inference.outputs.manifest import FileFacts, MissingFile
from jobs.inference.parts.part import AnnotatedBlock, PartLayout
from jobs.inference.report.data import ReportData
from jobs.inference.report.embedding import embed
from jobs.inference.report.gathering import COLOURS, Context, confusions, gather, label_rows
from jobs.inference.report.layouts import lay_out
from jobs.inference.report.mapping import HEIGHT, WIDTH, NoMap
from jobs.inference.report.rendering import render
from jobs.inference.report.wording import listing, size
from shared.bundles.card import Activation, Features, Label, ModelCard, Normalise, Training
from shared.bundles.kinds import LinearCard
from shared.domain.geometry import Rows
from shared.domain.verdict import (
    Finding,
    GeneIds,
    GeneSpace,
    MatrixChoice,
    MatrixEncoding,
    MatrixState,
    Overlap,
    Severity,
    Species,
    Verdict,
)
from shared.domain.words import percent, shortened
from shared.h5ad.read.embedding import Coordinates
from tests.outputs.stand_ins import Draws, Shelf, facts_without_counts, keep_part, merge_of

PROJECT = Path(__file__).parents[2]
TEMPLATES = (PROJECT / "jobs" / "inference" / "report", PROJECT / "cli")
EVIL = "<script>alert(1)</script>\"'&<img src=//x onerror=y>"
VERDICT = Verdict(
    n_cells=900,
    matrix=MatrixChoice("X", MatrixState.COUNTS, "Whole numbers.", MatrixEncoding.CSR, "float32", 900, 50, 99, "var"),
    considered=(("X", MatrixState.COUNTS), ("raw/X", MatrixState.SCALED)),
    genes=GeneSpace("_index", GeneIds.SYMBOL, Species.HUMAN, n_duplicates=2),
    overlap=Overlap(100, 61),
    findings=(Finding("LOW_OVERLAP", Severity.WARNING, f"Few genes {EVIL}.", "Use another file."),),
)


def card_of(labels: tuple[Label, ...], activation: Activation = Activation.SIGMOID) -> ModelCard:
    return LinearCard(
        name="demo",
        version="1",
        title=f"Demo {EVIL}",
        licence="CC BY 4.0",
        citation=f"Somebody {EVIL} https://doi.org/10.1/x",
        features=Features(symbol=("A", "B")),
        preprocessing=(Normalise(),),
        labels=labels,
        activation=activation,
        training=Training(method="celldrop models train", metrics={"macro_f1": 0.9}),
    )


def mapped(findings: Findings, context: Context, own: Coordinates | None = None) -> ReportData:
    """Gathered, with the map."""
    return gather(findings, context, lay_out(findings.sample, lambda: own))


def context_of(labels: tuple[Label, ...], min_score: float | None = None) -> Context:
    return Context(
        file_name=f"{EVIL}.h5ad",
        submission_id="abc",
        verdict=VERDICT,
        card=card_of(labels),
        min_score=min_score,
        composition=None,
        composition_wanted=True,
        files=(FileFacts(name="annotated.h5ad", size_bytes=1_234_567, crc32c=None, content_type="x", what="Yours."),),
        missing=(MissingFile(name="scores.parquet", reason="Not asked for."),),
        software={"torch": "2"},
        made_at=datetime(2026, 1, 5, 14, 3, tzinfo=UTC),
    )


def findings_of(merge: Merge) -> Findings:
    survey = Survey(merge)
    list(survey.tables())
    return survey.findings()


def clustered(n_cells: int, sizes: Mapping[str, float], prefix: str = "cell-") -> Merge:
    """Cells in clear groups of the given shares, so that the answer is known."""
    rng = np.random.default_rng(0)
    names = tuple(sizes)
    label_n = rng.choice(len(names), n_cells, p=np.array(list(sizes.values())) / sum(sizes.values()))
    decision_nl = (rng.normal(size=(n_cells, len(names))) - 4).astype(np.float32)
    decision_nl[np.arange(n_cells), label_n] += 9
    block_ids = [f"{prefix}{i}" for i in range(n_cells)]
    layout = PartLayout(n_cells, len(names), 2)
    genes_n = rng.lognormal(7, 0.5, n_cells).astype(np.int32)
    shelf = Shelf()
    probability_nl = (1 / (1 + np.exp(-decision_nl))).astype(np.float32)
    blocks = [
        AnnotatedBlock(
            rows,
            block_ids[rows.start : rows.stop],
            probability_nl[rows.start : rows.stop],
            decision_nl[rows.start : rows.stop],
            facts_without_counts(genes_n[rows.start : rows.stop]),
        )
        for rows in Rows(0, n_cells).blocks()
    ]
    receipt = keep_part(shelf, "part", blocks, layout, Rows(0, n_cells))
    return Merge(shelf, ordered([receipt], n_cells), layout, Vocabulary(tuple(Label(name=name) for name in names)))


class Parsed(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "input", "br", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)


@pytest.fixture(scope="module")
def evil_page() -> str:
    merge = clustered(300, {EVIL: 6, "B cell": 3, f"{EVIL} too": 1}, prefix=EVIL)
    context = context_of(merge.vocabulary.labels)
    return render(mapped(findings_of(merge), context)).decode()


def test_hostile_names_are_text_and_nothing_else(evil_page: str) -> None:
    parsed = Parsed(evil_page)
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert "img" not in {tag for tag, _ in parsed.tags}
    assert not [name for _, attrs in parsed.tags for name in attrs if name.startswith("on")]
    assert EVIL in " ".join(parsed.text)


def test_the_page_asks_nothing_of_any_network(evil_page: str) -> None:
    fetching = {"src", "srcset", "action", "poster", "data", "xlink:href", "background"}
    for tag, attrs in Parsed(evil_page).tags:
        assert tag not in {"link", "iframe", "object", "embed", "img", "base"}
        assert not fetching & set(attrs)
        assert (attrs.get("href") or "#").startswith("#")
    style = "".join(re.findall(r"<style>(.*?)</style>", evil_page, re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in evil_page


def test_the_policy_lets_only_our_script_run(evil_page: str) -> None:
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", evil_page)
    assert "script-src 'unsafe" not in evil_page


@pytest.mark.parametrize(
    "template", sorted(path for folder in TEMPLATES for path in folder.glob("*.j2")), ids=lambda path: path.name
)
def test_what_scrolls_sideways_can_be_reached_by_keyboard_and_has_a_name(template: Path) -> None:
    boxes = [attributes for _, attributes in Parsed(template.read_text()).tags if attributes.get("class") == "scroll"]
    for attributes in boxes:
        assert (attributes.get("tabindex"), attributes.get("role")) == ("0", "region")
        assert attributes.get("aria-label")
    assert boxes or '<table class="plain all' not in template.read_text()


def test_the_report_says_what_was_counted() -> None:
    merge = clustered(2000, {"CD4 T cell": 6, "B cell": 3, "NK cell": 1})
    findings = findings_of(merge)
    data = gather(findings, context_of(merge.vocabulary.labels), NoMap("No map was asked for."))
    assert data.headline.startswith("2,000 cells: most are called CD4 T cell (")
    assert [row.name for row in data.labels] == list(findings.tally.label_counts)
    assert sum(row.cells for row in data.labels) == 2000
    assert "3,401" not in render(data).decode()
    text = " ".join(Parsed(render(data).decode()).text)
    for expected in (
        "LOW_OVERLAP",
        "Use another file.",
        "61%",
        "annotated.h5ad",
        "1.2 MB",
        "Not asked for.",
        "CC BY 4.0",
    ):
        assert expected in text


def test_the_same_findings_give_the_same_bytes() -> None:
    merge = clustered(120, {"a": 2, "b": 1})
    context = context_of(merge.vocabulary.labels)
    assert render(mapped(findings_of(merge), context)) == render(mapped(findings_of(merge), context))


def test_unassigned_cells_come_last_and_without_a_colour_of_their_own() -> None:
    merge = merge_of(Draws(PartLayout(900, 4, 2)), 1, min_score=0.97)
    rows = label_rows(findings_of(merge).tally)
    assert (rows[-1].name, rows[-1].colour, rows[-1].ontology_id) == ("Unassigned", "none", "")
    assert rows[-1].cells > rows[0].cells
    assert [row.colour for row in rows[:-1]] == ["c0", "c1", "c2", "c3"]


def test_a_hundred_labels_stay_readable() -> None:
    merge = clustered(3000, {f"population {i} of the lamina propria": 100 - i for i in range(100)})
    data = gather(findings_of(merge), context_of(merge.vocabulary.labels), NoMap("No map was asked for."))
    assert len(data.shown) == 20
    assert data.tail is not None
    assert data.tail.labels == len(data.labels) - 20
    assert data.tail.cells + sum(row.cells for row in data.shown) == 3000
    assert len({row.colour for row in data.labels}) == COLOURS + 1
    page = render(data).decode()
    assert all(f">{row.name}<" in page for row in data.labels)


@pytest.mark.slow
def test_a_full_map_is_small_and_soon_drawn() -> None:
    merge = clustered(9000, {f"label {i}": 1 for i in range(45)})
    findings = findings_of(merge)
    began_s = time.process_time()
    data = mapped(findings, context_of(merge.vocabulary.labels))
    taken_s = time.process_time() - began_s
    assert data.cell_map is not None
    assert data.cell_map.n_points == 3000
    assert len(render(data)) < 1_000_000
    assert taken_s < 15, "about 5 s on a quiet core; a crowded machine is slower"


def test_the_map_keeps_like_cells_together() -> None:
    merge = clustered(250, {"a": 1, "b": 1, "c": 1})
    sample = findings_of(merge).sample
    placed = embed(sample.decision_nl)
    assert placed is not None
    apart = np.linalg.norm(placed[:, None] - placed[None], axis=2) + np.diag(np.full(250, np.inf))
    assert (sample.name_n[apart.argmin(axis=1)] == sample.name_n).mean() > 0.95
    again = embed(sample.decision_nl)
    assert again is not None
    assert np.array_equal(placed, again)


@pytest.mark.slow
@pytest.mark.parametrize("n_cells", [600, pytest.param(3000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_scores_and_threads_give_the_same_map(threads: int, n_cells: int) -> None:
    decision_nl = findings_of(clustered(n_cells, {f"label {i}": 1 for i in range(12)})).sample.decision_nl
    placed, again = (embed(decision_nl, threads) for _ in range(2))
    assert placed is not None
    assert again is not None
    assert np.array_equal(placed, again)


def test_the_files_own_embedding_is_used_and_holes_in_it_are_left_out() -> None:
    merge = clustered(100, {"a": 1, "b": 1})
    xy = np.random.default_rng(1).normal(size=(100, 2)).astype(np.float32) * 1000
    xy[3] = np.nan
    own = Coordinates("X_umap", xy)
    data = mapped(findings_of(merge), context_of(merge.vocabulary.labels), own)
    assert data.cell_map is not None
    assert data.cell_map.n_points == 99
    assert "X_umap" in data.cell_map.caption
    assert all(0 <= p.x <= WIDTH and 0 <= p.y <= HEIGHT for group in data.cell_map.groups for p in group.points)


@pytest.mark.parametrize("n_cells", [1, 5, 19])
def test_a_few_cells_get_a_report_without_a_map(n_cells: int) -> None:
    merge = clustered(n_cells, {"a": 1, "b": 1})
    data = mapped(findings_of(merge), context_of(merge.vocabulary.labels))
    assert data.cell_map is None
    assert "20 cells" in render(data).decode()


def test_cells_that_all_look_alike_get_no_map() -> None:
    assert embed(np.ones((200, 5), np.float32)) is None


def test_all_cells_unassigned_is_said_plainly() -> None:
    merge = replace(clustered(60, {"a": 1, "b": 1}), rules=Rules(1.0))
    data = mapped(findings_of(merge), context_of(merge.vocabulary.labels, min_score=1.0))
    assert "none could be assigned" in data.headline
    assert "Unassigned" in render(data).decode()


def test_competing_labels_are_found() -> None:
    merge = merge_of(Draws(PartLayout(2000, 5, 2)), 1)
    tally = findings_of(merge).tally
    found = confusions(tally)
    first, second = (tally.vocabulary.names.index(name) for name in (found[0].first, found[0].second))
    assert found[0].cells == tally.close_cc[first, second] + tally.close_cc[second, first]
    assert [one.cells for one in found] == sorted((one.cells for one in found), reverse=True)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.0004, "<0.1%"), (0.024, "2.4%"), (0.0996, "10%"), (0.43, "43%"), (0.9999, ">99.9%"), (1, "100%")],
)
def test_shares_are_written_for_people(share: float, text: str) -> None:
    assert percent(share) == text


@given(st.floats(0, 1))
def test_a_share_is_never_rounded_to_none_or_all(share: float) -> None:
    assert (percent(share) in {"0%", "100%"}) == (share in {0, 1})


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1234, "1.2 kB"), (24_500_000, "24.5 MB")]
)
def test_sizes_are_written_for_people(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@given(st.text(), st.integers(3, 50))
def test_shortening_keeps_to_the_limit(text: str, limit: int) -> None:
    assert len(shortened(text, limit)) <= max(limit, 0)
    assert shortened(text, limit) == text or "…" in shortened(text, limit)


def test_lists_read_as_sentences() -> None:
    assert [listing(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
