"""`celldrop validate`: prints the verdict on a file, as text or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cli.catalogue import all_cards, find_card
from cli.console import Exit, Output
from cli.embedded import drop_of_file
from cli.estimating import forecast_words
from cli.findings import say_finding
from cli.running import read_options
from shared.bundles.card import ModelCard
from shared.bundles.distinct import check_distinct
from shared.bundles.instead import naming_models
from shared.domain.errors import ModelNotFoundError
from shared.domain.options import parse_options
from shared.domain.plan import CostHints
from shared.domain.planning import with_forecast
from shared.domain.verdict import Overlap, Severity, Verdict
from shared.records.documents import verdict_document
from shared.settings import Settings
from shared.validation import Validator
from shared.wiring.ports import build_files

_BY_FOLDER = "celldrop validate FILE --model FOLDER"


def validate_file(
    settings: Settings, file: Path, *, models: Sequence[str], pairs: Sequence[str], output: Output
) -> Exit:
    """Validate a file as ingest does, for the requested model or the default one, and for all of a consensus.

    Raises:
        CelldropError: The file or the request cannot be used.
    """
    wanted = read_options(pairs, models)
    requested, options = wanted.options, parse_options(wanted.options)
    named = wanted.others or options.consensus
    card = find_card(settings, options.model, by_folder=_BY_FOLDER) if options.model else _default_card(settings)
    others = [find_card(settings, name, by_folder=_BY_FOLDER) for name in named] if card else []
    if card:
        check_distinct([card, *others], [card.reference, *named])
    blobs = build_files(settings)
    source = drop_of_file(blobs, file, {}).source
    verdict = naming_models(Validator.of(blobs, settings)(source, card, options, others), lambda: all_cards(settings))
    # Without a model, the forecast covers reading the file, which takes most of the time.
    nothing = CostHints(flops_per_cell=0.0, weights_bytes=0)
    cost = sum((one.cost for one in (card, *others) if one), start=nothing)
    verdict = with_forecast(verdict, cost, settings.fleet, requested)
    refusal = verdict.refusals[0] if verdict.refusals else None
    summary = {"code": refusal.code, "message": refusal.message, "hint": refusal.hint} if refusal else {"code": None}
    judged_for = card.reference if card else None
    output.result({"file": str(file), "model": judged_for, **summary, **verdict_document(verdict)})
    say_verdict(verdict, file, output)
    output.say(_model_words(card, others, settings, requested=options.model is not None))
    return Exit.DONE if verdict.accepted else Exit.REFUSED


def _default_card(settings: Settings) -> ModelCard | None:
    """The default model's card. None if it does not exist; the file is then validated without a model."""
    with suppress(ModelNotFoundError):
        return find_card(settings, settings.default_model, by_folder=_BY_FOLDER)
    return None


def _model_words(card: ModelCard | None, others: Sequence[ModelCard], settings: Settings, *, requested: bool) -> str:
    if card is None:
        return f"Checked without a model: the default, {settings.default_model}, does not exist. Use --model."
    default = "" if requested else ", the default model; choose another with --model"
    beside = f", and for a consensus with {', '.join(other.reference for other in others)}" if others else ""
    return f"Checked for {card.reference}{default}{beside}."


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
        if verdict.genes.orthologues:
            output.say("          matched as one-to-one orthologues of the model's genes")
    _say_overlap(verdict, output)
    if verdict.forecast:
        output.say(f"  plan    {forecast_words(verdict.forecast)}")
    for finding in sorted(verdict.findings, key=lambda finding: finding.severity is not Severity.REFUSAL):
        say_finding(finding, output)
    for name, finding in verdict.other_warnings:
        say_finding(replace(finding, message=f"{name}{finding.message}"), output)


def _say_overlap(verdict: Verdict, output: Output) -> None:
    if verdict.overlap:
        output.say(f"  model   {_overlap_words(verdict.overlap)}")
    for other in verdict.others:
        if other.overlap:
            output.say(f"          {_overlap_words(other.overlap)} by {other.model}")


def _overlap_words(overlap: Overlap) -> str:
    return f"{overlap.n_matched:,} of {overlap.n_model:,} features found ({overlap.fraction:.0%})"
