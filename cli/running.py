"""`celldrop run`: one file, from where it lies to its report."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.catalogue import bundle_folder
from cli.console import Exit, Output
from cli.embedded import Embedded, drop_of_file, open_embedded
from cli.following import report_end, see_through
from shared.bundle import CARD_NAME, WEIGHTS_NAME, parse_card
from shared.domain.errors import InvalidOptionError
from shared.domain.options import parse_options
from shared.settings import Settings


def run(
    settings: Settings, file: Path, *, model: str | None, options: Mapping[str, str], rerun: bool, output: Output
) -> Exit:
    """Annotate one file with everything in this process and its task processes.

    Idempotent: the same file with the same options is the same submission, so that running again after a crash
    finishes what was begun, and running again after success shows the results that are there.

    Raises:
        CelldropError: The file or the request cannot be used.
    """
    embedded = open_embedded(settings)
    try:
        asked = dict(options)
        if model is not None:
            asked["model"] = model_option(embedded, model)
        parse_options(asked)
        token = secrets.token_hex(4) if rerun else None
        stored = embedded.submit(drop_of_file(embedded.blobs, file, asked, rerun=token))
        if not stored.value.state.final:
            stored = see_through(embedded, stored.value.id, output)
        return report_end(embedded, stored, output)
    finally:
        embedded.close()


def read_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` arguments as options.

    Raises:
        InvalidOptionError: One without an equals sign.
    """
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidOptionError(f"--set {pair!r}", expected="KEY=VALUE", hint="For example --set scores=full.")
        options[key.strip().replace("-", "_")] = value.strip()
    return options


def model_option(embedded: Embedded, model: str) -> str:
    """The option that stands for a model: its name, or the digest of a bundle given as a folder.

    Raises:
        ModelNotFoundError: A path that holds no bundle.
        InvalidBundleError: Its card breaks the format.
    """
    folder = bundle_folder(model)
    if folder is None:
        return model
    card_path = folder / CARD_NAME
    card = parse_card(card_path.read_bytes(), where=str(card_path))
    kept = embedded.layout.adhoc_models / card.name / card.version
    kept.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS_NAME, CARD_NAME):
        shutil.copyfile(folder / name, kept / name)
    return f"sha256:{card.digest}"
