"""`celldrop models …`: imports, trains, lists, shows and evaluates bundles; ``cli.getting`` finds and adds others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from cli.console import Exit, Output
from cli.getting import add, search
from cli.model_options import (
    AbstainedOption,
    AlignedLabelsOption,
    AlignedOption,
    AssayOption,
    BatchesOption,
    BundlesOption,
    ClassWeights,
    DonorsOption,
    FalseAlarmOption,
    FeaturesOption,
    FormerBundlesOption,
    HeldOutOption,
    IdsOption,
    KindOption,
    LabelsOption,
    LineagesOption,
    MatrixOption,
    MeaningsOption,
    MinCellsOption,
    ModelArgument,
    NameOption,
    NamesOption,
    NoCompositionFlag,
    OntologyOption,
    OptionalPath,
    OptionalText,
    PlaceOption,
    StageOption,
    TermsOption,
    TissueOption,
    TrainedKind,
    TrainingFiles,
    TreeOption,
    VersionOption,
    WeightsOption,
)
from cli.options import BatchOption, JsonFlag, finish
from shared.bundles.card import Kind, ModelCard
from shared.domain.words import plural

if TYPE_CHECKING:
    from shared.settings import Settings

models = typer.Typer(
    help="Model bundles: search, add, import, train, index, list, show, evaluate.", no_args_is_help=True
)
models.command("search")(search)
models.command("add")(add)


def settings_for(folder: Path | None) -> Settings:
    """Load the settings, with the given folder of bundles."""
    from shared.settings import load_settings

    # Nothing is added to a folder that is named: its bundles are all that is meant.
    return load_settings(models_dir=folder, added_models_dir=folder) if folder else load_settings()


@models.command("import")
def import_model(  # noqa: PLR0913  # one parameter an option
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A CellTypist .pkl; of a scANVI model the folder that scvi-tools saved, or its model.pt; a "
            "checkpoint of cellarium-ml; or the folder of a SCimilarity model.",
            show_default=False,
        ),
    ],
    *,
    name: NameOption,
    version: VersionOption,
    bundles: BundlesOption = None,
    out: FormerBundlesOption = None,
    licence: Annotated[str, typer.Option(help="The model's licence, for its card.")] = "",
    citation: Annotated[str, typer.Option(help="What to cite; the source named in the model when left out.")] = "",
    ontology: OntologyOption = None,
    terms: TermsOption = None,
    batch: BatchOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Convert a model of another program into a bundle, without executing anything in it."""
    output = Output(as_json)

    def action() -> Exit:
        from cli.terms import say_without_terms
        from jobs.modeling.bundles import write_bundle
        from jobs.modeling.importing import ImportedAs, import_foreign

        wanted = ImportedAs(name, version, licence, citation, ontology, batch, terms)
        card, tensors = import_foreign(file, wanted)
        folder = settings_for(bundles or out).models_dir
        card = write_bundle(folder, card, tensors)
        unplaced = say_without_terms(card, ontology, output) if ontology else None
        _say_written(card, folder, output, {} if unplaced is None else {"labels_without_terms": unplaced})
        return Exit.DONE

    finish(output, action)


