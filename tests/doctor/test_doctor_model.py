"""The default model is looked at as it lies: there, whole, as its card says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.doctor import model
from cli.doctor.model import ModelFacts, look_at_model
from shared.adapters.local.blobs import DirectoryBlobStore
from shared.ports.blobs import BlobStore
from shared.ports.survey import Silence, Untold
from shared.settings import REPOSITORY

NAME = "pbmc-sorted-765"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    only = tmp_path / "models" / NAME / "1.0.0"
    shutil.copytree(REPOSITORY / "models" / NAME / "1.0.0", only)
    return only


@pytest.fixture
def blobs(folder: Path) -> BlobStore:
    return DirectoryBlobStore({"models": folder.parent.parent})


def test_a_bundle_is_whole(blobs: BlobStore, folder: Path) -> None:
    assert look_at_model(blobs, "models", NAME) == ModelFacts(f"{NAME}@{folder.name}", needs_gpu=False, is_whole=True)


def test_changed_weights_are_noticed(blobs: BlobStore, folder: Path) -> None:
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    told = look_at_model(blobs, "models", NAME)
    assert isinstance(told, ModelFacts)
    assert told.is_whole is False


def test_large_weights_are_not_fetched(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MAX_WEIGHTS_BYTES", 10)
    told = look_at_model(blobs, "models", NAME)
    assert isinstance(told, ModelFacts)
    assert told.is_whole is None


@pytest.mark.parametrize(
    ("reference", "lost", "why"),
    [
        ("immune", "", Silence.MISSING),
        (NAME, "weights.safetensors", Silence.MISSING),
        (NAME, "model.json", Silence.MISSING),
        (f"{NAME}@99", "", Silence.MISSING),
    ],
)
def test_what_is_not_there_is_missing(blobs: BlobStore, folder: Path, reference: str, lost: str, why: Silence) -> None:
    if lost:
        (folder / lost).unlink()
    told = look_at_model(blobs, "models", reference)
    assert isinstance(told, Untold)
    assert told.why is why
    assert told.words


def test_a_card_that_breaks_the_format_is_refused(blobs: BlobStore, folder: Path) -> None:
    (folder / "model.json").write_text("{}")
    told = look_at_model(blobs, "models", NAME)
    assert isinstance(told, Untold)
    assert told.why is Silence.REFUSED
