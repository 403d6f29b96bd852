"""Looks around in an image and prints what is there, as JSON; it is read by a Python inside, from standard input."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

SITE = Path("/opt/venv/lib/python3.11/site-packages")
TOOLS = ("gcc", "cc", "ld", "strip", "make", "git")
BUILDERS = {"pip", "setuptools", "wheel", "pytest", "ruff"}
LEFTOVERS = {"tests", "include", ".cache"}


def main() -> None:
    """Print everything."""
    facts = {
        "ids": [os.getuid(), os.getgid()],
        "writable": [str(path) for path in Path("/").iterdir() if os.access(path, os.W_OK)],
        "scratch": tempfile.mkdtemp(),
        "tools": [name for name in TOOLS if shutil.which(name)],
        "builders": sorted({path.name for path in SITE.iterdir()} & BUILDERS),
        "leftovers": _leftovers(),
        **_filters(),
        "uncompiled": _uncompiled(),
    }
    sys.stdout.write(json.dumps(facts))


def _leftovers() -> list[str]:
    kinds = {".a", ".h", ".pyx", ".pyi"}
    return [str(path) for path in SITE.rglob("*") if path.suffix in kinds or path.name in LEFTOVERS]


def _filters() -> dict[str, Any]:
    """Which plug-ins HDF5 knows once celldrop has registered its own, and which of them give back what was written."""
    import h5py  # noqa: PLC0415
    import hdf5plugin  # noqa: PLC0415

    from shared.h5ad.read import filters  # noqa: PLC0415

    filters.register()
    ways: dict[str, Any] = {
        "blosc": hdf5plugin.Blosc(),
        "blosc2": hdf5plugin.Blosc2(),
        "bitshuffle": hdf5plugin.Bitshuffle(),
        "bzip2": hdf5plugin.BZip2(),
        "lz4": hdf5plugin.LZ4(),
        "zstd": hdf5plugin.Zstd(),
        "lzf": {"compression": "lzf"},
        "szip": {"compression": "szip"},
        "gzip": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    }
    numbers = list(range(9999))
    with h5py.File(io.BytesIO(), "w") as file:
        read = {
            name: file.create_dataset(name, data=numbers, chunks=True, **way)[:].tolist() for name, way in ways.items()
        }
    return {
        "plugins": sorted(name for name, number in hdf5plugin.FILTERS.items() if h5py.h5z.filter_avail(number)),
        "decoded": sorted(name for name, found in read.items() if found == numbers),
    }


def _uncompiled() -> list[str]:
    """What a function loads and would have to compile at every start; the adapters come in for it."""
    import shared.adapters.gcp.blobs  # noqa: PLC0415
    import shared.adapters.gcp.status  # noqa: PLC0415
    import shared.wiring.ports  # noqa: F401, PLC0415

    names = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
    loaded = [Path(name) for name in names if name.startswith(("/opt", "/app")) and name.endswith(".py")]
    assert len(loaded) > 200, loaded
    return [
        str(path) for path in loaded if not (path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc").is_file()
    ]


if __name__ == "__main__":
    main()
