"""What people name on the command line, found on this machine; loads nothing heavy: every workflow step begins here."""

from __future__ import annotations

from pathlib import Path

from cli.folders import missing
from shared.bundles.card import CARD_NAME
from shared.bundles.catalogue import version_key
from shared.domain.errors import BlobNotFoundError, ModelNotFoundError
from shared.domain.words import listed
from shared.ports.blobs import BlobInfo, BlobStore
from shared.wiring.folders import FILES_BUCKET


def find_file(blobs: BlobStore, file: Path) -> BlobInfo:
    """A file that is annotated where it lies, at its present generation.

    Raises:
        InputError: No such file, or something else of that name, which the error names.
    """
    name = str(file.resolve()).lstrip("/")
    try:
        return blobs.stat(FILES_BUCKET, name)
    except BlobNotFoundError as error:
        raise missing(file) from error


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
    if folder.is_file():
        hint = "Make a bundle of a CellTypist .pkl with `celldrop models import FILE --name NAME --version 1`."
        raise ModelNotFoundError(f"{folder.name} is a file", expected="the folder of a bundle", hint=hint)
    found = [path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{CARD_NAME}")]
    if not found:
        hint = "Give the folder that holds model.json, or a name from `celldrop models list`."
        raise ModelNotFoundError(f"no {CARD_NAME} in {folder}", expected="the folder of a bundle", hint=hint)
    if len({path.parent for path in found}) > 1:
        names = listed(sorted(str(path) for path in found), length=200)
        raise ModelNotFoundError(f"several models in {folder}", expected=f"one of {names}", hint="Name one of them.")
    return max(found, key=lambda path: version_key(path.name))
