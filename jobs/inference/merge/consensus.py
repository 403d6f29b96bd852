"""What several models say about each cell, and what most of them agree on: streamed from the parts in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from jobs.engine.cell_types import NO_TYPE, CellTypes
from jobs.engine.consensus import Agreed, Counting, Relation
from jobs.inference.merge.calls import Calls, I64Array, Vocabulary, name_codes, reliable_codes
from jobs.inference.merge.columns import CATEGORY, InObs, annotation_table, categories
from jobs.inference.merge.groups import Merge
from jobs.inference.parts.arrays import F32Array, column_of
from shared.bundles.card import UNASSIGNED
from shared.domain.geometry import Rows
from shared.domain.options import MOST_OTHERS

_WORDS = {
    Relation.SAME: "same",
    Relation.WIDER: "wider",
    Relation.DIFFERENT: "different",
    Relation.NOT_COMPARABLE: "not comparable",
    Relation.UNSAID: "no answer",
}
RELATION_WORDS = tuple(_WORDS[one] for one in Relation)
"""What tables call each ``Relation``."""


@dataclass(frozen=True, slots=True)
class Opinions:
    """What the models say about consecutive cells.

    Attributes:
        calls_m: Each model's calls, the main model's first.
        stance_m: What each stands by for each cell, as a place in ``Ballot.names``.
        agreed: What they say together.
    """

    rows: Rows
    calls_m: tuple[Calls, ...]
    stance_m: tuple[I64Array, ...]
    agreed: Agreed

    @property
    def agreement_n(self) -> F32Array:
        """The share of the models that vote for the consensus; NaN without one."""
        share_n = self.agreed.votes_n.astype(np.float32) / np.float32(len(self.calls_m))
        return np.where(self.agreed.votes_n > 0, share_n, np.float32(np.nan)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one model can stand by: its reliable labels, or its labels where it is not known which are reliable.

    Of the PBMC 3k cells, the consensus of pbmc and pbmc-sorted contradicts the authors' label for 9 % by reliable
    labels, and for 18 % by labels; it is Unassigned for 5 % in both ways (2026-11-30).

    Attributes:
        names: What it can stand by, ``Unassigned`` for nothing included.
        type_s: The type of each, or NO_TYPE.
        reliable: Whether it is known which labels are reliable.
        silent: It stands by nothing, as its labels are guesses in this file, by its genes.
    """

    vocabulary: Vocabulary
    names: tuple[str, ...]
    type_s: I64Array
    reliable: bool
    silent: bool = False

    @classmethod
    def of(cls, merge: Merge, type_of: Mapping[str, int], *, silent: bool = False) -> Ballot:
        """That of a model whose names stand for these types."""
        vocabulary, reliable = merge.vocabulary, merge.rules.thresholds is not None
        names = vocabulary.reliable_names if reliable else vocabulary.names
        type_s = np.array([type_of.get(name, NO_TYPE) for name in names], np.int64)
        return cls(vocabulary, names, type_s, reliable, silent)

    def codes(self, calls: Calls) -> I64Array:
        """The place in ``names`` of what it stands by for each cell; of an unfamiliar cell, that is nothing."""
        if self.reliable:
            return reliable_codes(calls, self.vocabulary)
        code_n = name_codes(calls, self.vocabulary)
        nothing_n = calls.unfamiliar_n | self.silent
        return np.where(nothing_n, self.vocabulary.unassigned_code, code_n)


