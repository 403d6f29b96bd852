"""What scanpy's reader, CellTypist and celldrop do with the same awkward files: writes docs/reference/peers.md.

``python -m benchmarks.peers_on_cases --ours RESULTS.txt``, where the results are what check_cases.py of the folder of
cases printed; without them celldrop runs here too. Files are made and judged by that folder's own programs.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers_answers import Answer, Case, Peer, answer
from benchmarks.peers_page import Compared, page
from shared.settings import REPOSITORY

SHARED = REPOSITORY.parent / "shared"
CARD = REPOSITORY / "models/pbmc-sorted/1.0.0/model.json"
TRAINED_ON = "h5ad/zheng_sorted_pbmc_train.h5ad"
PAGE = REPOSITORY / "docs/reference/peers.md"
OURS = re.compile(r"(?P<verdict>ok |OFF) (?P<name>\w+): .* \| expected \w+ \| (?P<got>.*)")


@dataclass(frozen=True, slots=True)
class Bench:
    """What all cases need.

    Attributes:
        checks: The module that judges.
        ours: What celldrop gave before, by case: whether it was right, and the judge's words.
        clean: Labels of the clean form by CellTypist, of 500 cells and of all.
        clean_ours: The same by celldrop; empty where it need not run.
    """

    folder: Path
    checks: Any
    makers: Any
    peer: Peer
    ours: Mapping[str, tuple[bool, str]]
    clean: Mapping[str, Any]
    clean_ours: Mapping[str, Any]


def main() -> None:
    """Run all cases, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these cases")
    parser.add_argument("--cases", type=Path, default=SHARED / "cases")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--oracle", type=Path, default=REPOSITORY / ".venv-oracle/bin/python")
    parser.add_argument("--ours", type=Path, help="celldrop's results, as check_cases.py printed them")
    parser.add_argument("--folder", type=Path, default=Path("celldrop-out/peers"), help="for files made")
    parser.add_argument("--page", type=Path, default=PAGE)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    peer = Peer(asked.oracle, asked.folder)
    peer.train(asked.data / TRAINED_ON, CARD)
    rows = list(csv.DictReader((asked.cases / "cases.tsv").read_text(encoding="utf-8").splitlines(), delimiter="\t"))
    rows = [row for row in rows if not asked.names or row["case"] in asked.names]
    found = list(_compared(_bench(asked, peer, rows), rows))
    asked.page.write_text(page(found, peer.versions, ours_before=bool(asked.ours)), encoding="utf-8")
    peer.close()


def _bench(asked: argparse.Namespace, peer: Peer, rows: Sequence[Mapping[str, str]]) -> Bench:
    checks = _loaded(asked.cases / "check_cases.py")
    makers = checks.load(asked.cases / "make_inputs.py")
    ours = dict(_read_ours(asked.ours.read_text(encoding="utf-8"))) if asked.ours else {}
    clean, clean_ours = {}, {}
    for kind, n_cells in (("cut", makers.N), ("all", None)):
        file = makers.out(asked.folder, f"clean_{kind}", makers.base(n_cells))
        clean[kind] = checks.labels(peer.ask("by_the_tutorial", file))
        if not ours.keys() >= {row["case"] for row in rows}:
            clean_ours[kind] = checks.labels(checks.annotate(file, asked.folder / f"home_{kind}")[1])
    return Bench(asked.folder, checks, makers, peer, ours, clean, clean_ours)


def _loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read_ours(printed: str) -> Iterator[tuple[str, tuple[bool, str]]]:
    for line in printed.splitlines():
        if match := OURS.fullmatch(line):
            yield match["name"], (match["verdict"] == "ok ", match["got"])


def _compared(bench: Bench, rows: Iterable[Mapping[str, str]]) -> Iterator[Compared]:
    for row in rows:
        built = getattr(bench.makers, f"case_{row['case']}")(bench.folder)
        case = Case(row["case"], row["situation"], row["source"], built)
        told = {way: bench.peer.ask(way, built["file"]) for way in ("read", "as_it_is", "by_the_tutorial")}
        theirs = {way: _judged(bench, case, told[way]) for way in ("as_it_is", "by_the_tutorial")}
        compared = Compared(case, told["read"], **theirs, celldrop=answer(case, *_ours(bench, case)))
        print(f"{case.name}: {theirs['by_the_tutorial'].outcome} | {compared.celldrop.outcome}", flush=True)
        yield compared


def _judged(bench: Bench, case: Case, told: Mapping[str, Any]) -> Answer:
    """By the judge of the cases, for which an error is a refusal and its type the code."""
    code = 124 if told["lost"] else 3 if told["error"] else 0
    words = {"findings": [{"code": word} for word in told["words"]]}
    good, got = bench.checks.judge(case.built, code, {**told, "code": told["error"], "verdict": words}, bench.clean)
    said = f"{told['error']}: {told['said']}" if told["error"] else ""
    return answer(case, good, got, said)


def _ours(bench: Bench, case: Case) -> tuple[bool, str]:
    if case.name in bench.ours:
        return bench.ours[case.name]
    given = case.built["file"], bench.folder / f"home_{case.name}", case.built.get("args", ())
    good, got = bench.checks.judge(case.built, *bench.checks.annotate(*given), bench.clean_ours)
    return good, got


if __name__ == "__main__":
    main()
