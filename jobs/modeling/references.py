"""The labelled cells of files that shall be the reference of a neighbours model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jobs.modeling.file_genes import features_of_file
from jobs.modeling.judged import judged
from jobs.modeling.labelled import Sample, sampled
from jobs.modeling.labels import read_labels
from jobs.modeling.readable import Readable
from jobs.modeling.scoring import feature_of_genes
from jobs.modeling.settings import TrainingSettings
from jobs.modeling.sources import open_source, sha256_of
from jobs.modeling.specimens import Specimens, specimens_of
from shared.bundles.card import Features, ModelCard
from shared.bundles.kinds import NeighboursCard
from shared.domain.errors import InvalidOptionError, TrainingDataError
from shared.domain.verdict import MatrixChoice
from shared.domain.words import listed
from shared.validation import needs_of

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
METHOD = "celldrop models index"
_MOST_TRAINED = TrainingSettings(name="", version="").max_cells


@dataclass(frozen=True, slots=True)
class ReferenceFile:
    """A file of labelled cells.

    Attributes:
        column: The obs column of labels.
        ids_from: The obs column of Cell Ontology ids.
        matrix: As the option ``matrix``; None chooses by evidence.
    """

    path: Path
    column: str
    ids_from: str | None = None
    matrix: str | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """The labelled cells of one file.

    Attributes:
        class_n: The position among the model's labels of each cell's label; -1 without one.
        trained_m: Which of the cells with a label the model's coordinates were trained on.
        unknown: Number of cells with a label that the model does not know, by label.
        missing: Number of cells without a label, by the text in its place.
        n_genes: How many of the model's genes the file has.
    """

    file: ReferenceFile
    matrix: MatrixChoice
    genes: Features
    class_n: Int64s
    trained_m: Bools
    unknown: Mapping[str, int]
    missing: Mapping[str, int]
    n_genes: int
    sha256: str
    specimens: Specimens = field(default_factory=Specimens)


def check_kind(card: ModelCard) -> NeighboursCard:
    """Check that a model has a reference.

    Raises:
        InvalidOptionError: It is of another kind.
    """
    if not isinstance(card, NeighboursCard):
        raise InvalidOptionError(
            f"{card.reference} is a model of kind {card.kind}",
            expected="one of kind neighbours, which has reference cells",
            hint="Make one first, from these files or a sample of them: celldrop models train FILE --kind neighbours.",
        )
    return card


def read_reference(card: NeighboursCard, file: ReferenceFile) -> Reference:
    """Validate a file like any submission for this model, and read the labels of its cells.

    A label is the model's if it has its name, the name that it had in the model's training data, or its id.

    Raises:
        InputError: The file cannot be used, with the same code as in ``celldrop run``.
        TrainingDataError: The column does not exist, or no cell has a label that the model knows.
    """
    place = {label.ontology_id: position for position, label in enumerate(card.labels) if label.ontology_id}
    place |= {label.name: position for position, label in enumerate(card.labels)}
    readable = {label.submitted: Readable(label.name) for label in card.labels if label.submitted}
    with open_source(file.path) as source:
        found = judged(source, file.path, needs_of(card), matrix=file.matrix)
        labelling = read_labels(source, file.column, ids_from=file.ids_from, readable=readable)
        genes = features_of_file(source, found, file.path)
        of_file_l = [place.get(label.name, place.get(label.ontology_id or "", -1)) for label in labelling.labels]
        class_n = np.array([*of_file_l, -1], np.int64)[labelling.class_n]
        digest = sha256_of(file.path)
        trained_n = _trained(card, digest, labelling.class_n)
        specimens = specimens_of(source, class_n >= 0)
    size_l = np.bincount(labelling.class_n[labelling.labelled_n], minlength=len(of_file_l)).tolist()
    unknown = {
        label.name: size
        for label, position, size in zip(labelling.labels, of_file_l, size_l, strict=True)
        if position < 0
    }
    if not (class_n >= 0).any():
        raise TrainingDataError(
            f"no cell has a label that {card.reference} knows; the file has {listed(sorted(unknown)) or 'none'}",
            expected=f"labels such as {listed([label.name for label in card.labels])}",
            where=str(file.path),
            hint="Name another column with --labels, or one of Cell Ontology ids with --ids-from.",
        )
    place_g = feature_of_genes(genes, card.features)
    n_genes = int((place_g >= 0).sum())
    trained_m = trained_n[class_n >= 0]
    missing = labelling.missing
    return Reference(file, found.matrix, genes, class_n, trained_m, unknown, missing, n_genes, digest, specimens)


def _trained(card: NeighboursCard, digest: str, class_n: Int64s) -> Bools:
    """Which cells of a file the coordinates of a model were trained on: the same sample as then, if the file is one."""
    trained_n = np.zeros(len(class_n), bool)
    if digest in origin_of(card)["trained_on"]:
        trained_n[sampled(class_n, Sample(_MOST_TRAINED, int(origin_of(card)["trained_seed"])))] = True
    return trained_n


def origin_of(card: NeighboursCard) -> dict[str, str]:
    """Where the coordinates of a model are from: parameters that every model with these coordinates has."""
    said, training = card.training.parameters, card.training
    return {
        "coordinates_of": str(said.get("coordinates_of") or card.reference),
        "coordinates_digest": str(said.get("coordinates_digest") or card.digest),
        "trained_on": str(said.get("trained_on") or training.source_sha256 or ""),
        "trained_seed": str(said.get("trained_seed") or said.get("seed") or 0),
    }


def without_own(card: NeighboursCard, one: Reference) -> Reference:
    """A file without the cells that are in the model's reference already.

    Raises:
        TrainingDataError: All of its cells are.
    """
    if card.training.method == METHOD and one.sha256 in (card.training.source_sha256 or ""):
        raise TrainingDataError(
            f"its cells are in the reference of {card.reference} already",
            expected="files of other cells",
            where=str(one.file.path),
            hint="Leave the file out, or leave out --keep.",
        )
    class_n = one.class_n.copy()
    class_n[np.flatnonzero(class_n >= 0)[one.trained_m]] = -1
    return replace(one, class_n=class_n, trained_m=one.trained_m[~one.trained_m])