@dataclass(frozen=True)
class Consensus:
    """The parts of a submission, read by several models at once. Each pass streams them again.

    Attributes:
        main: The merge of the main model.
        others: Those of the further models, by their own rules, on the same parts.
        types: The types that they can name.
        silent_m: Whether each model stands by nothing (``Ballot``), the main one first; empty: none does.
    """

    main: Merge
    others: tuple[Merge, ...]
    types: CellTypes
    silent_m: tuple[bool, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Distinct names that the consensus can have, ``Unassigned`` among them."""
        return tuple(dict.fromkeys([*self.types.names, UNASSIGNED]))

    @cached_property
    def name_codes(self) -> I64Array:
        """The place of each type in ``names``; the last is that of ``Unassigned``, for NO_TYPE."""
        place = {name: code for code, name in enumerate(self.names)}
        return np.array([place[name] for name in (*self.types.names, UNASSIGNED)], np.int64)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Distinct Cell Ontology ids that the consensus can have."""
        return tuple(one for one in self.types.ids if one)

    @cached_property
    def id_codes(self) -> I64Array:
        """The place of each type in ``ids``, or -1; the last is for NO_TYPE."""
        place = {one: code for code, one in enumerate(self.ids)}
        return np.array([*(place.get(one or "", -1) for one in self.types.ids), -1], np.int64)

    @cached_property
    def ballots(self) -> tuple[Ballot, ...]:
        """Each model's, the main model's first."""
        merges = (self.main, *self.others)
        silent_m = self.silent_m or (False,) * len(merges)
        each = zip(merges, self.types.type_of, silent_m, strict=True)
        return tuple(Ballot.of(merge, types, silent=silent) for merge, types, silent in each)

    def opinions(self) -> Iterator[Opinions]:
        """The cells in row order, in groups as those of ``Merge``.

        Raises:
            CorruptBlobError: As in ``Merge.groups``.
            BlobNotFoundError: As in ``Merge.groups``.
        """
        counting = Counting(self.types)
        for group in self.main.groups():
            others = (other.group(group.rows, group.batches).calls for other in self.others)
            calls_m = (group.calls, *others)
            stance_m = tuple(ballot.codes(calls) for ballot, calls in zip(self.ballots, calls_m, strict=True))
            types = [ballot.type_s[code_n] for ballot, code_n in zip(self.ballots, stance_m, strict=True)]
            yield Opinions(group.rows, calls_m, stance_m, counting.agreed(np.stack(types, axis=1)))

    def table(self, opinions: Opinions) -> pa.Table:
        """The columns of ``columns_for`` this many models."""
        columns = columns_for(len(self.others))
        made = [column.values(Stated(opinions, self)) for column in columns]
        return pa.table(made, schema=pa.schema([pa.field(one.name, one.kind) for one in columns]))

    def obs_tables(self) -> Iterator[pa.Table]:
        """The main model's annotation table with the columns of the consensus, one group at a time."""
        for opinions in self.opinions():
            calls, merge = opinions.calls_m[0], self.main
            table, more = annotation_table(calls, merge.vocabulary, merge.layout.top_k), self.table(opinions)
            for name in more.column_names:
                if name not in table.column_names:
                    table = table.append_column(more.schema.field(name), more[name])
            yield table


@dataclass(frozen=True, slots=True)
class Stated:
    """Some cells' opinions, with all that is needed to write them in columns."""

    opinions: Opinions
    consensus: Consensus


@dataclass(frozen=True, slots=True)
class ConsensusColumn:
    """A column of ``consensus.csv.gz``, with attributes as in ``Column``."""

    name: str
    kind: pa.DataType
    meaning: str
    values: Callable[[Stated], pa.Array]
    in_obs: InObs = InObs.IF_ANY


def columns_for(n_others: int) -> tuple[ConsensusColumn, ...]:
    """The columns if there are so many further models."""
    return (*_COMMON, *(column for place in range(n_others) for column in _of_model(place + 1)))


def _label(stated: Stated, model: int) -> pa.Array:
    vocabulary = stated.consensus.ballots[model].vocabulary
    return categories(name_codes(stated.opinions.calls_m[model], vocabulary), vocabulary.names)


def _score(stated: Stated, model: int) -> pa.Array:
    return column_of(stated.opinions.calls_m[model].top_score_nk[:, 0])


def _reliable(stated: Stated, model: int) -> pa.Array:
    ballot, code_n = stated.consensus.ballots[model], stated.opinions.stance_m[model]
    return categories(code_n if ballot.reliable else np.full(len(code_n), -1), ballot.names)


def _consensus_label(stated: Stated) -> pa.Array:
    consensus = stated.consensus
    return categories(consensus.name_codes[stated.opinions.agreed.type_n], consensus.names)


def _consensus_id(stated: Stated) -> pa.Array:
    consensus = stated.consensus
    return categories(consensus.id_codes[stated.opinions.agreed.type_n], consensus.ids)


def _agreement(stated: Stated) -> pa.Array:
    agreement_n = stated.opinions.agreement_n
    return column_of(agreement_n, np.isnan(agreement_n))


def _relation(stated: Stated) -> pa.Array:
    return categories(stated.opinions.agreed.relation_n, RELATION_WORDS)


def _of_model(model: int) -> tuple[ConsensusColumn, ...]:
    """The columns of a further model, by its number from 1."""
    name = f"model{model + 1}"
    return (
        ConsensusColumn(
            f"{name}_label",
            CATEGORY,
            f"The label that model {model + 1} gives the cell by itself; `{UNASSIGNED}` as in `label`.",
            lambda stated: _label(stated, model),
        ),
        ConsensusColumn(f"{name}_score", pa.float32(), "Its probability.", lambda stated: _score(stated, model)),
        ConsensusColumn(
            f"{name}_reliable_label",
            CATEGORY,
            f"The most specific type that is reliable by model {model + 1}, as in `reliable_label`; empty if it is not "
            "known what is reliable.",
            lambda stated: _reliable(stated, model),
        ),
    )


_COMMON = (
    ConsensusColumn(
        "cell_id",
        pa.string(),
        "The cell's name in `obs`, as in the file.",
        lambda stated: stated.opinions.calls_m[0].cell_ids,
        in_obs=InObs.NO,
    ),
    ConsensusColumn(
        "label",
        CATEGORY,
        "The label of the model itself, as in `annotations.csv.gz`.",
        lambda stated: _label(stated, 0),
        in_obs=InObs.NO,
    ),
    ConsensusColumn("score", pa.float32(), "Its probability.", lambda stated: _score(stated, 0), in_obs=InObs.NO),
    ConsensusColumn(
        "reliable_label",
        CATEGORY,
        "Its most specific type that is reliable, likewise.",
        lambda stated: _reliable(stated, 0),
        in_obs=InObs.NO,
    ),
    ConsensusColumn(
        "consensus_label",
        CATEGORY,
        "The most specific type that more than half of the models vote for. Each votes for its reliable label (for its "
        "label, if it is not known what is reliable) and for every wider type that this is a kind of; for none where "
        f"that is `{UNASSIGNED}` or the cell is unfamiliar to it. `{UNASSIGNED}` if there is no such type.",
        _consensus_label,
    ),
    ConsensusColumn(
        "consensus_id",
        CATEGORY,
        "The Cell Ontology id of `consensus_label`; empty if it has none.",
        _consensus_id,
    ),
    ConsensusColumn(
        "consensus_agreement",
        pa.float32(),
        f"The share of the models that vote for it, over 0.5; empty if it is `{UNASSIGNED}`.",
        _agreement,
    ),
    ConsensusColumn(
        "consensus_relation",
        CATEGORY,
        "How the types that the models vote for agree: `same`; `wider`, if they differ only in how specific they are; "
        "`different`, if two are known to be different; `not comparable`, if no model's card relates two of them, nor "
        "says that they differ; `no answer`, if some model votes for none and the others do not contradict each other.",
        _relation,
    ),
)

CONSENSUS_COLUMNS = columns_for(MOST_OTHERS)
"""In the order in which they are written, for the most models."""
