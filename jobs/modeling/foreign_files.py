"""Recognises files that another program saved a model in, by their names and first bytes. Imports nothing slow."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from mmap import ACCESS_READ, mmap
from pathlib import Path

SAVED = "model.pt"
"""What scvi-tools calls the file of a model, perhaps with a prefix."""
SAVED_BEFORE = "model_params.pt"
"""What it called one of three files before 0.15."""
SUFFIXES = (".pt", ".pth")
ENCODER = "encoder.ckpt"
"""What SCimilarity calls the weights of a model's encoder, in its folder."""
CHECKPOINT = ".ckpt"
"""How the checkpoints of PyTorch Lightning end."""
_LIGHTNING = b"pytorch-lightning_version"
"""A key of every such checkpoint."""
ZIP = b"PK\x03\x04"


class Program(StrEnum):
    """What saved a model."""

    SCVI = "scvi-tools"
    SCIMILARITY = "SCimilarity"
    LIGHTNING = "PyTorch Lightning"
    """The trainer of cellarium-ml and others, which writes checkpoints."""


def program_of(path: Path) -> Program | None:
    """What saved the model at a path, by its name and content: a folder with a model, or an archive of PyTorch.

    None if it is neither.
    """
    if (path / ENCODER).is_file() or (path.name == ENCODER and path.is_file() and not _has(path, _LIGHTNING)):
        return Program.SCIMILARITY
    if path.is_dir():
        found = any(True for name in (SAVED, SAVED_BEFORE) for _ in path.glob(f"*{name}"))
        return Program.SCVI if found else None
    if path.suffix.lower() == CHECKPOINT:
        return Program.LIGHTNING
    archive = _begins(path, ZIP)
    if archive and _has(path, _LIGHTNING):
        return Program.LIGHTNING
    return Program.SCVI if archive or path.suffix.lower() in SUFFIXES else None


def _begins(path: Path, start: bytes) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(start)) == start
    return False


def _has(path: Path, word: bytes) -> bool:
    """Whether the bytes of a word are in a file. PyTorch compresses nothing, so that those of a key are there."""
    with suppress(OSError, ValueError), path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
        return mapped.find(word) >= 0
    return False


def model_in(path: Path) -> Path:
    """The file of the model in a folder; the folder itself if there is not exactly one, and a file as it is."""
    found = sorted(path.glob(f"*{SAVED}")) if path.is_dir() else []
    return found[0] if len(found) == 1 else path


def called(folder: str, file_name: str) -> str:
    """What a saved model is called: by the prefix of its file, else by the folder that it is in."""
    stem = file_name.removesuffix(SAVED)
    for suffix in (*SUFFIXES, CHECKPOINT):
        stem = stem.removesuffix(suffix)
    return stem.rstrip("_-. ") or folder or "scanvi"
