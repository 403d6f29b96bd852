"""Joins the labelled cells of several files into one training set: the genes in common, and the labels by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from jobs.modeling.expression import log_normalise
from jobs.modeling.features import distinct_genes, take_features
from jobs.modeling.gene_places import GeneList, places_of_genes
from jobs.modeling.labelled import LabelledCells
from jobs.modeling.specimens import together
from shared.bundles.card import Features, Label
from shared.domain.errors import TrainingDataError
from shared.domain.verdict import Finding, MatrixState

Int64s = npt.NDArray[np.int64]


def joined(files: Sequence[LabelledCells]) -> LabelledCells:
    """The cells of all files, in the order of the files; of one file, as they are.

    Genes are those of the first file that every file has, with the first file's names. They are found as a run finds
    them, by symbol or Ensembl id, and by what they were called in other years. Counts of all other genes are added up
    in one gene without a name, which is no feature, so that a cell's total stays the same. If a file has no counts, all
    become log1p of counts per 10,000. Batches of different files are different.

    Raises:
        TrainingDataError: The files are of different species, have no gene in common, or disagree about a label.
    """
    first = files[0]
    if len(files) == 1:
        return first
    _check_species(files)
    place_fg = [places_of_genes(one.genes, GeneList(first.genes, first.species)) for one in files]
    there_fg = [np.isin(np.arange(len(first.genes)), place_g) for place_g in place_fg]
    common_g = np.logical_and.reduce([distinct_genes(first.genes), *there_fg])
    if not common_g.any():
        raise TrainingDataError(
            f"no gene that is in each of {_names(files)}",
            expected="the same symbols or Ensembl ids in all files",
            hint="Give the genes of all files the same kind of names.",
        )
    labels = _labels(files)
    place = {label.name: position for position, label in enumerate(labels)}
    class_n = [np.array([place[label.name] for label in one.labels], np.int64)[one.class_n] for one in files]
    counted = all(one.state is MatrixState.COUNTS for one in files)
    values = [
        _on(one, place_g, np.flatnonzero(common_g), counted=counted)
        for one, place_g in zip(files, place_fg, strict=True)
    ]
    return replace(
        first,
        value_ng=sp.csr_matrix(sp.vstack(values, format="csr", dtype=np.float32)),
        state=MatrixState.COUNTS if counted else MatrixState.LOG1P_CP10K,
        matrix=", ".join(dict.fromkeys(one.matrix for one in files)),
        genes=_with_rest(take_features(first.genes, np.flatnonzero(common_g))),
        class_n=np.concatenate(class_n),
        labels=labels,
        n_unlabelled=sum(one.n_unlabelled for one in files),
        n_sampled_away=sum(one.n_sampled_away for one in files),
        missing=dict(sum((Counter(one.missing) for one in files), Counter[str]())),
        warnings=_different(warning for one in files for warning in one.warnings),
        source=_names(files),
        sha256=", ".join(one.sha256 or "unknown" for one in files),
        batch_n=_batches(files),
        specimens=together([one.specimens for one in files]),
        rows_sha256=", ".join(one.rows_sha256 for one in files),
    )


def _names(files: Sequence[LabelledCells]) -> str:
    return ", ".join(one.source for one in files)


def _different(warnings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each of them once."""
    found: list[Finding] = []
    for warning in warnings:
        if warning not in found:
            found.append(warning)
    return tuple(found)


def _check_species(files: Sequence[LabelledCells]) -> None:
    for one in files:
        if one.species is not files[0].species:
            raise TrainingDataError(
                f"cells of {one.species} in {one.source}",
                expected=f"cells of {files[0].species}, as in {files[0].source}",
                hint="Train a model for each species.",
            )


def _labels(files: Sequence[LabelledCells]) -> tuple[Label, ...]:
    """Every label, by name. What one file does not say of it is taken from the next."""
    found: dict[str, Label] = {}
    for one in files:
        for label in one.labels:
            known = found.setdefault(label.name, label)
            for field in ("ontology_id", "lineage"):
                said, says = getattr(known, field), getattr(label, field)
                if said and says and said != says:
                    raise TrainingDataError(
                        f"label {label.name!r} is {says} in {one.source}",
                        expected=f"{said}, as in the files before it",
                        hint="Correct one of the files, or call the labels differently.",
                    )
            found[label.name] = known.model_copy(
                update={
                    "ontology_id": known.ontology_id or label.ontology_id,
                    "lineage": known.lineage or label.lineage,
                    "submitted": known.submitted or label.submitted,
                }
            )
    return tuple(found[name] for name in sorted(found))


def _with_rest(genes: Features) -> Features:
    """The genes, and one without a name."""
    return Features(
        symbol=(*genes.symbol, None) if genes.symbol else (), ensembl=(*genes.ensembl, None) if genes.ensembl else ()
    )


def _on(one: LabelledCells, place_g: npt.NDArray[np.int32], common: Int64s, *, counted: bool) -> sp.csr_matrix:
    """A file's values of the common genes, and the sum of all others; of logarithms, there is no such sum."""
    column_of = {place: column for column, place in enumerate(common.tolist())}
    to_g = np.array([column_of.get(place, len(common)) for place in place_g.tolist()], np.int64)
    kept_g = np.ones(len(to_g)) if counted else (to_g < len(common)).astype(np.float64)
    shape = (len(to_g), len(common) + 1)
    move_gc = sp.csr_matrix((kept_g.astype(np.float32), (np.arange(len(to_g)), to_g)), shape=shape)
    value_ng = one.value_ng
    if not counted:
        value_ng = log_normalise(value_ng, as_it_is=one.state is MatrixState.LOG1P_CP10K)
    moved = sp.csr_matrix(value_ng @ move_gc)
    moved.eliminate_zeros()
    moved.sort_indices()
    return moved


def _batches(files: Sequence[LabelledCells]) -> npt.NDArray[np.int32] | None:
    found: list[npt.NDArray[np.int32]] = []
    start = 0
    for one in files:
        if one.batch_n is None:
            return None
        found.append(np.where(one.batch_n >= 0, one.batch_n + start, -1).astype(np.int32))
        start += int(one.batch_n.max(initial=-1)) + 1
    return np.concatenate(found)
