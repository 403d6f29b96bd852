"""Small files of every kind that is sent by mistake."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

CSV = b"cell,CD3D,LYZ\nA,1,0\nB,2,2\n"
MTX = b"%%MatrixMarket matrix coordinate integer general\n1 1 1\n1 1 1\n"
RDS = b"X\n\0\0\0\3" + bytes(1000)
MTX_FOLDER = ("f/barcodes.tsv.gz", "f/features.tsv.gz", "f/matrix.mtx.gz")


def zipped(files: Mapping[str, bytes] | Sequence[str]) -> bytes:
    """A zip archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in files:
            archive.writestr(name, files[name] if isinstance(files, Mapping) else b"x")
    return buffer.getvalue()


def tarred(names: Sequence[str], mode: str = "w:gz") -> bytes:
    """A tar archive of members with these names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]  # typed by literal modes
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 700
            archive.addfile(member, io.BytesIO(b"y" * 700))
    return buffer.getvalue()


def hdf5(*names: str, **attributes: Any) -> bytes:
    """An HDF5 file with these empty groups and attributes at its root."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name in names:
            file.create_group(name)
        for name, value in attributes.items():
            file.attrs[name.replace("_type", "-type")] = value
    return buffer.getvalue()


def npy() -> bytes:
    """One array."""
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


def npz() -> bytes:
    """Several arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, data=np.ones(3), indices=np.ones(3))
    return buffer.getvalue()


def pickled(protocol: int) -> bytes:
    """A dictionary."""
    return pickle.dumps({"a": 1}, protocol=protocol)
