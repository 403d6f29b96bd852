"""The card of a model bundle (``model.json``): the fields that every kind of model has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.bundles.groups import ONTOLOGY_ID, Group, check_tree
from shared.bundles.terms import Term, check_terms
from shared.domain.plan import CostHints
from shared.domain.verdict import Species

CARD_NAME = "model.json"
WEIGHTS_NAME = "weights.safetensors"
FORMAT = 1
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
VERSION_PATTERN = r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,31}$"
MOST_LABELS = 10_000
"""Of a model, and as many wider types. The whole of the human brain has some 3,000 clusters."""
MOST_TERMS = 20_000
"""Of the Cell Ontology, which has some 3,500 (2026)."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Kind(StrEnum):
    """The mathematics of a bundle."""

    LINEAR = "linear"
    """A weight for each gene and label."""
    CENTROID = "centroid"
    """The nearest mean cell along principal components."""
    NEIGHBOURS = "neighbours"
    """The votes of the nearest reference cells."""
    NEURAL = "neural"
    """An encoder of counts and a classifier of its output, as in scANVI."""
    ENCODED = "encoded"
    """An encoder of expression and the votes of the nearest reference cells, as in SCimilarity."""


class Activation(StrEnum):
    """How decision scores become probabilities."""

    SIGMOID = "sigmoid"
    """Each label on its own (one against the rest, as in CellTypist)."""
    SOFTMAX = "softmax"


class Features(_Frozen):
    """The ordered feature table; column ``i`` of the weights is feature ``i``.

    Attributes:
        symbol: Gene symbols, None where unknown; or empty when no symbol is known.
        ensembl: Ensembl ids without version, None where unknown; or empty when none is known.
    """

    symbol: tuple[str | None, ...] = ()
    ensembl: tuple[str | None, ...] = ()

    @model_validator(mode="after")
    def _columns_agree(self) -> Features:
        lengths = {len(column) for column in (self.symbol, self.ensembl) if column}
        if len(lengths) != 1:
            msg = f"symbol and ensembl must have one length above 0, found {sorted(lengths)}"
            raise ValueError(msg)
        return self

    def __len__(self) -> int:
        return len(self.symbol) or len(self.ensembl)


class Normalise(_Frozen):
    """Scale each cell's counts, over all genes of the file, to ``target_sum``."""

    step: Literal["normalise"] = "normalise"
    target_sum: float = Field(default=1e4, ge=1, le=1e9)


class NormaliseFeatures(_Frozen):
    """Scale each cell's counts of the features to ``target_sum``: other genes of the file do not count."""

    step: Literal["normalise_features"] = "normalise_features"
    target_sum: float = Field(default=1e4, ge=1, le=1e9)


class Log1p(_Frozen):
    """Natural logarithm of one plus the value."""

    step: Literal["log1p"] = "log1p"


class Standardise(_Frozen):
    """(x - mean) / std with the weights' ``mean`` and ``std``, then at most ``clip_max``; None does not clip."""

    step: Literal["standardise"] = "standardise"
    clip_max: float | None = Field(default=10.0, ge=1e-3, le=1e6)


Step = Annotated[Normalise | NormaliseFeatures | Log1p | Standardise, Field(discriminator="step")]


class Label(_Frozen):
    """One class of cells.

    Attributes:
        ontology_id: Cell Ontology id (``CL:0000084``), if known.
        lineage: A coarser name that several labels share, if known.
        submitted: The name in the training data, if it is another one.
    """

    name: str
    ontology_id: str | None = Field(default=None, pattern=f"^{ONTOLOGY_ID.pattern}$")
    lineage: str | None = None
    submitted: str | None = None


class Familiarity(_Frozen):
    """How cells that are unlike the training cells are recognised: by genes that no training cells express.

    The formula is in ``jobs.engine.familiarity``.

    Attributes:
        genes: The watched genes, none of them a feature, with the same columns as the features.
        typical_total: Median total count of the cells that the numbers below were learned from.
        spread: Standard deviation of the weighted share of watched genes between familiar cells of great depth.
        threshold: Cells with a higher unfamiliarity are unfamiliar.
        false_alarm: The share of familiar cells over the threshold, as requested at training.
    """

    genes: Features
    typical_total: float = Field(ge=1, le=1e9)
    spread: float = Field(ge=1e-9, le=1e3)
    threshold: float = Field(ge=0, le=1e6)
    false_alarm: float = Field(gt=0, lt=1)


