"""Finds the files and bundles named on the command line. Imports nothing slow, as every workflow step uses it."""

from __future__ import annotations

from pathlib import Path

from cli.folders import missing
from shared.bundles.card import CARD_NAME
from shared.bundles.catalogue import version_key
from shared.domain.errors import BlobNotFoundError, ModelNotFoundError
from shared.domain.words import cut, listed
from shared.ports.blobs import BlobInfo, BlobStore
from shared.wiring.folders import FILES_BUCKET

_LETTERS = 80


def find_file(blobs: BlobStore, file: Path) -> BlobInfo:
    """Find a local file, which is read in place, and its current generation.

    Raises:
        InputError: There is no such file, or the path is something else, which the error describes.
    """
    name = str(file.resolve()).lstrip("/")
    try:
        return blobs.stat(FILES_BUCKET, name)
    except BlobNotFoundError as error:
        raise missing(file) from error


def bundle_folder(model: str) -> Path | None:
    """The bundle's folder if the text is a path; None if it is a model's name.

    For a folder that contains the versions of one model, this is the newest version.

    Raises:
        ModelNotFoundError: The path contains no bundle, or bundles of several models.
    """
    folder = Path(model).expanduser()
    if not _is_folder(folder) and "/" not in model:
        return None
    if (folder / CARD_NAME).is_file():
        return folder
    if folder.is_file():
        hint = "Convert a model of another program: `celldrop models import FILE --name NAME --version 1`."
        raise ModelNotFoundError(f"{folder.name} is a file", expected="the folder of a bundle", hint=hint)
    found = [path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{CARD_NAME}")]
    for name, program in (("model.pt", "scvi-tools"), ("encoder.ckpt", "SCimilarity")) if not found else ():
        if (folder / name).is_file():
            hint = "Convert it into a bundle: `celldrop models import FOLDER --name NAME --version 1`."
            raise ModelNotFoundError(f"{folder} is a model of {program}", expected="the folder of a bundle", hint=hint)
    if not found:
        hint = "Give the folder that contains model.json, or a name from `celldrop models list`."
        raise ModelNotFoundError(f"no {CARD_NAME} in {folder}", expected="the folder of a bundle", hint=hint)
    if len({path.parent for path in found}) > 1:
        names = listed(sorted(str(path) for path in found), length=200)
        raise ModelNotFoundError(f"several models in {folder}", expected=f"one of {names}", hint="Name one of them.")
    return max(found, key=lambda path: version_key(path.name))


def _is_folder(path: Path) -> bool:
    """Whether there is a folder.

    Raises:
        ModelNotFoundError: The system cannot look, as a part of the path is too long, or a folder is closed.
    """
    try:
        return path.is_dir()
    except OSError as error:
        hint = "Give the folder that contains model.json, or a name from `celldrop models list`."
        raise ModelNotFoundError(
            f"--model {cut(str(path), _LETTERS)}: {error.strerror}", expected="the folder of a bundle", hint=hint
        ) from error
