"""`celldrop demo`: annotates real cells with the whole pipeline, and compares the result with the file's labels."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path

from cli.console import Exit, Output
from cli.running import Wanted, run
from shared.domain.errors import InputNotFoundError
from shared.settings import Settings

MODEL = "pbmc-765"


def run_demo(settings: Settings, output: Output) -> Exit:
    """Annotate the 700 PBMC that come with scanpy, as ``celldrop run`` does.

    Raises:
        InputNotFoundError: scanpy is not installed.
    """
    file = demo_file()
    if not output.as_json:
        output.say(f"700 peripheral blood cells that come with scanpy, annotated with {MODEL}:", style="bold")
    status = run(settings, file, model=MODEL, wanted=Wanted({}), rerun=False, output=output)
    if status is Exit.DONE:
        say_agreement(settings.home.resolve() / file.stem, output)
    return status


def demo_file() -> Path:
    """The path of the file in scanpy's package, found without importing scanpy.

    Raises:
        InputNotFoundError: scanpy is not installed.
    """
    found = importlib.util.find_spec("scanpy")
    folder = Path(found.origin).parent if found and found.origin else Path()
    file = folder / "datasets" / "10x_pbmc68k_reduced.h5ad"
    if not file.is_file():
        raise InputNotFoundError("scanpy's example file is missing", where=str(file), hint="Run `make setup`.")
    return file


def say_agreement(results: Path, output: Output) -> None:
    """Compare the labels with the file's own, in annotated.h5ad as a user opens it; the last figure is the report's."""
    import anndata

    own = json.loads((results / "manifest.json").read_text(encoding="utf-8"))["own_labels"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata warns that this file has an old layout
        obs = anndata.read_h5ad(results / "annotated.h5ad").obs
    rows = []
    for name, group in obs.groupby(own["column"], observed=True):
        counts = group["celldrop_label"].value_counts()
        rows.append([str(name), f"{len(group):,}", str(counts.index[0]), f"{counts.iloc[0] / len(group):.0%}"])
    output.say()
    output.table([f"label in the file ({own['column']})", "cells", "most are called", "share"], rows)
    found = own["lineage_agreement"]
    output.say(
        f"{found['accuracy']:.1%} of the {found['n_cells']:,} cells that can be compared have the same lineage as in "
        "the file.",
        style="bold",
    )
    output.say("The file's labels were computed, too: nearly all of its CD14+ monocytes express CD16 (FCGR3A).")
