"""The versions of the software that made a result."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

import h5py
import numpy as np
import pyarrow as pa

from jobs.inference.outputs.manifest import devices_of
from shared.domain.submission import Receipt


def software_used() -> dict[str, str]:
    """The versions of the software that merges. The versions that computed the parts are in the receipts."""
    own = {"celldrop": version("celldrop"), "python": platform.python_version(), "numpy": np.__version__}
    return {**own, "h5py": h5py.__version__, "pyarrow": pa.__version__}


def computed_with(receipts: Sequence[Receipt]) -> dict[str, str]:
    """The devices and their versions of torch, for the report's line on software."""
    devices = devices_of(receipts)
    shown = {"torch": "torch", "on": "name"}  # word in the report and fact of the device
    return {word: " and ".join({device[fact]: None for device in devices}) for word, fact in shown.items() if devices}
