"""A deployment for a day: the real services over ports that are counted, and machines that are few."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from typing_extensions import override

from functions.ingest.schemas import StorageObject
from shared.bundles.card import ModelCard
from shared.bundles.stored import card_bytes
from shared.domain.geometry import Rows
from shared.domain.options import Options
from shared.domain.plan import Accelerator
from shared.domain.submission import ObjectRef, Receipt, Result, Submission
from shared.domain.verdict import MatrixChoice, MatrixEncoding, MatrixState, Verdict
from shared.settings import Backend, load_settings
from shared.wiring.ports import MadePorts
from tests.fakes.counted_bus import CountedBus
from tests.fakes.counted_status import CountedStatusStore
from tests.services.house import card, refusing_verdict
from tests.simulation.computation import Tracer
from tests.simulation.day.ledger import Ledger
from tests.simulation.day.platform import Chances, Pool, QuotaJobs
from tests.simulation.day.ports import DayBlobStore, DayStatusStore
from tests.simulation.day.scenario import File, Scenario, files
from tests.simulation.day.tempo import Tempo
from tests.simulation.ports import SimulatedBus
from tests.simulation.town import Push, Town, Version
from tests.simulation.world import Role, World

BEAT_S = 1.5
MINUTE_S = 60.0
SETTLE_S = 2 * 86_400.0
"""After the day, for everything to come to rest."""
FOR_A_GPU = "g"


class City(Town):
    """The simulator's town with room for a day's submissions, and nobody in it but those who drop files."""

    def __init__(self, scenario: Scenario, tempo: Tempo) -> None:
        super().__init__(scenario.seed)
        settings = load_settings(backend=Backend.GCP, _env_file=None)
        self.scenario, self.tempo, self.task_timeout_s = scenario, tempo, settings.task_timeout_s
        self.world.trace = _Forgetful()
        self.files = {file.name: file for file in files(scenario)}
        self.version = self.other_version = Version(settings.limits, tempo.fleet)
        self.ledger = self.judge = Ledger(self.world, settings.limits, self._dropped)
        self.records = self.store = DayStatusStore(self.world, self.ledger)
        self.blobs = DayBlobStore(self.world, self.ledger)
        self.pools = _pools(scenario, tempo)
        self.jobs = self.quota = QuotaJobs(self.world, self._run_task, self.pools, _chances(scenario, self.world))
        self.bus = SimulatedBus(self.world, self.ledger, self._carry)
        self.computation = Timed(self.world, self.blobs, self)
        self.counted = CountedStatusStore(self.store, weighing=False)
        self.messages = CountedBus(self.bus)
        self.ports = MadePorts(self.blobs, self.messages, self.counted, self.jobs)
        for name, needs_gpu in (("m", False), (FOR_A_GPU, True)):
            bundle = card().model_copy(update={"name": name, "needs_gpu": needs_gpu})
            self.blobs.write("models", f"{name}/1/model.json", [card_bytes(bundle)])
            self.blobs.write("models", f"{name}/1/weights.safetensors", [b"weights"])

    def live_through(self) -> None:
        """The whole day, and what is left of it afterwards."""
        for file in self.files.values():
            self.world.after(file.at_s, lambda file=file: self._come(file))  # type: ignore[misc]
        self._minute(Counts())
        self.world.run(self.scenario.hours * 3600.0 + SETTLE_S)
        self.world.end()

    @property
    @override
    def unsettled(self) -> bool:
        return bool(self.quota.live or self.records.open)

    @override
    def _sweep(self) -> None:
        began_s, live = self.world.now_s, len(self.records.open)
        super()._sweep()
        self.ledger.peak("seconds of a pass of reconcile", self.world.now_s - began_s)
        self.ledger.peak("live records", live)

    @override
    def _validate(self, source: ObjectRef, _card: ModelCard, _options: Options, _others: object) -> Verdict:
        file = self.files[source.name]
        self.world.sleep(self.world.between(0.3, 1.5))
        return _verdict(file, self.scenario) if file.good else refusing_verdict()

    def _come(self, file: File) -> None:
        metadata = {"celldrop-model": FOR_A_GPU} if file.accelerator is Accelerator.GPU else {}
        ref = self.blobs.write("inbox", file.name, [b"cells"], metadata=metadata).ref
        event = StorageObject(bucket=ref.bucket, name=ref.name, generation=ref.generation, metageneration=1)
        self.send(Push(Role.INGEST, ref.name, lambda: self._ingest().handle(event), str(ref)))

    def _dropped(self, name: str) -> tuple[float, int]:
        file = self.files[name]
        return file.at_s, file.n_cells

    def _minute(self, before: Counts) -> None:
        """Look at what the platforms were asked in the last minute."""
        now = Counts(self.counted.record_writes, self.quota.starts)
        self.ledger.peak("record writes in a minute", now.record_writes - before.record_writes)
        self.ledger.peak("starts asked for in a minute", now.starts - before.starts)
        self.ledger.peak("executions at once", len(self.quota.live))
        if self.world.now_s < self.scenario.hours * 3600.0 or self.unsettled:
            self.world.after(MINUTE_S, lambda: self._minute(now))


@dataclass(frozen=True, slots=True)
class Counts:
    """What was asked so far."""

    record_writes: int = 0
    starts: int = 0


@dataclass(frozen=True, slots=True)
class Timed(Tracer):
    """The computation as the time that it takes, by the planner's own rates and some luck."""

    city: City

    def annotate(self, record: Submission, rows: Rows, part_name: str, beat: Callable[[int], None]) -> Receipt:
        """As the protocol says."""
        self._last(self.city.tempo.compute_s(record, rows), lambda share: beat(round(share * len(rows))))
        info = self.blobs.write("work", part_name, [b"part"], if_generation=0)
        assert info.crc32c is not None
        return Receipt(info.ref, info.size_bytes, info.crc32c, rows)

    def merge(self, record: Submission, receipts: Sequence[Receipt], prefix: str, beat: Callable[[], None]) -> Result:
        """As the protocol says."""
        self._last(self.city.tempo.merge_s(record), lambda _share: beat())
        manifest = self.blobs.write("results", f"{prefix}manifest.json", [b"{}"], if_generation=0)
        return Result("results", prefix, manifest.ref, {"n_parts": len(receipts)})

    def _last(self, reckoned_s: float, beat: Callable[[float], None]) -> None:
        luck = math.exp(self.world.random.gauss(0.0, self.city.scenario.noise_sigma))
        whole_s = left_s = reckoned_s * luck
        while left_s > 0:
            self.world.sleep(min(BEAT_S, left_s))
            left_s -= BEAT_S
            beat(min(1.0, 1.0 - left_s / whole_s))


