"""A peer that is asked about one file after another, and what its answer to a case is worth."""

from __future__ import annotations

import hashlib
import json
import re
import select
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("celltypist_on_cases.py")
TIMEOUT_S, TRAINING_S = 120, 900
SHARE = re.compile(r"(?P<share>[01]\.\d+) of the labels equal; (?P<words>.*)")
OTHER_RESULT = re.compile(r"(exit 0|\d+ rows for \d+) ?(?P<words>.*)")
PREFIX = re.compile(r"exit 3 |refused: ")
ENOUGH = 0.995


class Outcome(StrEnum):
    """What became of a case, the best first."""

    RIGHT = "right labels"
    REFUSED = "refused, and that is right"
    WARNED = "other labels with a warning, and that will do"
    WRONG_WARNED = "wrong, with a warning"
    WRONG = "wrong in silence"
    FAILED = "failed on a usable file"


GOOD = (Outcome.RIGHT, Outcome.REFUSED, Outcome.WARNED)


@dataclass(frozen=True, slots=True)
class Case:
    """One file.

    Attributes:
        source: Where users reported the like; ``own`` where nobody did.
        built: What its maker gave: ``file``, ``expect``, perhaps ``tol``, ``args``, ``note``.
    """

    name: str
    situation: str
    source: str
    built: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one tool made of one case.

    Attributes:
        got: The judge's words: the share of labels that are equal, and what was warned of; or the refusal.
    """

    outcome: Outcome
    got: str


class Peer:
    """CellTypist in a process of its own, begun anew where it does not answer."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._command = [str(python), "-I", str(SCRIPT)]
        self._folder, self._model = folder, folder / "model.pkl"
        self._process: subprocess.Popen[str] | None = None
        self.versions: dict[str, str] = {}

    def train(self, h5ad: Path, card: Path) -> None:
        """The model of the same populations, unless it is there."""
        if not self._model.exists():
            command = [*self._command, "train", str(h5ad), str(card), str(self._model)]
            subprocess.run(command, check=True, timeout=TRAINING_S)
        self._started()

    def ask(self, way: str, file: str) -> dict[str, Any]:
        """Its answer: ``error`` and what it ``said``, ``words`` of warning, the folder of its ``results``.

        An answer to the same bytes and the same model is kept.
        """
        results = self._folder / "answers" / f"{way}-{self._key(Path(file))}"
        kept = results / "answer.json"
        if not kept.exists():
            line = self._exchanged(json.dumps({"way": way, "file": file, "labels": str(results)}))
            if line is None:
                return {"error": "no answer", "said": f"within {TIMEOUT_S} s", "words": [], "lost": True}
            results.mkdir(parents=True, exist_ok=True)
            kept.write_text(line)
        told = {**json.loads(kept.read_text()), "results": str(results), "lost": False}
        return {**told, "said": told["said"].replace(str(Path(file).parent) + "/", "")}

    def _key(self, file: Path) -> str:
        """The same for the same file, script and model; a folder goes by its name."""
        digest = hashlib.sha256(file.name.encode())
        for path in (self._model, SCRIPT, file):
            digest.update(path.read_bytes() if path.is_file() else b"")
        return digest.hexdigest()[:16]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _exchanged(self, request: str) -> str | None:
        process = self._started()
        assert process.stdin is not None
        print(request, file=process.stdin, flush=True)
        line = _line(process)
        if line is None:
            self.close()
        return line

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            command = [*self._command, "serve", str(self._model)]
            pipe, log = subprocess.PIPE, (self._folder / "peer.log").open("a")
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, text=True)
            self.versions = json.loads(_line(self._process) or "{}")
        return self._process


def answer(case: Case, good: bool, got: str, said: str = "") -> Answer:  # noqa: FBT001
    """What the judge of the cases found, in one of six kinds.

    Args:
        said: An error in its own words, which the judge does not have.
    """
    result = SHARE.fullmatch(got) or OTHER_RESULT.fullmatch(got)
    if result is None:
        return Answer(_without_labels(case, good, got), said or PREFIX.sub("", got))
    if good:
        enough = float(result.groupdict().get("share") or 0) >= case.built.get("tol", ENOUGH)
        return Answer(Outcome.RIGHT if enough else Outcome.WARNED, got)
    return Answer(Outcome.WRONG_WARNED if result["words"] else Outcome.WRONG, got)


def _without_labels(case: Case, good: bool, got: str) -> Outcome:  # noqa: FBT001
    if not good:
        return Outcome.FAILED
    refused = case.built["expect"] == "refuse" or got.startswith("refused: ")
    return Outcome.REFUSED if refused else Outcome.RIGHT


def _line(process: subprocess.Popen[str]) -> str | None:
    """The next line, or None where there is none in time or the process has ended."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], TIMEOUT_S)
    return (process.stdout.readline() or None) if ready else None
