"""Finds and prints bundles for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from cli.console import Output
from cli.files import bundle_folder
from shared.bundles.card import ModelCard, metric_words
from shared.bundles.catalogue import find_model, list_models
from shared.bundles.reading import read_bundle
from shared.domain.words import listed, plural
from shared.ports.blobs import BlobStore
from shared.settings import Settings
from shared.wiring.folders import directories
from shared.wiring.ports import build_files

_MOST_NAMED = 10


def all_cards(settings: Settings) -> list[ModelCard]:
    """The cards of all bundles in the models folder, and of those that were added."""
    return list_models(build_files(settings), settings.models_bucket)


def installed_cards(settings: Settings) -> list[tuple[ModelCard, Path]]:
    """The cards of all bundles with their folders."""
    folders = (settings.models_dir, settings.added_models)
    places = ((card, [folder / card.name / card.version for folder in folders]) for card in all_cards(settings))
    return [(card, next((path for path in paths if path.is_dir()), paths[0])) for card, paths in places]


class Named(Protocol):
    """Something of which there are several versions of one name."""

    @property
    def name(self) -> str:
        """The name that they share."""
        ...


Versioned = TypeVar("Versioned", bound=Named)


def newest_of(models: Sequence[Versioned]) -> list[Versioned]:
    """The newest version of each model; versions of one name are given newest first."""
    return list({model.name: model for model in reversed(models)}.values())[::-1]


def default_among(cards: Sequence[ModelCard], settings: Settings) -> ModelCard | None:
    """The model that is used where none is asked for; None if it is not among these."""
    name = settings.default_model
    return next((card for card in cards if name in {card.name, card.reference}), None)


def say_cards(cards: Sequence[ModelCard], default: ModelCard | None, output: Output) -> None:
    """Print a table of bundles."""
    rows = [
        [
            f"{card.reference} (default)" if card == default else card.reference,
            f"{len(card.labels):,}",
            f"{len(card.features):,}",
            card.species,
            card.title,
        ]
        for card in cards
    ]
    output.table(["model", "labels", "features", "species", "title"], rows)


def find_card(settings: Settings, model: str, *, by_folder: str) -> ModelCard:
    """Find the card of a bundle by name or folder.

    Args:
        by_folder: How the command is given a folder, for the message of a name that is not found.

    Raises:
        ModelNotFoundError: There is no such bundle.
        InvalidBundleError: The card breaks the format.
    """
    folder = bundle_folder(model)
    if folder is not None:
        return card_of_folder(folder)
    return find_model(build_files(settings), settings.models_bucket, model, by_folder=by_folder)[0]


def card_of_folder(folder: Path) -> ModelCard:
    """The card of the bundle in a folder.

    Raises:
        InvalidBundleError: The card breaks the format, a file is missing, or one was changed.
    """
    return read_bundle(*as_bucket(folder), None)[0]


def as_bucket(folder: Path) -> tuple[BlobStore, str, str]:
    """A store, a bucket and a prefix in which the bundle of a folder is found."""
    above = folder.resolve().parent
    return directories({str(above): above}), str(above), f"{folder.resolve().name}/"


def say_card(card: ModelCard, output: Output) -> None:
    """Print a card as text."""
    training = card.training
    output.say(f"{card.reference}  {card.title}", style="bold")
    if card.description:
        output.say(card.description)
    output.say(f"  {card.kind}, {len(card.features):,} features, {card.species}, digest {card.digest[:12]}…")
    output.say(f"  made by   {training.method} from {training.source or 'unknown'}")
    for name, values in (("tissue", training.tissues), ("stage", training.stages), ("assay", training.assays)):
        if values:
            output.say(f"  {name:<9} {listed(values, most=_MOST_NAMED)}")
    if training.n_cells:
        donors = f" of {plural(training.n_donors, 'donor')}" if training.n_donors else ""
        output.say(f"  cells     {training.n_cells:,}{donors}")
    output.say(f"  licence   {card.licence or 'not stated'}")
    output.say(f"  cite      {card.citation or 'not stated'}")
    for name, value in training.metrics.items():
        output.say(f"  {metric_words(name)}  {value:.4g}")
    rows = [
        [label.name, label.ontology_id or "", label.lineage or "", _metric(card, label.name)] for label in card.labels
    ]
    heads = ["label", "Cell Ontology", "lineage", "recall of held-out cells"]
    if any(label.submitted for label in card.labels):
        heads.append("in the training data")
        rows = [[*row, label.submitted or label.name] for row, label in zip(rows, card.labels, strict=True)]
    output.table(heads, rows)
    _say_reliability(card, output)
    if card.tree:
        output.table(
            ["wider type", "Cell Ontology", "labels"],
            [[group.name, group.ontology_id or "", ", ".join(group.labels)] for group in card.tree],
        )


def _say_reliability(card: ModelCard, output: Output) -> None:
    """Say from which scores on labels are reliable, by the share of wrong answers that is allowed."""
    if not card.reliability:
        output.say("  no label is called reliable: how often its scores are wrong was not measured")
        return
    if card.tree:
        heads = ["max_error", "a label or wider type is reliable from a score of"]
        rows = [[f"{one.error:g}", _score(one.tree_score)] for one in card.reliability]
    else:
        heads = ["max_error", "a label is reliable from a score of", "a lineage"]
        rows = [[f"{one.error:g}", _score(one.label_score), _score(one.lineage_score)] for one in card.reliability]
    output.table(heads, rows)


def _score(least: float | None) -> str:
    return "none" if least is None else f"{least:.2f}"


def _metric(card: ModelCard, label: str) -> str:
    measured = card.training.per_label.get(label, {})
    recall, support = measured.get("recall"), measured.get("support")
    if recall is None:
        return ""
    return f"{recall:.3f}" if support is None else f"{recall:.3f} of {support:,.0f}"
