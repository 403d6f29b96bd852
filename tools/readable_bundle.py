#!/usr/bin/env python3
"""Writes a bundle again with readable names: the same weights, another card, another version.

    tools/readable_bundle.py models/pbmc-sorted/1.1.0 1.2.0 blood models

`blood` are the names of the sorted populations of blood; a table is read as by `celldrop models train --names`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import load_file

from jobs.modeling.bundles import write_bundle
from jobs.modeling.readable import read_names, renamed
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME
from shared.bundles.stored import parse_card


def main(bundle: Path, version: str, names: str, out: Path) -> None:
    """Write the bundle."""
    card = parse_card((bundle / CARD_NAME).read_bytes(), where=str(bundle))
    written = write_bundle(out, renamed(card, read_names(names), version), load_file(bundle / WEIGHTS_NAME))
    sys.stdout.write(f"{written.reference}  {written.digest}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
