"""`celldrop demo`: real cells through the whole pipeline, and their labels beside the file's own."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from cli.console import Exit, Output
from cli.embedded import open_embedded
from cli.running import run
from shared.domain.errors import InputNotFoundError
from shared.settings import Settings

DEMO_MODEL = "pbmc-sorted-765"
DEMO_FILE = "datasets/10x_pbmc68k_reduced.h5ad"