class Reliability(_Frozen):
    """The scores from which labels are reliable, at one error rate; learned on held-out cells.

    Of the cells that get a label or a lineage by these thresholds, a share of at most ``error`` gets a wrong one. If
    the labels have a tree, it is a share of at most ``error`` of all cells.

    Attributes:
        label_score: Least score of a label; None if no score is enough.
        lineage_score: Least score of a lineage, for cells whose label is not reliable; None if no score is enough, or
            the labels have no lineages.
        tree_score: If the labels have a tree, the least score of a label or a group, in place of the other two; None if
            no score is enough.
    """

    error: float = Field(gt=0, lt=1)
    label_score: float | None = Field(ge=0, le=1)
    lineage_score: float | None = Field(ge=0, le=1)
    tree_score: float | None = Field(default=None, ge=0, le=1)


_LEAST_SHARE = 1e-9
_LETTERS = 80
UNASSIGNED = "Unassigned"
"""The label of an unassigned cell, as in CellTypist. Its best guess stays in ``top_labels``."""


def have_lineages(labels: Sequence[Label]) -> bool:
    """Whether every label has a lineage, and the lineages say something, but less than the labels."""
    lineages = {label.lineage for label in labels}
    return None not in lineages and 1 < len(lineages) < len(labels)


_METRIC_WORDS = {
    "calibration_error_before": "calibration error without the temperature",
    "abstained_share": "share of cells left Unassigned",
    "macro_f1": "macro F1",
    "cross_validation_accuracy": "cross-validation accuracy",
    "kept_accuracy": "accuracy of the cells that keep a label",
    "cross_validation_accuracy_sd": "its standard deviation",
}


def metric_words(name: str) -> str:
    """A metric of ``Training.metrics``, as people read it."""
    return _METRIC_WORDS.get(name, name.replace("_", " "))


class Training(_Frozen):
    """The origin of the weights.

    Attributes:
        method: ``imported from CellTypist``, ``celldrop models train`` …
        source: File name or citation of the data.
        source_sha256: Its sha256, if known.
        tissues: Of the cells, as CELLxGENE names them (``blood``), the most frequent first, as the next two.
        stages: The stages of development of their donors.
        assays: How they were sequenced.
        n_donors: The number of donors, if known.
        parameters: The settings that reproduce the training.
        metrics: Measured on cells that were not trained on.
        per_label: The same for each label: precision, recall and support.
    """

    method: str
    source: str = ""
    source_sha256: str | None = None
    trained_at: str | None = None
    n_cells: int | None = None
    tissues: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    assays: tuple[str, ...] = ()
    n_donors: int | None = None
    parameters: dict[str, str | int | float | bool | None] = {}
    metrics: dict[str, float] = {}
    per_label: dict[str, dict[str, float]] = {}

    @property
    def digests(self) -> frozenset[str]:
        """The sha256 of every file that the model is made from; a field may have several, with ", " between."""
        said = (self.source_sha256, *map(self.parameters.get, ("trained_on", "reference_of")))
        return frozenset(one for text in said if isinstance(text, str) for one in text.split(", ") if one)


