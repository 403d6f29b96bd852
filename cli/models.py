"""`celldrop models …`: bundles imported, trained, listed, shown and evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from cli.console import Exit, Output
from cli.main import JsonFlag, finish, models
from shared.bundle import ModelCard
from shared.settings import Settings, load_settings

OutOption = Annotated[
    Optional[Path],  # noqa: UP045  # typer reads this form on every Python
    typer.Option("--out", help="The folder of bundles; it gets NAME/VERSION/ [default: models]."),
]
NameOption = Annotated[str, typer.Option("--name", help="Lower-case letters, digits, dots and dashes.")]
VersionOption = Annotated[str, typer.Option("--version", help="Any version that is not there yet.")]
OptionalPath = Optional[Path]  # noqa: UP045


def settings_for(folder: Path | None) -> Settings:
    """The settings, with the folder of bundles that was given."""
    return load_settings(models_dir=folder) if folder else load_settings()


@models.command("import")
def import_model(  # noqa: PLR0913  # one parameter an option
    file: Annotated[Path, typer.Argument(help="A CellTypist .pkl.", show_default=False)],
    *,
    name: NameOption,
    version: VersionOption,
    out: OutOption = None,
    licence: Annotated[str, typer.Option(help="The model's licence, for its card.")] = "",
    citation: Annotated[str, typer.Option(help="What to cite; the model's own source when left out.")] = "",
    ontology: Annotated[OptionalPath, typer.Option(help="A Cell Ontology .obo: labels get its ids.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Turn a CellTypist model into a bundle, without ever running its pickle."""
    output = Output(as_json)

    def action() -> Exit:
        from jobs.modeling.bundles import write_bundle
        from jobs.modeling.celltypist import import_celltypist

        card, tensors = import_celltypist(
            file, name=name, version=version, licence=licence, citation=citation, ontology=ontology
        )
        folder = settings_for(out).models_dir
        _say_written(write_bundle(folder, card, tensors), folder, output)
        return Exit.DONE

    finish(output, action)


@models.command("list")
def list_bundles(*, out: OutOption = None, as_json: JsonFlag = False) -> None:
    """List the bundles that there are."""
    output = Output(as_json)

    def action() -> Exit:
        from cli.catalogue import all_cards

        cards = all_cards(settings_for(out))
        output.result({"models": [_summary(card) for card in cards]})
        rows = [
            [card.reference, str(len(card.labels)), str(len(card.features)), card.species, card.title] for card in cards
        ]
        output.table(["model", "labels", "features", "species", "title"], rows)
        return Exit.DONE

    finish(output, action)


@models.command("show")
def show_bundle(
    model: Annotated[str, typer.Argument(help="NAME, NAME@VERSION, or a bundle's folder.", show_default=False)],
    *,
    out: OutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a bundle's card: what it knows, where it comes from, how good it is."""
    output = Output(as_json)

    def action() -> Exit:
        from cli.catalogue import find_card, say_card

        card = find_card(settings_for(out), model)
        output.result(card.model_dump(mode="json"))
        say_card(card, output)
        return Exit.DONE

    finish(output, action)


def _summary(card: ModelCard) -> dict[str, object]:
    return {
        "name": card.name,
        "version": card.version,
        "digest": card.digest,
        "title": card.title,
        "labels": [label.name for label in card.labels],
        "n_features": len(card.features),
        "species": card.species,
        "metrics": card.training.metrics,
    }


def _say_written(card: ModelCard, folder: Path, output: Output) -> None:
    path = folder / card.name / card.version
    output.result({"model": card.reference, "path": str(path), **_summary(card)})
    output.say(f"{card.reference}: {len(card.labels)} labels, {len(card.features):,} features", style="bold green")
    output.say(f"  in {path}")
    output.say(f"  use it with  celldrop run FILE --model {path}")
