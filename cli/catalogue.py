"""Bundles as the command line finds and tells them."""

from __future__ import annotations

from pathlib import Path

from cli.console import Output
from shared.bundle import CARD_NAME, ModelCard, parse_card
from shared.domain.errors import ModelNotFoundError
from shared.models import find_model, list_models, version_key
from shared.settings import Settings
from shared.wiring import build_files


def all_cards(settings: Settings) -> list[ModelCard]:
    """Every bundle in the folder of bundles."""
    return list_models(build_files(settings), settings.models_bucket)


def find_card(settings: Settings, model: str) -> ModelCard:
    """The card that a name or a folder stands for.

    Raises:
        ModelNotFoundError: There is none.
        InvalidBundleError: It breaks the format.
    """
    folder = bundle_folder(model)
    if folder is not None:
        return parse_card((folder / CARD_NAME).read_bytes(), where=str(folder))
    return find_model(build_files(settings), settings.models_bucket, model)[0]


def bundle_folder(model: str) -> Path | None:
    """The folder of the bundle that a path names, or None when it is no path but a name.

    A folder of bundles stands for the newest version of its only model.

    Raises:
        ModelNotFoundError: A path that holds no bundle, or several models.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir() and "/" not in model:
        return None
    if (folder / CARD_NAME).is_file():
        return folder
    found = [path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{CARD_NAME}")]
    if not found:
        hint = "Give the folder that holds model.json, or a name from `celldrop models list`."
        raise ModelNotFoundError(f"no {CARD_NAME} in {folder}", expected="the folder of a bundle", hint=hint)
    if len({path.parent for path in found}) > 1:
        names = ", ".join(sorted(str(path) for path in found))
        raise ModelNotFoundError(f"several models in {folder}", expected=f"one of {names}", hint="Name one of them.")
    return max(found, key=lambda path: version_key(path.name))


def say_card(card: ModelCard, output: Output) -> None:
    """A card in words."""
    training = card.training
    output.say(f"{card.reference}  {card.title}", style="bold")
    if card.description:
        output.say(card.description)
    output.say(f"  {card.kind}, {len(card.features):,} features, {card.species}, digest {card.digest[:12]}…")
    output.say(f"  made by   {training.method} from {training.source or 'unknown'}")
    output.say(f"  licence   {card.licence or 'not stated'}")
    output.say(f"  cite      {card.citation or 'not stated'}")
    for name, value in training.metrics.items():
        output.say(f"  {name}  {value:.4g}")
    rows = [
        [label.name, label.ontology_id or "", label.lineage or "", _metric(card, label.name)] for label in card.labels
    ]
    output.table(["label", "Cell Ontology", "lineage", "held-out recall"], rows)


def _metric(card: ModelCard, label: str) -> str:
    recall = card.training.per_label.get(label, {}).get("recall")
    return "" if recall is None else f"{recall:.3f}"
