"""Recognises files that another program saved a model in, by their names and first bytes. Imports nothing slow."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

SAVED = "model.pt"
"""What scvi-tools calls the file of a model, perhaps with a prefix."""
SAVED_BEFORE = "model_params.pt"
"""What it called one of three files before 0.15."""
SUFFIXES = (".pt", ".pth")
ZIP = b"PK\x03\x04"


def is_saved(path: Path) -> bool:
    """Whether a path looks like a model of scvi-tools: a folder with its file, or an archive of PyTorch."""
    if path.is_dir():
        return any(True for name in (SAVED, SAVED_BEFORE) for _ in path.glob(f"*{name}"))
    if path.suffix.lower() in SUFFIXES:
        return True
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(ZIP)) == ZIP
    return False


def model_in(path: Path) -> Path:
    """The file of the model in a folder; the folder itself if there is not exactly one, and a file as it is."""
    found = sorted(path.glob(f"*{SAVED}")) if path.is_dir() else []
    return found[0] if len(found) == 1 else path


def called(folder: str, file_name: str) -> str:
    """What a saved model is called: by the prefix of its file, else by the folder that it is in."""
    stem = file_name.removesuffix(SAVED)
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    return stem.rstrip("_-. ") or folder or "scanvi"
