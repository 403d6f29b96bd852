"""`celldrop models index`: gives a neighbours model other reference cells, or more of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from cli.console import Exit, Output
from cli.evaluating import load_bundle, say_evaluation
from cli.findings import say_finding
from cli.labelled import missing_words
from cli.training import this_command
from jobs.inference.outputs.reading_findings import on_model
from jobs.modeling.bundles import check_free, write_bundle
from jobs.modeling.card_names import renamed
from jobs.modeling.indexing import IndexSettings, index
from jobs.modeling.references import Reference, ReferenceFile, check_different, check_kind, read_reference
from shared.bundles.card import ModelCard
from shared.domain.errors import ModelNotFoundError
from shared.domain.words import listed
from shared.settings import Settings

_BY_FOLDER = "celldrop models index FOLDER FILE --labels COLUMN --version VERSION"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make, as given on the command line.

    Attributes:
        about: Values for fields of the card; empty ones are those of the model before.
    """

    model: str
    files: Sequence[ReferenceFile]
    how: IndexSettings
    about: Mapping[str, Any]


def index_model(places: Sequence[Settings], wanted: Wanted, output: Output) -> Exit:
    """Write a new version of a neighbours model, whose reference is the labelled cells of the files.

    Args:
        places: The settings of each place where the model may be, looked at in this order. The new one is written to
            the models folder of the first.

    Raises:
        CelldropError: The model, a file, its labels or the request cannot be used.
    """
    card, tensors = _load(places, wanted.model)
    card, folder = check_kind(card), places[0].models_dir
    about = {name: value for name, value in wanted.about.items() if value}
    named = renamed(card, about)
    check_free(folder, named.name, named.version)
    files: list[Reference] = []
    for file in wanted.files:
        files.append(read_reference(card, file))
        check_different(files)
        _say_file(files[-1], card, output)
    with output.progress("Reading", None) as bar:

        def show(done: int, total: int) -> None:
            bar.update(done, total, "Reading")

        made = index(card, tensors, files, replace(wanted.how, command=this_command()), show)
    written = write_bundle(folder, made.card.model_copy(update=about), made.tensors)
    path = folder / written.name / written.version
    output.result(
        {
            "model": written.reference,
            "digest": written.digest,
            "path": str(path),
            "metrics": written.training.metrics,
            "n_reference": made.n_reference,
            "warnings": [asdict(one) for one in on_model(written)],
            "unknown": {str(one.file.path): dict(one.unknown) for one in files},
        }
    )
    output.say(f"{written.reference}: {made.n_reference:,} reference cells", style="bold green")
    if made.n_twice:
        output.prose(f"  {made.n_twice:,} held-out cells are there twice, and are not measured on", style="yellow")
    output.say(f"Measured on {made.n_held_out:,} of them, by the votes of the others:")
    say_evaluation(made.held_out, written, output)
    for finding in on_model(written):
        say_finding(finding, output)
    output.say(f"  in {path}")
    output.say(f"  use it with  celldrop run FILE --model {path}")
    return Exit.DONE


def _load(places: Sequence[Settings], model: str) -> tuple[ModelCard, Mapping[str, Any]]:
    *before, last = places
    for settings in before:
        with suppress(ModelNotFoundError):
            return load_bundle(settings, model, by_folder=_BY_FOLDER)
    return load_bundle(last, model, by_folder=_BY_FOLDER)


def _say_file(one: Reference, card: ModelCard, output: Output) -> None:
    n_cells = int((one.class_n >= 0).sum())
    output.prose(f"{n_cells:,} cells with labels of {card.reference} in {one.file.path.name}, from {one.matrix.path}")
    if one.n_genes < len(card.features):
        output.say(f"  it has {one.n_genes:,} of the model's {len(card.features):,} genes", style="yellow")
    if one.missing:
        output.prose(f"  {missing_words(one.missing)}")
    if one.unknown:
        named = [f"{name} ({size:,})" for name, size in sorted(one.unknown.items(), key=lambda pair: -pair[1])]
        output.prose(f"  left out, as the model does not know these labels: {listed(named, 10)}", style="yellow")
