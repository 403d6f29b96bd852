"""What doubt costs a task: labels with all that is said of them, against labels alone, by whole processes in turns.

The cells are PBMC 3k, drawn with replacement, each thinned to 80 % of its counts anew. The model is `pbmc`. A copy of
its bundle knows labels only: no unfamiliarity, shares, lineages, tree or thresholds. Without clusters, no embedding is
made. The cells for the evidence are sampled by all of them.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file

from benchmarks.annotation import task_command
from benchmarks.processes import in_turns, medians, table, written
from benchmarks.voting import drawn
from jobs.engine.familiarity import TENSORS
from jobs.modeling.bundles import write_bundle
from shared.bundles.card import CARD_NAME, WEIGHTS_NAME
from shared.bundles.stored import parse_card
from shared.settings import REPOSITORY

ALL, DOUBT, ALONE = "all", "all but clusters", "labels alone"
_DOUBT = ("familiarity", "reliability", "tree", "assumed_shares")


def main() -> None:
    """Measure, print the table and the shares, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared/data")
    parser.add_argument("--model", type=Path, default=REPOSITORY / "models/pbmc/1.2.0")
    parser.add_argument("--folder", type=Path, default=Path("celldrop-out/bench"), help="for files made and results")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    file = drawn(asked.data / "h5ad/pbmc3k_raw_labelled.h5ad", asked.folder, asked.cells)
    plain = without_doubt(asked.model, asked.folder / "labels-alone")
    ways = {ALL: (asked.model, "auto"), DOUBT: (asked.model, "off"), ALONE: (plain, "off")}
    commands = {}
    for place, (name, (bundle, clusters)) in enumerate(ways.items()):
        folder = asked.folder / f"doubt-{place}"
        folder.mkdir(exist_ok=True)
        commands[name] = task_command(file, bundle, folder, options=(f"clusters={clusters}",))
    found = in_turns(commands, asked.turns)
    print(table(found, ALONE))
    whole, alone = medians(found[ALL]), medians(found[ALONE])
    print(
        f"all but labels: {whole.wall_s / alone.wall_s - 1:+.1%} wall, {whole.cpu_s / alone.cpu_s - 1:+.1%} CPU, "
        f"{whole.rss_mb - alone.rss_mb:+.0f} MB"
    )
    print(written(asked.folder, f"doubt-{asked.cells}", found, cells=asked.cells))


def without_doubt(bundle: Path, folder: Path) -> Path:
    """A copy of a bundle that knows labels only."""
    shutil.rmtree(folder, ignore_errors=True)
    told = json.loads((bundle / CARD_NAME).read_text())
    for name in _DOUBT:
        told.pop(name, None)
    for label in told["labels"]:
        label.pop("lineage", None)
    card = parse_card(json.dumps(told).encode(), where=CARD_NAME)
    tensors = load_file(bundle / WEIGHTS_NAME)
    write_bundle(folder, card, {name: tensor for name, tensor in tensors.items() if name not in TENSORS})
    return folder / card.name / card.version


if __name__ == "__main__":
    main()
