"""celldrop against its peers on the same cells, labels compared: ``make bench`` (see --help).

Whole processes that start anew and write labels and scores, in turns; the first turn is not counted. 100,000 cells x
30,000 genes, 224 million stored values, gzip 4, and a model of 98 labels x 6,639 genes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

from benchmarks.peers import WAYS, make_model
from benchmarks.processes import in_turns, table, timed, written
from shared.settings import REPOSITORY
from tests.pipeline.large_files import kept_large

CELLDROP = Path(sys.executable).with_name("celldrop")
PEERS = [str(REPOSITORY / ".venv-oracle/bin/python"), "-I", str(Path(__file__).with_name("peers.py"))]
AGAINST = "celltypist_as_users_do"
MODEL = "bench"


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("celldrop-out/bench"), help="for files made and results")
    parser.add_argument("--peers", nargs="*", default=list(WAYS), choices=list(WAYS), metavar="WAY")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    file = kept_large(asked.folder, asked.cells)
    bundle = model_for(file, asked.folder)
    commands = _commands(file, bundle, asked.folder, asked.peers)
    found = in_turns(commands, asked.turns)
    _compare(asked.folder, file, asked.peers)
    if AGAINST in found:
        print(table(found, AGAINST))
    print(written(asked.folder, f"annotation-{asked.cells}", found, cells=asked.cells))


def model_for(file: Path, folder: Path) -> Path:
    """The bundle, made in ``folder`` unless it is there."""
    bundle, pkl = folder / "models" / MODEL / "1", folder / "model.pkl"
    if not bundle.exists():
        subprocess.run([*PEERS, make_model.__name__, str(file), str(pkl), ""], check=True)
        command = [str(CELLDROP), "models", "import", str(pkl), "--name", MODEL, "--version", "1"]
        subprocess.run([*command, "--out", str(folder / "models")], check=True, stdout=subprocess.DEVNULL)
    return bundle


def task_command(
    file: Path, bundle: Path, folder: Path, tasks: int = 1, index: int = 0, options: Sequence[str] = ()
) -> list[str]:
    """One task of several, by itself; its plan is made here."""
    plan, part = folder / f"plan-{file.stem}-{tasks}.json", _part(folder, file, tasks, index)
    given = ["--model", str(bundle), "--plan", str(plan)]
    wanted = [word for option in (f"tasks={tasks}", *options) for word in ("--set", option)]
    timed([str(CELLDROP), "shards", "plan", str(file), *given, *wanted])
    again = f"rm -f {part} {part}.receipt.json && exec {CELLDROP} shards annotate {file} --index {index} --part {part} "
    return ["/bin/sh", "-c", again + " ".join(given)]


def _part(folder: Path, file: Path, tasks: int, index: int) -> Path:
    return folder / f"part-{file.stem}-{tasks}-{index}"


def _commands(file: Path, bundle: Path, folder: Path, peers: Sequence[str]) -> dict[str, list[str]]:
    home = folder / "home"
    run = [str(CELLDROP), "run", str(file), "--model", f"{bundle}/", "--out", str(home), "--rerun"]
    ways = {way: [*PEERS, way, str(file), str(folder / "model.pkl"), str(folder / f"{way}.npz")] for way in peers}
    return {"celldrop: the task": task_command(file, bundle, folder), "celldrop: run, with report": run, **ways}


def _compare(folder: Path, file: Path, peers: Sequence[str]) -> None:
    """How far labels and scores are from CellTypist's own."""
    if AGAINST not in peers:
        return
    with pyarrow.ipc.open_file(_part(folder, file, 1, 0)) as reader:
        answer = reader.read_all()
    best, score = (_first(answer.column(name).combine_chunks()) for name in ("top_label", "top_score"))
    card = json.loads((folder / "models" / MODEL / "1/model.json").read_text())
    names = np.array([label["name"] for label in card["labels"]])
    with np.load(folder / f"{AGAINST}.npz") as theirs:
        differ = int((names[best.astype(int)] != theirs["labels"]).sum())
        apart = float(np.abs(score - theirs["scores"]).max())
    print(f"{best.size:,} cells: {differ} labels are not CellTypist's, and no score is more than {apart:.1e} away")


def _first(lists: pa.FixedSizeListArray) -> npt.NDArray[np.float64]:
    return np.asarray(lists.flatten().to_numpy().reshape(len(lists), -1)[:, 0], dtype=np.float64)


if __name__ == "__main__":
    main()
