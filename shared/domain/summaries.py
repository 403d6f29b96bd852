"""Shares of cells in the summary of a result, for whoever shows them."""

from __future__ import annotations

from collections.abc import Mapping


def share_in(summary: Mapping[str, object], name: str) -> float | None:
    """A number of cells in a summary as a share of all cells; None without the number, or without cells.

    Unfamiliar cells are a share of those that can be judged, as far as the summary says how many these are.
    """
    judged = name == "n_unfamiliar" and "n_judged" in summary
    number, n_cells = summary.get(name), summary.get("n_judged" if judged else "n_cells")
    return number / n_cells if isinstance(number, int) and isinstance(n_cells, int) and n_cells else None
