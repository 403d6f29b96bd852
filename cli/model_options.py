"""The options of `celldrop models …`, with their help."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer

from shared.bundles.card import Kind

BundlesOption = Annotated[
    Optional[Path],  # noqa: UP045  # typer reads this form on every Python
    typer.Option(
        "--models",
        help="The folder of bundles, NAME/VERSION/, as in CELLDROP_MODELS_DIR.",
        show_default="models in the checkout",
    ),
]
FormerBundlesOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--out", hidden=True, help="What --models was called, still understood."),
]
PlaceOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--models",
        help="The folder of bundles, NAME/VERSION/, as in CELLDROP_MODELS_DIR, for the new version; the model is "
        "looked for there first, then where models are installed.",
        show_default="models in the checkout",
    ),
]
MODEL = "NAME, NAME@VERSION, or the folder of a bundle."
ModelArgument = Annotated[str, typer.Argument(help=MODEL, show_default=False)]
NameOption = Annotated[
    str, typer.Option("--name", help="The model's name: lower-case letters, digits, dots and dashes.")
]
VersionOption = Annotated[
    str, typer.Option("--version", help="The model's version, such as 1: one that this name does not have yet.")
]
OptionalPath = Optional[Path]  # noqa: UP045
OptionalText = Optional[str]  # noqa: UP045
TrainingFiles = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="One or more labelled .h5ad, best with counts.", show_default=False),
]
LabelsOption = Annotated[str, typer.Option("--labels", metavar="COLUMN", help="The obs column of labels.")]
MatrixOption = Annotated[
    OptionalText, typer.Option(help="The matrix to use: X, raw or layers/NAME.", show_default="chosen by its values")
]
LineagesOption = Annotated[
    OptionalText, typer.Option(help="`blood`, or a .tsv, .csv or .json file that gives each label its lineage.")
]
IdsOption = Annotated[OptionalText, typer.Option(help="The obs column of Cell Ontology ids, if there is one.")]
NamesOption = Annotated[
    OptionalText,
    typer.Option(help="`blood`, or a .tsv or .csv: label, readable name and, if known, Cell Ontology id, lineage."),
]
MeaningsOption = Annotated[
    OptionalText,
    typer.Option(
        "--lineages",
        help="`blood`, or a .tsv, .csv or .json file that gives labels of the files the model's label or lineage that "
        "they mean.",
    ),
]
TreeOption = Annotated[
    OptionalPath,
    typer.Option(help="The Cell Ontology, .obo or .json: cells whose label is in doubt can get a wider type."),
]


OntologyOption = Annotated[
    OptionalPath, typer.Option(help="The Cell Ontology, .obo or .json, to give the labels its ids.", show_default=False)
]
AddedOntologyOption = Annotated[
    OptionalPath,
    typer.Option(
        "--ontology",
        help="The Cell Ontology, .obo or .json: install another bundle of the model, with the terms of its labels and "
        "all that these are kinds of. The model may be installed already.",
        show_default=False,
    ),
]
TermsOption = Annotated[
    OptionalPath,
    typer.Option(
        help="Terms for labels that --ontology does not find: a .tsv, .csv or .json of labels and ids or names.",
        show_default=False,
    ),
]
AddedNameOption = Annotated[
    str,
    typer.Option(
        "--name",
        help="For a model of another program, or one with --ontology.",
        show_default="from its file or folder; NAME-terms with --ontology",
    ),
]


class ClassWeights(StrEnum):
    """The same as in ``jobs.modeling.settings``, repeated here so that `--help` does not load torch."""

    BALANCED = "balanced"
    NONE = "none"


WeightsOption = Annotated[
    ClassWeights,
    typer.Option(help="For a linear model. balanced: every label counts the same, however many cells it has."),
]
HeldOutOption = Annotated[float, typer.Option(min=0.05, max=0.5, help="The share of cells held out for the metrics.")]


class TrainedKind(StrEnum):
    """The kinds that can be trained here, which ``jobs.modeling.kinds`` has a recipe for; others are imported."""

    LINEAR = Kind.LINEAR
    CENTROID = Kind.CENTROID
    NEIGHBOURS = Kind.NEIGHBOURS


KindOption = Annotated[
    TrainedKind,
    typer.Option(
        help="linear: a weight for each gene and label. centroid: the nearest mean cell in a PCA. "
        "neighbours: the votes of the most similar training cells."
    ),
]
FeaturesOption = Annotated[
    OptionalPath,
    typer.Option(help="Use only genes that are also in this file: an .h5ad, or a text list or table of genes."),
]
AlignedOption = Annotated[
    OptionalPath,
    typer.Option(
        help="A labelled file of the same tissue. What distinguishes cells of one type in the two files is ignored."
    ),
]
AlignedLabelsOption = Annotated[
    OptionalText,
    typer.Option(
        metavar="COLUMN",
        help="The obs column of labels in the file of --aligned-with.",
        show_default="that of --labels",
    ),
]
BatchesOption = Annotated[
    str,
    typer.Option(
        metavar="COLUMN",
        help="The obs column of batches. What distinguishes cells of one type in different batches is ignored.",
        show_default=False,
    ),
]
MinCellsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=5, help="Leave out labels with fewer cells.", show_default="files with under 20 are refused"),
]
FalseAlarmOption = Annotated[
    float,
    typer.Option(min=0.001, max=0.2, help="The share of cells like the training cells that may be called unfamiliar."),
]
AbstainedOption = Annotated[
    float, typer.Option(min=0.0, max=0.5, help="The largest share of cells to leave Unassigned for a low score.")
]
NoCompositionFlag = Annotated[
    bool,
    typer.Option(
        "--no-composition",
        help="Leave scores as they are, as `composition=off` does in a run: without it, they are corrected to the "
        "shares of the labels in each file, if the model can be.",
    ),
]
OptionalTexts = Optional[list[str]]  # noqa: UP045
TissueOption = Annotated[
    OptionalTexts,
    typer.Option(help="For the card: the cells' tissue; may be repeated.", show_default="the obs column tissue"),
]
StageOption = Annotated[
    OptionalTexts,
    typer.Option(
        help="For the card: the donors' stage of development; may be repeated.",
        show_default="the obs column development_stage",
    ),
]
AssayOption = Annotated[
    OptionalTexts,
    typer.Option(
        help="For the card: how the cells were sequenced; may be repeated.", show_default="the obs column assay"
    ),
]
DonorsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, help="For the card: the number of donors.", show_default="of the obs column donor_id"),
]
