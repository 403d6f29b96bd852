"""`celldrop run`: annotates one local file and writes its results."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cli.catalogue import card_of_folder
from cli.console import Exit, Output
from cli.embedded import Embedded, drop_of_file, open_embedded
from cli.files import bundle_folder
from cli.following import report_end, see_through
from functions.ingest.data_manager import DIGEST_PREFIX
from functions.ingest.schemas import Drop
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME
from shared.domain.errors import DiskFullError, InvalidOptionError
from shared.domain.options import MOST_OTHERS, parse_options
from shared.domain.words import cut
from shared.settings import Settings

_COPIES = 1.1
"""Estimated size of annotated.h5ad relative to the input: a copy of it with more columns."""
_TABLES_BYTES = 4_000_000
_LETTERS, _MOST_LETTERS = 80, 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command asks for.

    Attributes:
        options: As requested, the option ``model`` included.
        others: The further models of a consensus, as named by ``--model``; a folder's path may have commas. Empty: as
            the option ``consensus`` says.
    """

    options: Mapping[str, str]
    others: tuple[str, ...] = ()


def run(settings: Settings, file: Path, *, model: str | None, wanted: Wanted, rerun: bool, output: Output) -> Exit:
    """Annotate one file with the whole pipeline in this process and its task processes.

    Idempotent: the same file with the same options is the same submission. Running again after a crash continues it;
    running again after success shows the existing results.

    Raises:
        CelldropError: The file or the request cannot be used.
    """
    embedded = open_embedded(settings)
    try:
        drop = drop_of(embedded, file, model=model, wanted=wanted, rerun=rerun)
        before = embedded.find(drop)
        if before is not None:
            embedded.take_over(before.id)
        if before is None or not before.state.final:
            embedded.local.runner.prepare()
        stored = embedded.submit(drop)
        if not stored.value.state.final:
            _check_disk(embedded.layout.state, file)
            stored = see_through(embedded, stored.value.id, output)
        embedded.sweep_leftovers()
        return report_end(embedded, stored, output)
    finally:
        embedded.close()


def _check_disk(results: Path, file: Path) -> None:
    """Check that the results (a copy of the input, tables and parts) fit on their disk.

    Raises:
        DiskFullError: They do not fit.
    """
    free = shutil.disk_usage(results).free
    needed = int(_COPIES * file.stat().st_size) + _TABLES_BYTES
    if free < needed:
        raise DiskFullError(
            f"{free / 1e6:,.0f} MB are free on the disk for the results",
            expected=f"about {needed / 1e6:,.0f} MB",
            where=str(results),
            hint="Free some space, or choose a folder on another disk with --out.",
        )


def drop_of(embedded: Embedded, file: Path, *, model: str | None, wanted: Wanted, rerun: bool) -> Drop:
    """What a command asks for. It joins a submission that is open or succeeded, or makes a new one.

    Args:
        model: As ``--model``; it comes before the option of that name. Each may be a folder that contains a bundle.
        rerun: Whether to make a new submission in any case.

    Raises:
        CelldropError: The file, the model or an option cannot be used.
    """
    requested = dict(wanted.options)
    named = requested.get("model") if model is None else model
    if named is not None:
        requested["model"] = model_option(embedded, named)
    others = wanted.others or parse_options(requested).consensus
    if others:
        requested["consensus"] = ",".join(model_option(embedded, other) for other in others)
    return embedded.asked_again(drop_of_file(embedded.blobs, file, requested), rerun=rerun)


def read_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """Parse ``KEY=VALUE`` arguments into options.

    Raises:
        InvalidOptionError: An argument has no equals sign, or two give one option different values.
    """
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidOptionError(f"--set {pair!r}", expected="KEY=VALUE", hint="For example --set scores=full.")
        option, value = key.strip().replace("-", "_"), value.strip()
        if options.setdefault(option, value) != value:
            raise InvalidOptionError(
                f"--set gives {option} twice, as {options[option]!r} and {value!r}",
                expected="one value",
                hint=f"Leave one --set {option}=... out.",
            )
    return options


def read_options(pairs: Sequence[str], models: Sequence[str] | None) -> Wanted:
    """Parse ``KEY=VALUE`` arguments and ``--model``: the first is the option ``model``, the others are further ones.

    ``--model`` comes before the option of that name.

    Raises:
        InvalidOptionError: As in ``read_pairs`` and ``_check_others``, or further models are given in both ways.
        ModelNotFoundError: A further model is a path without a bundle.
    """
    options = read_pairs(pairs)
    first, others = (models[0], tuple(models[1:])) if models else ("", ())
    if first:
        options["model"] = first
    if others:
        _check_others(others)
    if others and options.pop("consensus", ",".join(others)) != ",".join(others):
        raise InvalidOptionError(
            f"--set consensus beside {len(others) + 1} models by --model",
            expected="one of them",
            hint="Name all models by --model, the main one first.",
        )
    return Wanted(options, others)


def _check_others(others: Sequence[str]) -> None:
    """Check the further models that ``--model`` names.

    Raises:
        InvalidOptionError: They are too many, one is given twice, or several in one ``--model``.
        ModelNotFoundError: One is a path without a bundle.
    """
    if len(others) > MOST_OTHERS:
        raise InvalidOptionError(
            f"--model {len(others) + 1} times",
            expected=f"one main model, and at most {MOST_OTHERS} further ones",
            hint="Leave some out.",
        )
    for place, name in enumerate(others):
        said = f"--model {cut(name, _LETTERS)}"
        if name in others[:place]:
            raise InvalidOptionError(f"{said} twice", expected="different models", hint="Leave one of them out.")
        if bundle_folder(name) is None and ("," in name or not 1 <= len(name) <= _MOST_LETTERS):
            hint = "Give each further model a --model of its own."
            raise InvalidOptionError(said, expected="a model's name, or the folder of a bundle", hint=hint)


def model_option(embedded: Embedded, model: str) -> str:
    """The value of the option ``model``: a model's name, or the digest of a bundle given as a folder.

    A bundle given as a folder is checked whole, and copied into the home folder first.

    Raises:
        ModelNotFoundError: The path holds no bundle.
        InvalidBundleError: The bundle's card breaks the format, a file is missing, or one was changed.
    """
    folder = bundle_folder(model)
    if folder is None:
        return model
    card = card_of_folder(folder)
    kept = embedded.layout.adhoc_models / card.digest
    if not kept.is_dir():
        fresh = Path(tempfile.mkdtemp(dir=embedded.layout.adhoc_models))
        for name in (WEIGHTS_NAME, CARD_NAME):
            shutil.copyfile(folder / name, fresh / name)
        with suppress(OSError):  # Another process has just copied the same bundle.
            fresh.rename(kept)
        shutil.rmtree(fresh, ignore_errors=True)
    return f"{DIGEST_PREFIX}{card.digest}"
