"""Looks up what a merge needs of the model and the file, without torch: weights, names of genes, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from safetensors import SafetensorError
from safetensors.numpy import load

from jobs.engine.empty_genes import Typical, is_told, typical_of
from jobs.engine.raising import LEAST_COVERAGE, Thresholds, least_coverage
from jobs.engine.slopes import Slopes, have_slopes, slopes_of
from jobs.inference.data_manager import TaskInputs
from jobs.inference.merge.coverage import NOT_KNOWN, Coverage
from jobs.inference.merge.evidence import Evidence, evidence_of
from jobs.inference.merge.survey import Findings
from shared.bundles.card import WEIGHTS_NAME
from shared.domain.errors import InternalError, InvalidBundleError
from shared.domain.verdict import GeneIds, Verdict
from shared.h5ad.judge.cautions import WarningCode
from shared.h5ad.names.gene_table import symbol_of

_MANY = 0.1
"""Of a file with fewer cells of selected genes, the other cells' labels are reliable as ever."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a merge knows of the model from its weights.

    Attributes:
        slopes: Those of its scores; None for a kind of model that has none.
        typical: What the cells of each label express; None for a kind that does not tell.
    """

    slopes: Slopes | None
    typical: Typical | None


def known_of(inputs: TaskInputs) -> Known:
    """What the weights tell; of a model that tells nothing, they are not looked at.

    Raises:
        InvalidBundleError: The weights are not a safetensors file.
    """
    if not have_slopes(inputs.card) and not is_told(inputs.card):
        return Known(None, None)
    try:
        tensors = load(inputs.weights.take())
    except (SafetensorError, KeyError) as error:
        found = f"{WEIGHTS_NAME} cannot be read: {error}"
        where = inputs.card.reference
        raise InvalidBundleError(found, expected="safetensors", where=where, hint="Upload the bundle again.") from error
    slopes = slopes_of(inputs.card, tensors) if have_slopes(inputs.card) else None
    return Known(slopes, typical_of(inputs.card, tensors))


def find_evidence(inputs: TaskInputs, findings: Findings) -> Evidence:
    """The genes that spoke for each label, most frequent labels first."""
    expression = findings.expression
    assert expression is not None
    names = names_of_features(inputs, expression.in_file_f)
    return evidence_of(expression, names, list(findings.tally.label_counts))


def names_of_features(inputs: TaskInputs, in_file_f: Sequence[str | None]) -> list[str]:
    """The name for readers of each of the model's features.

    That is the file's name if it is a symbol, or else the model's symbol, or else GENCODE's, or else an id.

    Args:
        in_file_f: The file's name of each feature; None if the file lacks it.
    """
    verdict, features = inputs.record.verdict, inputs.card.features
    if verdict is None or verdict.genes is None:
        raise InternalError("a submission without a gene space was merged", expected="an accepted verdict")
    in_symbols = verdict.genes.kind is GeneIds.SYMBOL
    symbols = features.symbol or (None,) * len(features)
    ids = features.ensembl or (None,) * len(features)
    return [
        (in_file if in_symbols else None) or symbol or _symbol_of(gene_id or in_file or "")
        for in_file, symbol, gene_id in zip(in_file_f, symbols, ids, strict=True)
    ]


def _symbol_of(gene_id: str) -> str:
    return symbol_of(gene_id) or gene_id


def find_thresholds(inputs: TaskInputs, coverage: Coverage) -> Thresholds | None:
    """The thresholds of reliable labels; None if the model has none.

    No score is enough where the model's record of its errors does not hold: it is of cells with all of its genes.
    """
    found = inputs.card.reliability_at(inputs.options.max_error)
    if found is None:
        return None
    why = why_none(inputs, coverage, least_coverage(found.error))
    return Thresholds.none(found.error, why) if why else Thresholds.as_learned(found)


def why_none(inputs: TaskInputs, coverage: Coverage = NOT_KNOWN, least: float = LEAST_COVERAGE) -> str:
    """Why labels are guesses in this file, whatever is known of the model; empty if they need not be."""
    verdict = inputs.record.verdict
    if verdict is not None and verdict.warns_of(WarningCode.GENES_DISAGREE):
        return "the names of the genes do not fit the values"
    if verdict is not None and verdict.warns_of(WarningCode.ORTHOLOGUES_USED):
        return "genes of another species stand in for the model's"
    if (share := _share_of_selected(verdict)) >= _MANY:
        return f"{share:.0%} of the cells have selected genes only"
    return coverage.words if coverage.is_below(least) else ""


def _share_of_selected(verdict: Verdict | None) -> float:
    """The share of the cells of which most genes were left out, as where files were joined; 0 if there are none."""
    found = () if verdict is None else verdict.warnings
    shares = [one.details.get("share", 0.0) for one in found if one.code == WarningCode.SUBSET_OF_GENES]
    return max((share for share in shares if isinstance(share, float)), default=0.0)