@models.command("train")
def train_bundle(  # noqa: PLR0913  # one parameter an option
    files: TrainingFiles,
    *,
    labels: LabelsOption,
    name: NameOption,
    version: VersionOption,
    bundles: BundlesOption = None,
    out: FormerBundlesOption = None,
    features_from: FeaturesOption = None,
    matrix: MatrixOption = None,
    ids_from: IdsOption = None,
    names: NamesOption = None,
    lineages: LineagesOption = None,
    ontology: TreeOption = None,
    aligned_with: AlignedOption = None,
    aligned_labels: AlignedLabelsOption = None,
    n_genes: Annotated[int, typer.Option(min=2, help="The largest number of genes to use.")] = 3_000,
    min_cells: MinCellsOption = None,
    batches: BatchesOption = "",
    kind: KindOption = TrainedKind.LINEAR,
    class_weights: WeightsOption = ClassWeights.BALANCED,
    held_out: HeldOutOption = 0.2,
    max_abstained: AbstainedOption = 0.0,
    false_alarm: FalseAlarmOption = 0.025,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, data and machine give the same bundle.")] = 0,
    title: Annotated[str, typer.Option(help="For the card: what the model is, in a line.")] = "",
    licence: Annotated[str, typer.Option(help="For the card: the licence of the data, and so of the model.")] = "",
    citation: Annotated[str, typer.Option(help="For the card: what to cite.")] = "",
    tissue: TissueOption = None,
    stage: StageOption = None,
    assay: AssayOption = None,
    donors: DonorsOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a model on files' own labels; the card records its accuracy on held-out cells."""
    output = Output(as_json)

    def action() -> Exit:
        from cli.labelled import Origin
        from cli.training import train_model

        about = {"name": name, "version": version, "title": title, "licence": licence, "citation": citation}
        said = {"tissues": tissue, "stages": stage, "assays": assay, "n_donors": donors}
        chosen = {"kind": Kind(kind), "seed": seed, "n_genes": n_genes, "class_weights": class_weights.value}
        how = {"held_out_share": held_out, "max_abstained": max_abstained, "false_alarm": false_alarm}
        read = (ids_from, lineages, features_from, matrix, aligned_with, aligned_labels, min_cells, batches, names)
        origin = Origin(tuple(files), labels, *read, ontology)
        return train_model(origin, about | chosen | how | {"specimens": said}, settings_for(bundles or out), output)

    finish(output, action)


@models.command("index")
def index_bundle(  # noqa: PLR0913  # one parameter an option
    model: ModelArgument,
    files: TrainingFiles,
    *,
    labels: LabelsOption,
    version: VersionOption,
    name: Annotated[OptionalText, typer.Option(help="The new model's name.", show_default="the model's")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Add to the model's own reference cells instead of replacing them.")
    ] = False,
    ids_from: IdsOption = None,
    matrix: MatrixOption = None,
    held_out: HeldOutOption = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Which cells are held out.")] = 0,
    title: Annotated[
        str, typer.Option(help="For the card: what the model is, in a line.", show_default="the model's")
    ] = "",
    licence: Annotated[str, typer.Option(help="For the card: the licence.", show_default="the model's")] = "",
    citation: Annotated[str, typer.Option(help="For the card: what to cite.", show_default="the model's")] = "",
    bundles: PlaceOption = None,
    out: FormerBundlesOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Give a model of kind neighbours the labelled cells of files as its reference, however many they are."""
    output = Output(as_json)

    def action() -> Exit:
        from cli.indexing import Wanted, index_model
        from jobs.modeling.indexing import IndexSettings
        from jobs.modeling.references import ReferenceFile

        about = {"name": name, "version": version, "title": title, "licence": licence, "citation": citation}
        references = [ReferenceFile(file, labels, ids_from, matrix) for file in files]
        how = IndexSettings(keep, held_out, seed)
        places = [settings_for(folder) for folder in dict.fromkeys([bundles or out, None])]
        return index_model(places, Wanted(model, references, how, about), output)

    finish(output, action)


@models.command("evaluate")
def evaluate_bundle(  # noqa: PLR0913  # one parameter an option
    model: ModelArgument,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="One or more .h5ad with labels.", show_default=False)
    ],
    *,
    labels: Annotated[
        list[str],
        typer.Option(
            "--labels", metavar="COLUMN", help="The obs column of labels; one for all files, or one for each."
        ),
    ],
    other: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--model", metavar="MODEL", help="Another model to compare (may be repeated).", show_default=False
        ),
    ] = None,
    lineages: MeaningsOption = None,
    ontology: Annotated[
        OptionalPath,
        typer.Option(help="The Cell Ontology, .obo or .json: aligns labels by id, name and exact synonym."),
    ] = None,
    matrix: MatrixOption = None,
    out: Annotated[
        OptionalPath, typer.Option(help="A folder to write the figures to: JSON, CSV, and a page with cross tables.")
    ] = None,
    bundles: BundlesOption = None,
    no_composition: NoCompositionFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Compare the labels that models give with files' own: by label, by lineage and in the Cell Ontology."""
    output = Output(as_json)

    def action() -> Exit:
        from cli.evaluating import Asked, evaluate_models

        models = [model, *(other or [])]
        asked = Asked(models, files, labels, lineages, ontology, matrix, out, composition=not no_composition)
        return evaluate_models(settings_for(bundles), asked, output)

    finish(output, action)


@models.command("list")
def list_bundles(
    *,
    bundles: BundlesOption = None,
    every_version: Annotated[bool, typer.Option("--all", help="List older versions, too; --json always does.")] = False,
    out: FormerBundlesOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the models that are installed: the newest version of each."""
    output = Output(as_json)

    def action() -> Exit:
        from cli.catalogue import all_cards, default_among, newest_of, say_cards

        settings = settings_for(bundles or out)
        cards = all_cards(settings)
        default, newest = default_among(cards, settings), newest_of(cards)
        output.result(
            {"models": [_summary(card) | {"default": card == default, "newest": card in newest} for card in cards]}
        )
        say_cards(cards if every_version else newest, default, output)
        if not cards:
            output.say(f"There are no bundles in {settings.models_dir} or {settings.added_models}.")
        elif len(newest) < len(cards) and not every_version:
            output.say(f"{plural(len(cards) - len(newest), 'older version')} not shown: --all lists them.")
        return Exit.DONE

    finish(output, action)


@models.command("show")
def show_bundle(
    model: ModelArgument,
    *,
    bundles: BundlesOption = None,
    out: FormerBundlesOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a model's card: its origin, how good it is, its labels, and from which score on they are reliable."""
    output = Output(as_json)

    def action() -> Exit:
        from cli.catalogue import find_card, say_card

        card = find_card(settings_for(bundles or out), model, by_folder="celldrop models show FOLDER")
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


def _say_written(card: ModelCard, folder: Path, output: Output, more: Mapping[str, object]) -> None:
    path = folder / card.name / card.version
    output.result({"model": card.reference, "path": str(path), **_summary(card), **more})
    output.say(f"{card.reference}: {len(card.labels)} labels, {len(card.features):,} features", style="bold green")
    output.say(f"  in {path}")
    output.say(f"  use it with  celldrop run FILE --model {path}")