class _Forgetful(list[tuple[float, str, str]]):
    """A trace of a day would fill the memory."""

    @override
    def append(self, moment: tuple[float, str, str], /) -> None:
        return


def _pools(scenario: Scenario, tempo: Tempo) -> dict[Accelerator, Pool]:
    vcpus = tempo.pool(Accelerator.CPU).shape.vcpus
    return {Accelerator.CPU: Pool(max(1, scenario.vcpus // vcpus)), Accelerator.GPU: Pool(scenario.gpus)}


def _chances(scenario: Scenario, world: World) -> Chances:
    # A source of its own, so that how long a start takes does not depend on what else is drawn.
    chance = random.Random(f"{scenario.seed} chances")
    mu = math.log(scenario.start_median_s)

    def lost_after_s() -> float | None:
        return world.between(0.0, MINUTE_S) if chance.random() < scenario.lost_share else None

    return Chances(lambda: chance.lognormvariate(mu, scenario.start_sigma), lost_after_s)


def _verdict(file: File, scenario: Scenario) -> Verdict:
    nnz = file.n_cells * scenario.values_per_cell
    matrix = MatrixChoice(
        "X", MatrixState.COUNTS, "counts", MatrixEncoding.CSR, "float32", file.n_cells, 30_000, nnz, "var"
    )
    size_bytes = file.n_cells * scenario.bytes_per_cell
    return Verdict(n_cells=file.n_cells, n_genes=30_000, size_bytes=size_bytes, matrix=matrix)
