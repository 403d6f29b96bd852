"""`celldrop validate`: prints the verdict on a file, as text or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cli.catalogue import all_cards, find_card
from cli.console import Exit, Output
from cli.embedded import drop_of_file
from cli.estimating import forecast_words
from cli.findings import say_finding
from cli.running import read_pairs
from shared.bundles.card import ModelCard
from shared.bundles.instead import naming_models
from shared.domain.errors import ModelNotFoundError
from shared.domain.options import parse_options
from shared.domain.plan import CostHints
from shared.domain.planning import with_forecast
from shared.domain.verdict import Severity, Verdict
from shared.records.documents import verdict_document
from shared.settings import Settings
from shared.validation import Validator
from shared.wiring.ports import build_files


def validate_file(settings: Settings, file: Path, *, model: str | None, pairs: Sequence[str], output: Output) -> Exit:
    """Validate a file as ingest does, for the requested model or the default one.

    Raises:
        CelldropError: The file or the request cannot be used.
    """
    requested = read_pairs(pairs)
    options = parse_options(requested)
    requested_model = model or options.model
    card = find_card(settings, requested_model) if requested_model else _default_card(settings)
    blobs = build_files(settings)
    source = drop_of_file(blobs, file, {}).source
    verdict = naming_models(Validator.of(blobs, settings)(source, card, options), lambda: all_cards(settings))
    # Without a model, the forecast covers reading the file, which takes most of the time.
    cost = card.cost if card else CostHints(flops_per_cell=0.0, weights_bytes=0)
    verdict = with_forecast(verdict, cost, settings.fleet, requested)
    refusal = verdict.refusals[0] if verdict.refusals else None
    summary = {"code": refusal.code, "message": refusal.message, "hint": refusal.hint} if refusal else {"code": None}
    judged_for = card.reference if card else None
    output.result({"file": str(file), "model": judged_for, **summary, **verdict_document(verdict)})
    say_verdict(verdict, file, output)
    output.say(_model_words(card, settings, requested=requested_model is not None))
    return Exit.DONE if verdict.accepted else Exit.REFUSED


def _default_card(settings: Settings) -> ModelCard | None:
    """The default model's card. None if it does not exist; the file is then validated without a model."""
    with suppress(ModelNotFoundError):
        return find_card(settings, settings.default_model)
    return None


def _model_words(card: ModelCard | None, settings: Settings, *, requested: bool) -> str:
    if card is None:
        return f"Checked without a model: the default, {settings.default_model}, does not exist. Use --model."
    return f"Checked for {card.reference}{'' if requested else ', the default model; choose another with --model'}."


def say_verdict(verdict: Verdict, file: Path, output: Output) -> None:
    """Print the verdict as text."""
    answer = "can be annotated" if verdict.accepted else "cannot be annotated"
    output.say(f"{file.name} {answer}.", style="bold green" if verdict.accepted else "bold red")
    if verdict.layout:
        size = f"{verdict.n_cells:,} cells, {verdict.n_genes:,} genes, {verdict.size_bytes:,} bytes"
        output.say(f"  {size}, {verdict.layout}")
    if verdict.matrix:
        output.say(f"  matrix  {verdict.matrix.path} ({verdict.matrix.state}): {verdict.matrix.why}")
    if verdict.genes:
        output.say(f"  genes   {verdict.genes.kind} in var column {verdict.genes.column!r}, {verdict.genes.species}")
    if verdict.overlap:
        overlap = verdict.overlap
        output.say(f"  model   {overlap.n_matched:,} of {overlap.n_model:,} features found ({overlap.fraction:.0%})")
    if verdict.forecast:
        output.say(f"  plan    {forecast_words(verdict.forecast)}")
    for finding in sorted(verdict.findings, key=lambda finding: finding.severity is not Severity.REFUSAL):
        say_finding(finding, output)
