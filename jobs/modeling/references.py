"""The labelled cells of files that shall be the reference of a neighbours model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jobs.modeling.judged import judged
from jobs.modeling.labelled import Sample, digest_of_rows, sampled
from jobs.modeling.labels import read_labels
from jobs.modeling.readable import Readable
from jobs.modeling.sources import open_source, sha256_of
from jobs.modeling.specimens import Specimens, specimens_of
from shared.bundles.card import ModelCard
from shared.bundles.kinds import NeighboursCard
from shared.domain.errors import InvalidOptionError, TrainingDataError
from shared.domain.verdict import MatrixChoice
from shared.domain.words import listed
from shared.h5ad.read.rows import features_of_genes
from shared.validation import needs_of

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
METHOD = "celldrop models index"


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
        feature_g: The position of each gene among the model's, as a run finds them; int32.
        n_genes: How many of the model's genes the file has.
        class_n: The position among the model's labels of each cell's label; -1 without one.
        trained_m: Which of the cells with a label the model's coordinates were trained on, or may have been.
        unknown: Number of cells with a label that the model does not know, by label.
        missing: Number of cells without a label, by the text in its place.
    """

    file: ReferenceFile
    matrix: MatrixChoice
    feature_g: npt.NDArray[np.int32]
    n_genes: int
    class_n: Int64s
    trained_m: Bools
    unknown: Mapping[str, int]
    missing: Mapping[str, int]
    sha256: str
    specimens: Specimens = field(default_factory=Specimens)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the coordinates and the reference of a model are from: parameters that every such card has.

    Attributes:
        coordinates_of: The model that was trained, as ``coordinates_digest`` is its digest.
        trained_on: The files that it was trained on, by sha256.
        rows: Which rows of each, by sha256; those of ``jobs.modeling.labelled.sampled`` with this ``seed``, and at most
            ``most_cells`` of each file.
        reference_of: The files, by sha256, all of whose labelled cells are in the reference.
        keeps_training: Whether the cells that it was trained on are in the reference.
        max_abstained: See ``TrainingSettings``.
    """

    coordinates_of: str
    coordinates_digest: str
    trained_on: str
    rows: str
    trained_seed: int
    most_cells: int
    reference_of: str
    keeps_training: bool
    max_abstained: float

    @classmethod
    def of(cls, card: NeighboursCard) -> Origin:
        """That of a model that was trained, or indexed since."""
        said, training = card.training.parameters, card.training
        is_indexed = training.method == METHOD
        return cls(
            coordinates_of=str(said.get("coordinates_of") or card.reference),
            coordinates_digest=str(said.get("coordinates_digest") or card.digest),
            trained_on=str(said.get("trained_on") or training.source_sha256 or ""),
            rows=str(said.get("rows") or ""),
            trained_seed=int((said.get("trained_seed") if is_indexed else said.get("seed")) or 0),
            most_cells=int(said.get("most_cells") or 0),
            reference_of=str(said.get("reference_of") or ""),
            keeps_training=bool(said.get("keeps_training")) if is_indexed else True,
            max_abstained=float(said.get("max_abstained") or 0.0),
        )

    def trained(self, digest: str, class_n: Int64s) -> Bools:
        """Which cells of a file the coordinates were trained on.

        Those are all with a label, unless the same sample as then can be drawn from it again.
        """
        files = self.trained_on.split(", ")
        if digest not in files:
            return np.zeros(len(class_n), bool)
        rows = self.rows.split(", ")
        drawn_n = sampled(class_n, Sample(self.most_cells, self.trained_seed) if self.most_cells else None)
        known = len(rows) == len(files) and digest_of_rows(drawn_n) == rows[files.index(digest)]
        return drawn_n if known else class_n >= 0


def check_kind(card: ModelCard) -> NeighboursCard:
    """Check that a model has a reference that was made here.

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
        feature_g = features_of_genes(source, found.verdict, card)
        of_file_l = [place.get(label.name, place.get(label.ontology_id or "", -1)) for label in labelling.labels]
        class_n = np.array([*of_file_l, -1], np.int64)[labelling.class_n]
        digest = sha256_of(file.path)
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
    return Reference(
        file=file,
        matrix=found.matrix,
        feature_g=feature_g,
        n_genes=len(np.unique(feature_g[(feature_g >= 0) & (feature_g < len(card.features))])),
        class_n=class_n,
        trained_m=Origin.of(card).trained(digest, labelling.class_n)[class_n >= 0],
        unknown=unknown,
        missing=labelling.missing,
        sha256=digest,
        specimens=specimens,
    )


def check_different(files: Sequence[Reference]) -> None:
    """Check that no file is given twice.

    Raises:
        TrainingDataError: The last one has the bytes of another.
    """
    *others, last = files
    for one in others:
        if one.sha256 == last.sha256:
            raise TrainingDataError(
                f"the same file as {one.file.path}",
                expected="files of other cells",
                where=str(last.file.path),
                hint="Leave it out.",
            )


def without_own(card: NeighboursCard, one: Reference) -> Reference:
    """A file without the cells that are in the model's reference already.

    Raises:
        TrainingDataError: All of its cells are.
    """
    origin = Origin.of(card)
    if one.sha256 in origin.reference_of.split(", "):
        raise TrainingDataError(
            f"its cells are in the reference of {card.reference} already",
            expected="files of other cells",
            where=str(one.file.path),
            hint="Leave the file out, or leave out --keep.",
        )
    if not origin.keeps_training:
        return one
    class_n = one.class_n.copy()
    class_n[np.flatnonzero(class_n >= 0)[one.trained_m]] = -1
    return replace(one, class_n=class_n, trained_m=one.trained_m[~one.trained_m])