class ModelCard(_Frozen):
    """The fields of ``model.json`` that every kind shares; ``shared.bundles.kinds`` has the card of each kind.

    Loading a card or its weights never runs code.

    Attributes:
        digest: sha256 of the card without this field and of the weights' bytes; see ``stored.digest_of``.
        min_score: Cells with a lower best probability are left unassigned; None: no cell is.
        temperature: Decision scores are divided by it before the activation (calibration).
        default_overlap: Least share of the features that a file must have.
        familiarity: How unfamiliar cells are recognised; None if they are not.
        assumed_shares: The shares of the labels that the scores assume. If given, scores are corrected to the shares
            in the annotated sample, unless the option ``composition=off`` asks for them as they are.
        tree: Groups of labels that are kinds of one wider type, the narrowest first; any two lie within one another
            or apart.
        terms: The Cell Ontology terms of the labels and all that these are kinds of, parents first. Without them, wider
            types are those of the tree.
        reliability: The thresholds of reliable labels, for several error rates.
        flops_per_cell: Floating-point operations for one cell.
    """

    format: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    digest: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    title: str = ""
    description: str = ""
    licence: str = ""
    citation: str = ""
    species: Species = Species.HUMAN
    kind: Kind
    features: Features
    preprocessing: tuple[Step, ...]
    labels: tuple[Label, ...] = Field(min_length=2, max_length=MOST_LABELS)
    activation: Activation = Activation.SIGMOID
    temperature: float = Field(default=1.0, ge=1e-3, le=1e6)
    min_score: float | None = Field(default=None, ge=0, le=1)
    default_overlap: float = Field(default=0.1, ge=0, le=1)
    familiarity: Familiarity | None = None
    assumed_shares: tuple[float, ...] = ()
    tree: tuple[Group, ...] = Field(default=(), max_length=MOST_LABELS)
    terms: tuple[Term, ...] = Field(default=(), max_length=MOST_TERMS)
    reliability: tuple[Reliability, ...] = ()
    training: Training
    flops_per_cell: float = Field(default=0.0, ge=0, le=1e15)
    weights_bytes: int = Field(default=0, ge=0, le=10**12)
    needs_gpu: bool = False

    @model_validator(mode="after")
    def _labels_differ(self) -> ModelCard:
        repeated = [name for name, count in Counter(label.name for label in self.labels).items() if count > 1]
        if repeated:
            msg = f"each label must have a name of its own, found {repeated[0]!r} again"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _names_can_be_written(self) -> ModelCard:
        names = [*(label.name for label in self.labels), *(label.lineage or "-" for label in self.labels)]
        unusable = [name for name in (*names, *(group.name for group in self.tree)) if not name.strip() or "\0" in name]
        if unusable:
            msg = (
                f"labels, lineages and groups must have names, without NUL characters, found {unusable[0][:_LETTERS]!r}"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _watched_genes_have_the_same_names(self) -> ModelCard:
        if self.familiarity is not None:
            watched = self.familiarity.genes
            for column, own in ((watched.symbol, self.features.symbol), (watched.ensembl, self.features.ensembl)):
                named = [name for name in (*own, *column) if name]
                if column and len(set(named)) < len(set(filter(None, own))) + sum(map(bool, column)):
                    msg = "each watched gene must occur once, and be no feature"
                    raise ValueError(msg)
            if (bool(watched.symbol), bool(watched.ensembl)) != (
                bool(self.features.symbol),
                bool(self.features.ensembl),
            ):
                msg = "the watched genes must be named as the features are: by symbols, Ensembl ids or both"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _shares_are_shares(self) -> ModelCard:
        shares = self.assumed_shares
        if shares and (len(shares) != len(self.labels) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-3):
            msg = f"assumed_shares must be above 0 and add up to 1, one for each of the {len(self.labels)} labels"
            raise ValueError(msg)
        if shares and min(shares) < _LEAST_SHARE:
            msg = f"assumed_shares must be at least {_LEAST_SHARE:g}"
            raise ValueError(msg)
        if shares and self.activation is not Activation.SOFTMAX:
            msg = "assumed_shares need scores that add up to 1 (activation softmax)"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _levels_can_be_told_apart(self) -> ModelCard:
        if any(label.lineage in {"", UNASSIGNED} for label in self.labels):
            msg = f"a lineage must have a name, and none may be called {UNASSIGNED}"
            raise ValueError(msg)
        rates = [one.error for one in self.reliability]
        if rates != sorted(set(rates)):
            msg = "reliability must have each error rate once, the lowest first"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _tree_is_a_tree(self) -> ModelCard:
        check_tree(self.tree, {label.name: label.lineage for label in self.labels}, UNASSIGNED)
        if self.tree and self.activation is not Activation.SOFTMAX:
            msg = "a tree needs scores that add up to 1 (activation softmax)"
            raise ValueError(msg)
        if not self.tree and any(one.tree_score is not None for one in self.reliability):
            msg = "tree_score needs a tree"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _terms_have_no_circles(self) -> ModelCard:
        check_terms(self.terms)
        return self

    @property
    def has_terms(self) -> bool:
        """Whether a label, or a group of labels, is a term of the Cell Ontology."""
        return any(label.ontology_id for label in self.labels) or any(group.ontology_id for group in self.tree)

    @property
    def has_lineages(self) -> bool:
        """Whether every cell gets a lineage beside its label: every label has one, and they say less than labels."""
        return self.activation is Activation.SOFTMAX and have_lineages(self.labels)

    @property
    def is_imported(self) -> bool:
        """Whether another program trained it."""
        return self.training.method.startswith("imported")

    @property
    def needs_counts(self) -> bool:
        """Whether the model computes from counts that are not scaled to a total, so that a file must have them."""
        return False

    @property
    def needs_all_scores(self) -> bool:
        """Whether the merge needs the scores of all labels, not only of the best."""
        return bool(self.assumed_shares or self.tree) or self.has_lineages

    def reliability_at(self, error: float) -> Reliability | None:
        """The thresholds for the highest error rate that is at most this; None if there are none."""
        return max(
            (one for one in self.reliability if one.error <= error + 1e-9), key=lambda one: one.error, default=None
        )

    @property
    def watched(self) -> Features | None:
        """The watched genes; None without ``familiarity``."""
        return None if self.familiarity is None else self.familiarity.genes

    @property
    def meaning_of_score(self) -> str:
        """What a score of this model means, in sentences for users."""
        raise NotImplementedError

    @property
    def cost(self) -> CostHints:
        """The cost hints for the planner."""
        return CostHints(self.flops_per_cell, self.weights_bytes, self.needs_gpu)

    @property
    def reference(self) -> str:
        """``NAME@VERSION``."""
        return f"{self.name}@{self.version}"
