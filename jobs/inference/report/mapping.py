"""Draws the map: each sampled cell as a point at its coordinates, in its label's colour, with labels' names."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.inference.merge.calls import BoolArray, Vocabulary
from jobs.inference.merge.sample import MapSample
from jobs.inference.report.data import CellMap, LabelRow, MapText, Point, PointGroup
from jobs.inference.report.embedding import LANDMARKS, LEAST_CELLS
from jobs.inference.report.wording import whole
from shared.bundles.card import UNASSIGNED
from shared.domain.words import plural, shortened

FEW_PLACED = f"A map needs at least {LEAST_CELLS} cells with coordinates."
WIDTH, HEIGHT = 640, 480
_MARGIN = 14
_NAMED_SHARE = 0.02
_LINE_LETTERS = 20
_ID_LIMIT = 48
_LETTER_WIDTH = 6.4
_LINE_HEIGHT = 13
F64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layout:
    """The coordinates of the sampled cells.

    Attributes:
        xy_m2: Coordinates, cells x 2; NaN for a cell without any.
        own: The name of the file's embedding that they come from; None if they are our own.
        by_expression: Whether our own are of the cells' expression; otherwise of their scores.
        remark: Why the file's own embedding was not used; empty if there is none.
    """

    xy_m2: F64Array
    own: str | None = None
    remark: str = ""
    by_expression: bool = False


@dataclass(frozen=True, slots=True)
class NoMap:
    """The reason why there is no map.

    Attributes:
        fault: Whether something went wrong, so that another try may give a map.
    """

    reason: str
    fault: bool = False


def draw_map(
    sample: MapSample, rows: Sequence[LabelRow], vocabulary: Vocabulary, layout: Layout, n_cells: int
) -> CellMap | None:
    """Draw the map of the sampled cells; None if too few have coordinates.

    Args:
        rows: All labels that occur, with their colours and keys.
        vocabulary: What the codes of the sample refer to.
        layout: The coordinates of the sampled cells.
    """
    xy_m2 = layout.xy_m2
    kept_m: BoolArray = np.asarray(np.isfinite(xy_m2).all(axis=1))
    if kept_m.sum() < LEAST_CELLS:
        return None
    at_m2 = _fitted(xy_m2, kept_m)
    groups = _groups(sample, at_m2, kept_m, rows, vocabulary)
    n_points = int(kept_m.sum())
    return CellMap(WIDTH, HEIGHT, groups, _texts(groups, n_points), n_points, _caption(layout, n_points, n_cells))


def _fitted(xy_m2: F64Array, kept_m: BoolArray) -> F64Array:
    """Scale coordinates to the box, with the aspect ratio kept and y pointing upwards."""
    low, high = xy_m2[kept_m].min(axis=0), xy_m2[kept_m].max(axis=0)
    room = np.array([WIDTH - 2 * _MARGIN, HEIGHT - 2 * _MARGIN])
    scale = float(np.min(room / np.maximum(high - low, 1e-9)))
    middle = (low + high) / 2
    placed: F64Array = (xy_m2 - middle) * scale * np.array([1, -1]) + np.array([WIDTH / 2, HEIGHT / 2])
    return placed


def _groups(
    sample: MapSample, at_m2: F64Array, kept_m: BoolArray, rows: Sequence[LabelRow], vocabulary: Vocabulary
) -> tuple[PointGroup, ...]:
    """The points by label, most cells first, so that rare labels are drawn on top."""
    groups = []
    for row in rows:
        place_m = np.flatnonzero(kept_m & (sample.name_n == vocabulary.names.index(row.name)))
        points = tuple(_point(sample, at_m2, int(place), row.name, vocabulary) for place in place_m)
        if points:
            groups.append(PointGroup(row.key, row.name, row.colour, points))
    return tuple(groups)


def _point(sample: MapSample, at_m2: F64Array, place: int, label: str, vocabulary: Vocabulary) -> Point:
    x, y = at_m2[place]
    score, sure = float(sample.score_n[place]), bool(sample.sure_n[place])
    title = f"{shortened(sample.cell_ids[place], _ID_LIMIT)} · {shortened(label, _ID_LIMIT)} · {score:.2f}"
    if not sure and sample.reliable_n is not None:
        name = vocabulary.reliable_names[int(sample.reliable_n[place])]
        title += " · not reliable" if name == UNASSIGNED else f" · reliable only: {shortened(name, _ID_LIMIT)}"
    return Point(round(float(x), 1), round(float(y), 1), round(score, 2), title, sure)


def _texts(groups: Sequence[PointGroup], n_points: int) -> tuple[MapText, ...]:
    """The names of the larger groups at their medians.

    Left out are groups of which less than half of the cells have a reliable label, and names that would overlap others.
    """
    placed: list[MapText] = []
    for group in sorted(groups, key=lambda one: -len(one.points)):
        unsure = sum(not point.sure for point in group.points) * 2 > len(group.points)
        if len(group.points) < _NAMED_SHARE * n_points or group.colour == "none" or unsure:
            continue
        text = _text(group)
        if not any(_overlap(text, other) for other in placed):
            placed.append(text)
    return tuple(placed)


def _text(group: PointGroup) -> MapText:
    lines = textwrap.wrap(group.name, _LINE_LETTERS, max_lines=2, placeholder="…") or [""]
    half = max(len(line) for line in lines) * _LETTER_WIDTH / 2
    x = float(np.median([point.x for point in group.points]))
    y = float(np.median([point.y for point in group.points]))
    return MapText(
        x=round(min(max(x, half), WIDTH - half), 1),
        y=round(y - (len(lines) - 1) * _LINE_HEIGHT / 2, 1),
        lines=tuple(lines),
    )


def _overlap(one: MapText, other: MapText) -> bool:
    apart = sum(max(len(line) for line in text.lines) for text in (one, other)) * _LETTER_WIDTH / 2
    top, bottom = (
        max(one.y, other.y),
        min(one.y + _LINE_HEIGHT * len(one.lines), other.y + _LINE_HEIGHT * len(other.lines)),
    )
    return top < bottom and abs(one.x - other.x) < apart


def _caption(layout: Layout, n_points: int, n_cells: int) -> str:
    which = (
        f"All {plural(n_points, 'cell')}"
        if n_points == n_cells
        else f"{whole(n_points)} of {plural(n_cells, 'cell')}, evenly spaced through the file"
    )
    if layout.own:
        return f"{which}, placed by {layout.own} from the file."
    if layout.by_expression:
        placed = (
            f"{which}, placed by their expression of the model's genes (t-SNE of principal components"
            f"{_others(n_points)}): cells close together have similar expression. Distances between groups and their "
            "sizes mean nothing."
        )
        return f"{placed} {layout.remark}".rstrip()
    scored = (
        f"{which}, placed by the model's scores (t-SNE of the scores of all labels{_others(n_points)}): cells close "
        "together have similar scores. It is not a UMAP of gene expression; distances between groups and their sizes "
        "mean nothing."
    )
    return f"{scored} {layout.remark}".rstrip()


def _others(n_points: int) -> str:
    if n_points <= LANDMARKS:
        return ""
    return f" of {whole(LANDMARKS)} cells; the others lie beside those of them that are most alike"
