"""Named moments in a process's life: told to a trail, or the end of the process."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from tests.fakes.calls import Hook

ROOT = Path(__file__).resolve().parents[2]
CRASHES = "CELLDROP_TEST_CRASHES"
MARKERS = "CELLDROP_TEST_MARKERS"
TRAIL = "CELLDROP_TEST_TRAIL"

_HOUSE = tuple(f"{ROOT / part}{os.sep}" for part in ("cli", "functions", "jobs", "shared", "tests"))
_THROUGH = tuple(
    str(ROOT / part) for part in ("tests/crashes/watched.py", "tests/crashes/points.py", "shared/adapters")
)
_SHARED_BY_ALL = (str(ROOT / "shared/records/outbox.py"), str(ROOT / "shared/records/updates.py"))


@dataclass(frozen=True, slots=True)
class Point:
    """A moment: in which program, on whose behalf, at which call of a port.

    Attributes:
        place: ``Dispatch._claim>update``: the function that calls, and through which of what all share.
        call: ``status.replace``, ``status.replace.done``.
    """

    role: str
    place: str
    call: str

    def __str__(self) -> str:
        return f"{self.role}: {self.place} {self.call}"


@dataclass(frozen=True, slots=True)
class Crash:
    """SIGKILL at a point, once in a home.

    Attributes:
        hit: At which passing of the point in one process, from 1.
        with_parent: The supervisor of a task goes with it, as when the machine does.
    """

    point: Point
    hit: int = 1
    with_parent: bool = False

    def __str__(self) -> str:
        return f"{self.point} #{self.hit}{' with its supervisor' if self.with_parent else ''}"

    @staticmethod
    def marker(folder: Path, number: int) -> Path:
        """A file that says that the crash of that number has happened."""
        return folder / f"crash-{number}"


def to_environment(crashes: Sequence[Crash], folder: Path, trail: Path | None = None) -> dict[str, str]:
    """The variables that hand crashes to the programs: one after the other, over all processes of a home.

    Args:
        folder: Where the markers are.
        trail: The folder where every passing is written down, if any.
    """
    told = {CRASHES: json.dumps([asdict(crash) for crash in crashes]), MARKERS: str(folder)}
    return {**told, TRAIL: str(trail)} if trail else told


def hook_from_environment(role: str) -> Hook:
    """What this process does at each of its points."""
    crashes = [
        Crash(Point(**told["point"]), told["hit"], told["with_parent"]) for told in json.loads(os.environ[CRASHES])
    ]
    trail = os.environ.get(TRAIL)
    return Passing(role, crashes, Path(os.environ[MARKERS]), Path(trail) if trail else None)


def trail_of(folder: Path) -> Counter[Point]:
    """Every point that was passed, and how often at most by one process."""
    most: Counter[Point] = Counter()
    for file in sorted(folder.iterdir()):
        most |= Counter(Point(*line.split("\t")) for line in file.read_text().splitlines())
    return most


class Passing:
    """The hook of one process."""

    def __init__(self, role: str, crashes: Sequence[Crash], markers: Path, trail: Path | None) -> None:
        self._role = role
        self._crashes = crashes
        self._markers = markers
        self._trail = trail / f"{role}-{os.getpid()}" if trail else None
        self._hits: Counter[Point] = Counter()

    def __call__(self, call: str) -> None:
        point = Point(self._role, _place(), call)
        self._hits[point] += 1
        if self._trail is not None:
            with self._trail.open("a") as trail:
                trail.write(f"{point.role}\t{point.place}\t{point.call}\n")
        for number, crash in enumerate(self._crashes):
            if (crash.point, crash.hit) == (point, self._hits[point]) and self._is_next(number):
                self._happen(crash, number)

    def _is_next(self, number: int) -> bool:
        return number == 0 or Crash.marker(self._markers, number - 1).exists()

    def _happen(self, crash: Crash, number: int) -> None:
        try:
            Crash.marker(self._markers, number).touch(exist_ok=False)
        except FileExistsError:
            return
        if crash.with_parent:
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def _place() -> str:
    names: list[str] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_HOUSE) and not file.startswith(_THROUGH):
            names.insert(0, frame.f_code.co_qualname.partition(".<locals>")[0])
            if file not in _SHARED_BY_ALL:
                break
        frame = frame.f_back
    return ">".join(names)
