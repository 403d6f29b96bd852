"""`celldrop demo`: annotates real cells with the whole pipeline, and compares the result with the file's labels."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

from cli.console import Exit, Output
from cli.running import run
from shared.domain.errors import InputNotFoundError
from shared.settings import Settings

MODEL = "pbmc-sorted-765"
LABELS = "bulk_labels"


def run_demo(settings: Settings, output: Output) -> Exit:
    """Annotate the 700 PBMC that come with scanpy, as ``celldrop run`` does.

    Raises:
        InputNotFoundError: scanpy is not installed.
    """
    file = demo_file()
    if not output.as_json:
        output.say(f"700 peripheral blood cells that come with scanpy, annotated with {MODEL}:", style="bold")
    status = run(settings, file, model=MODEL, options={}, rerun=False, output=output)
    if status is Exit.DONE:
        say_agreement(settings.home.resolve() / file.stem / "annotated.h5ad", output)
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


def say_agreement(annotated: Path, output: Output) -> None:
    """Compare the file's labels with ours by lineage, reading annotated.h5ad with anndata as a user would."""
    import anndata

    from jobs.modeling.lineages import BLOOD_LINEAGES

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata warns that this file has an old layout
        obs = anndata.read_h5ad(annotated).obs
    theirs = obs[LABELS].astype(str).map(BLOOD_LINEAGES)
    ours = obs["celldrop_label"].astype(str).map(BLOOD_LINEAGES)
    known = theirs.isin(set(ours.dropna()))
    rows = [
        [lineage, f"{len(group):,}", f"{(group == lineage).sum():,}", f"{(group == lineage).mean():.1%}"]
        for lineage, group in ours[known].groupby(theirs[known])
    ]
    output.say()
    output.table(["lineage in the file", "cells", "same lineage", "share"], rows)
    agreed = (ours == theirs)[known].mean()
    output.say(f"{agreed:.1%} of {int(known.sum())} cells have the same lineage as in the file.", style="bold")
    left_out = obs[LABELS].astype(str)[~known].value_counts()
    for label, count in left_out.items():
        output.say(f"Not compared: {count} cells labelled {label} in the file, a label that the model does not have.")
