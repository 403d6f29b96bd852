"""The commands that find and add models; ``cli.models`` has the others."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from cli.console import Exit, Output
from cli.model_options import AddedNameOption, AddedOntologyOption, TermsOption
from cli.options import BatchOption, JsonFlag, finish


def search(
    words: Annotated[
        Optional[list[str]],  # noqa: UP045  # typer reads this form on every Python
        typer.Argument(metavar="[WORDS]...", help="Words of names, titles, labels or sources.", show_default=False),
    ] = None,
    *,
    species: Annotated[str, typer.Option(metavar="SPECIES", help="human or mouse.", show_default=False)] = "",
    tissue: Annotated[str, typer.Option(metavar="TISSUE", help="A word like blood or lung.", show_default=False)] = "",
    as_json: JsonFlag = False,
) -> None:
    """List the models that are installed or can be added: those that have all of the words."""
    output = Output(as_json)

    def action() -> Exit:
        from cli.searching import search_models
        from shared.settings import load_settings

        return search_models(load_settings(), words or [], species, tissue, output)

    finish(output, action)


def add(  # noqa: PLR0913  # one parameter an option
    model: Annotated[
        str,
        typer.Argument(
            help="A name from `celldrop models search`, a path, or the address of a .pkl, model.pt, .ckpt or bundle's "
            "folder.",
            show_default=False,
        ),
    ],
    *,
    name: AddedNameOption = "",
    version: Annotated[
        str, typer.Option(help="Its version, likewise.", show_default="as the model or the catalogue says, or 1")
    ] = "",
    ontology: AddedOntologyOption = None,
    terms: TermsOption = None,
    batch: BatchOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Add it without asking.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Download a model and install it for this user; shows its source, licence and size first."""
    output = Output(as_json)

    def action() -> Exit:
        from cli.adding import Asked, add_model
        from jobs.modeling.adding_terms import TermFiles
        from shared.settings import load_settings

        return add_model(
            load_settings(), Asked(model, name, version, yes, batch, TermFiles.of(ontology, terms)), output
        )

    finish(output, action)
