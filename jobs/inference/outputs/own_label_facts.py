"""What the manifest says of the labels that the file had already."""

from __future__ import annotations

from jobs.inference.merge.cross_table import Agreement, CrossTable, shown
from jobs.inference.merge.own_labels import NoOwnLabels
from jobs.inference.outputs.manifest import AgreementFacts, OwnLabelFacts


def own_label_facts(compared: CrossTable | NoOwnLabels) -> OwnLabelFacts | None:
    """The facts of a comparison; None if there is none."""
    if isinstance(compared, NoOwnLabels):
        return None
    own = compared.own
    pairs = list(zip(own.names, own.meanings, strict=True))
    return OwnLabelFacts(
        column=own.column,
        asked=own.asked,
        n_cells=compared.n_labelled,
        n_names=len(own.names),
        n_comparable=compared.n_comparable,
        counterparts={name: meant.label for name, meant in pairs if meant.label is not None},
        lineages={name: meant.lineage for name, meant in pairs if meant.lineage is not None},
        label_agreement=_facts(compared.labels),
        lineage_agreement=_facts(compared.lineages),
        n_reliable=compared.n_reliable,
        reliable_accuracy=compared.reliable_accuracy,
        main_share=compared.main_share,
        counts=_counts(compared),
    )


def _facts(found: Agreement | None) -> AgreementFacts | None:
    if found is None:
        return None
    return AgreementFacts(
        n_cells=found.n_cells,
        accuracy=found.accuracy,
        macro_f1=found.macro_f1,
        calibration_error=found.calibration_error,
    )


def _counts(cross: CrossTable) -> dict[str, dict[str, int]]:
    part, labels = shown(cross.labelled_tc), cross.vocabulary.names
    return {
        cross.own.names[name]: {labels[code]: int(n) for code, n in zip(part.labels, cells_c, strict=True) if n}
        for name, cells_c in zip(part.names, part.cells_tc, strict=True)
    }
