"""Writes a bundle to disk, atomically and with deterministic bytes. An existing version is never overwritten."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save

from jobs.engine.kinds.table import check_tensors, kind_of
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME, ModelCard
from shared.bundles.stored import card_bytes, digest_of
from shared.domain.errors import DiskFullError, ModelExistsError, SettingsError


def write_bundle(directory: Path, card: ModelCard, tensors: Mapping[str, torch.Tensor]) -> ModelCard:
    """Write a bundle to ``NAME/VERSION/`` under ``directory``, the folder of all bundles.

    The same card and tensors give the same bytes and the same digest.

    Returns:
        The card as written, with digest, cost hints and size of the weights.

    Raises:
        InvalidBundleError: The tensors do not fit the card.
        ModelExistsError: The version already exists.
        DiskFullError, SettingsError: The folder cannot be written to.
    """
    complete, weights = seal(card, tensors)
    with incoming_bundle(directory) as incoming:
        (incoming / WEIGHTS_NAME).write_bytes(weights)
        (incoming / CARD_NAME).write_bytes(card_bytes(complete))
        publish_bundle(incoming, directory, complete)
    return complete


@contextmanager
def incoming_bundle(directory: Path) -> Iterator[Path]:
    """An empty folder for the files of a bundle, beside those of all bundles. It is removed unless it is published.

    Raises:
        DiskFullError, SettingsError: The folder cannot be written to.
    """
    with _writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        # Next to NAME/, where the catalogue does not look, so that no incomplete bundle is found.
        incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=directory))
        try:
            yield incoming
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def publish_bundle(incoming: Path, directory: Path, card: ModelCard) -> None:
    """Move a bundle whose files are complete to its place, atomically.

    Raises:
        ModelExistsError: The version already exists.
        DiskFullError, SettingsError: The folder cannot be written to.
    """
    final = directory / card.name / card.version
    with _writing(directory):
        final.parent.mkdir(parents=True, exist_ok=True)
        incoming.chmod(0o755)
        _move(incoming, final, card)


def check_free(directory: Path, name: str, version: str) -> None:
    """Check that a version does not exist yet and could be written, before a bundle is made.

    Raises:
        ModelExistsError: The version already exists.
        DiskFullError, SettingsError: The folder cannot be written to.
    """
    final = directory / name / version
    with _writing(directory):
        if final.exists():
            raise _taken(f"{name}@{version}", final)
        nearest = next(path for path in (directory, *directory.parents) if path.exists())
        tempfile.TemporaryFile(dir=nearest).close()


def seal(card: ModelCard, tensors: Mapping[str, torch.Tensor]) -> tuple[ModelCard, bytes]:
    """Serialise the weights, and complete the card with digest, cost hints and size of the weights.

    Raises:
        InvalidBundleError: The tensors do not fit the card.
    """
    check_tensors(card, tensors, where=card.reference)
    weights = save({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)})
    costed = card.model_copy(
        update={"digest": "", "weights_bytes": len(weights), "flops_per_cell": kind_of(card).flops_per_cell(card)}
    )
    digest = digest_of(card_bytes(costed), hashlib.sha256(weights).hexdigest())
    return costed.model_copy(update={"digest": digest}), weights


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Translate the operating system's errors in this context."""
    try:
        yield
    except OSError as error:
        kind = DiskFullError if error.errno in {errno.ENOSPC, errno.EDQUOT} else SettingsError
        raise kind(
            f"the bundle cannot be written: {error.strerror or error}",
            where=str(directory),
            hint="Name a folder that you may write to, and that has room, with --models, CELLDROP_MODELS_DIR or "
            "CELLDROP_ADDED_MODELS_DIR.",
        ) from error


def _move(incoming: Path, final: Path, card: ModelCard) -> None:
    try:
        os.rename(incoming, final)  # noqa: PTH104  # it fails on a non-empty folder, as intended
    except OSError as error:
        if not final.exists():
            raise
        raise _taken(card.reference, final) from error


def _taken(reference: str, final: Path) -> ModelExistsError:
    return ModelExistsError(
        f"{reference} already exists",
        expected="a new version",
        where=str(final),
        hint="Choose another --version. A version never changes, because results name the version that made them.",
    )
