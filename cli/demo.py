"""`celldrop demo`: real cells through the whole pipeline, and their labels beside the file's own."""

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
    """Annotate the 700 PBMC that scanpy's package carries, through the same door as any file.

    Raises:
        InputNotFoundError: scanpy is not installed.
    """
    file = demo_file()
    if not output.as_json:
        output.say(f"700 peripheral blood cells from scanpy's own package, annotated with {MODEL}:", style="bold")
    status = run(settings, file, model=MODEL, options={}, rerun=False, output=output)
    if status is Exit.DONE:
        say_agreement(settings.home.resolve() / file.stem / "annotated.h5ad", output)
    return status


def demo_file() -> Path:
    """The file in scanpy's package; the package itself is not imported.

    Raises:
        InputNotFoundError: scanpy is not installed.
    """
    found = importlib.util.find_spec("scanpy")
    folder = Path(found.origin).parent if found and found.origin else Path()
    file = folder / "datasets" / "10x_pbmc68k_reduced.h5ad"
    if not file.is_file():
        raise InputNotFoundError("scanpy's packaged cells are not here", where=str(file), hint="Run `make setup`.")
    return file


def say_agreement(annotated: Path, output: Output) -> None:
    """The file's labels against ours, by lineage, from the annotated file as any user would read it."""
    import anndata

    from jobs.modeling.lineages import BLOOD_LINEAGES

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata says at length that this file's layout is an old one
        obs = anndata.read_h5ad(annotated).obs
    theirs = obs[LABELS].astype(str).map(BLOOD_LINEAGES)
    ours = obs["celldrop_label"].astype(str).map(BLOOD_LINEAGES)
    known = theirs.isin(set(ours.dropna()))
    rows = [
        [lineage, f"{len(group):,}", f"{(group == lineage).sum():,}", f"{(group == lineage).mean():.1%}"]
        for lineage, group in ours[known].groupby(theirs[known])
    ]
    output.say()
    output.table(["lineage by the file", "cells", "we agree on", "share"], rows)
    agreed = (ours == theirs)[known].mean()
    output.say(f"{agreed:.1%} of {int(known.sum())} cells have the file's lineage.", style="bold")
    left_out = obs[LABELS].astype(str)[~known].value_counts()
    for label, count in left_out.items():
        output.say(f"Not compared: {count} cells the file calls {label}, which the model has no label for.")
