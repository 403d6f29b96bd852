"""What can go wrong: at every port call, on the way of every message, and in the world at any time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum

from shared.domain.errors import NoCapacityError, UnavailableError
from shared.domain.submission import Requester
from tests.simulation.harm import EVERYBODY
from tests.simulation.platform import Beginning, Execution
from tests.simulation.town import FIRST, SECOND, Town
from tests.simulation.world import Process, Role


class Fault(StrEnum):
    """One kind of trouble, in the words of the documents."""

    CRASH = "crash"
    UNAVAILABLE = "503 before the effect"
    THROTTLED = "429"
    ANSWER_LOST = "done, but the answer is lost"
    PAUSE = "pause longer than a lease"
    DUPLICATE = "delivered twice"
    REORDER = "delivered out of order"
    LATE = "delivered a day late"
    STORM = "transaction storm"
    OUTAGE = "a service is down for minutes"
    NO_CAPACITY = "capacity refused"
    OVERWRITTEN = "input overwritten"
    DELETED = "input deleted"
    CORRUPTED = "part corrupted"
    TRUNCATED = "part truncated"
    PART_LOST = "part deleted"
    CANCEL = "cancelled by the user"
    STOPPED = "execution stopped by an operator"
    EVICTED = "instance taken away"
    FORGOTTEN = "executions forgotten by the platform"
    STARTED_TWICE = "one start, two executions"
    LOCKSTEP = "tasks finish at the same moment"
    SKEW = "clocks off by up to 5 minutes"
    """Nothing may follow from it; what judges leases by its own clock (a mutant) gives itself away."""
    DEPLOY = "new version deployed"
    SLOW = "merge slower than its lease, still at work"
    BROKEN = "a fault of ours, met at every try"
    REFUSED = "start refused for an hour"
    CROWD = "requesters without bound"
    RETAINED = "deletes refused for good"
    JUMP = "the clock jumps by a day"
    PATCHED = "redelivered with other metadata"
    REPLACED = "redelivered with another generation"
    WAITS = "accepted, begins when there is room"
    TURNED_AWAY = "accepted, then ended for lack of room"
    NO_IMAGE = "accepted, then ended as it cannot be started"
    NATIVE = "native crash, at every try"


BEFORE = (Fault.CRASH, Fault.UNAVAILABLE, Fault.THROTTLED, Fault.PAUSE)
AFTER = (Fault.CRASH, Fault.ANSWER_LOST, Fault.PAUSE)
IN_THE_POST = (Fault.DUPLICATE, Fault.REORDER, Fault.LATE)
STANDING = (Fault.STARTED_TWICE, Fault.LOCKSTEP, Fault.SKEW, Fault.FORGOTTEN)
"""True of the whole history."""
IN_THE_WORLD = tuple(fault for fault in Fault if fault not in {*BEFORE, *AFTER, *IN_THE_POST, *STANDING})
TURNING_POINTS = (
    "status.create",
    "status.replace",
    "status.put_task",
    "status.transact",
    "status.transact.commit",
    "blobs.read",
    "blobs.write",
    "blobs.delete",
    "bus.publish",
    "jobs.start",
    "jobs.describe",
)
PORTS = ("status", "blobs", "bus", "jobs")
FAVOURITE_RATE = 0.15
DAY_S = 86_400.0
FAULTS_UNTIL_S = 300.0
STRIKES_LATER = frozenset(
    {
        Fault.STORM,
        Fault.OUTAGE,
        Fault.NO_CAPACITY,
        Fault.REFUSED,
        Fault.RETAINED,
        Fault.WAITS,
        Fault.TURNED_AWAY,
        Fault.NO_IMAGE,
        Fault.NATIVE,
    }
)
"""These count by what they strike while they last."""
LEASE_S = FIRST.limits.finalize_lease.total_seconds()


class Trouble:
    """Makes each kind happen to a town, and counts what really did."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.world = town.world
        self.struck: Counter[Fault] = Counter()
        self.down_until_s: dict[str, float] = {}
        self.storm_until_s = 0.0
        self._straight_s = town.post.delay_s
        self._happenings = self._what_can_happen()

    # --- At a port call ---

    def strike(self, fault: Fault, process: Process, moment: str) -> None:
        """Have a fault happen to the running process."""
        self.struck[fault] += 1
        self.world.tell(f"FAULT {fault} at {moment}")
        self._harm(process)
        match fault:
            case Fault.CRASH:
                self.world.die()
            case Fault.PAUSE:
                if process.role is Role.TASK and self.world.random.random() < 0.5:
                    self.town.jobs.lost_sight(process)
                self.world.sleep(LEASE_S * self.world.between(0.5, 12.0))
            case Fault.THROTTLED if moment == "jobs.start":
                self.world.failed()
                self.town.jobs.waits(process.subject)
                raise NoCapacityError("429", hint="Wait.")  # As the adapter for Cloud Run says it.
            case _:
                self.world.failed()
                raise UnavailableError(str(fault), hint="Try again.")

    def endure(self, process: Process, moment: str) -> None:
        """Storms and outages, which meet everybody."""
        if not self.down_until_s and not self.storm_until_s:
            return
        now_s = self.world.now_s
        if now_s < self.down_until_s.get(moment.partition(".")[0], 0.0):
            self.struck[Fault.OUTAGE] += 1
            self.world.failed()
            self._harm(process)
            raise UnavailableError("the service is down", hint="Try again.")
        stormy = now_s < self.storm_until_s and moment in {
            "status.replace",
            "status.transact.commit",
            "status.put_task",
        }
        if stormy and self.world.random.random() < 0.8:
            self.struck[Fault.STORM] += 1
            self.world.failed()
            self._harm(process)
            raise UnavailableError("contended transaction", hint="Try again.")

    def _harm(self, process: Process) -> None:
        """What strikes a task may cost its submission an attempt; what strikes dispatch may only interrupt it."""
        if process.role in {Role.TASK, Role.DISPATCH}:
            self.town.judge.harm.strike(process.subject, self.world.now_s, work=process.role is Role.TASK)

    # --- In the post ---

    def mail(self, chance: Mapping[Fault, float]) -> None:
        """Have messages arrive twice, out of order, or a day late."""
        roll = self.world.random.random

        def copies() -> int:
            return 1 + self._falls(Fault.DUPLICATE, chance, roll())

        def delay_s() -> float:
            if self._falls(Fault.LATE, chance, roll()):
                return DAY_S * self.world.between(0.9, 1.1)
            if self._falls(Fault.REORDER, chance, roll()):
                return self.world.between(0.0, 120.0)
            return self._straight_s()

        self.town.post.copies, self.town.post.delay_s = copies, delay_s

    def _falls(self, fault: Fault, chance: Mapping[Fault, float], roll: float) -> bool:
        falls = roll < chance.get(fault, 0.0)
        self.struck[fault] += falls
        return falls

    # --- Standing ---

    def stand(self, fault: Fault) -> None:
        """Have something be so for the whole history."""
        jobs, roll = self.town.jobs, self.world.random.random
        match fault:
            case Fault.STARTED_TWICE:
                jobs.starts_twice = lambda: self._falls(fault, {fault: 0.5}, roll())
            case Fault.LOCKSTEP:
                self.world.lockstep_s = 5.0
                self.struck[fault] += 1
            case Fault.SKEW:
                self.world.max_skew_s = 300.0
                self.struck[fault] += 1
            case _:
                jobs.forgets_after_s = self.world.between(5.0, 120.0)
                self.struck[fault] += 1

    # --- In the world ---

    def happen(self, fault: Fault) -> bool:
        """Have something happen now; whether there was anything that it could happen to."""
        happened = bool(self._happenings[fault]())
        if happened:
            self.struck[fault] += fault not in STRIKES_LATER
            self.world.tell(f"FAULT {fault}")
        return happened

    def _what_can_happen(self) -> Mapping[Fault, Callable[[], object]]:
        return {
            Fault.STORM: self._storm,
            Fault.OUTAGE: self._outage,
            Fault.NO_CAPACITY: self._no_capacity,
            Fault.OVERWRITTEN: self._overwrite,
            Fault.DELETED: self._delete,
            Fault.CORRUPTED: lambda: self._spoil(lambda data: data[:5] + b"#" + data[6:]),
            Fault.TRUNCATED: lambda: self._spoil(lambda data: data[: len(data) // 2]),
            Fault.PART_LOST: self._lose_part,
            Fault.CANCEL: self._cancel,
            Fault.STOPPED: self._stop,
            Fault.EVICTED: self._evict,
            Fault.DEPLOY: self._deploy,
            Fault.SLOW: self._slow,
            Fault.BROKEN: lambda: self._break(self.town.computation.pace.broken),
            Fault.REFUSED: self._refuse,
            Fault.JUMP: self._jump,
            Fault.CROWD: self._crowd,
            Fault.RETAINED: self._retain,
            Fault.PATCHED: self._patch,
            Fault.REPLACED: lambda: self._overwrite() and self.town.redeliver(),
            Fault.WAITS: lambda: self._begin_oddly(Beginning.LATE, 10.0 ** self.world.between(-1.5, 0.3)),
            Fault.TURNED_AWAY: lambda: self._begin_oddly(Beginning.NO_ROOM, 10.0 ** self.world.between(-1.5, 0.3)),
            Fault.NO_IMAGE: lambda: self._begin_oddly(Beginning.REFUSED, self.world.between(0.1, 1.0)),
            Fault.NATIVE: lambda: self._break(self.town.computation.pace.native),
        }

    def _storm(self) -> bool:
        self.storm_until_s = self.world.now_s + self.world.between(5.0, 300.0)
        return True

    def _outage(self) -> bool:
        self.down_until_s[self.world.random.choice(PORTS)] = self.world.now_s + self.world.between(5.0, 600.0)
        return True

    def _no_capacity(self) -> bool:
        hours = 10.0 ** self.world.between(-1.5, 0.5)
        self.town.judge.calm_at_s = self.world.now_s
        self.town.jobs.full_until_s = self.world.now_s + 3600.0 * hours
        return True

    def _refuse(self) -> bool:
        self.town.jobs.refused_until_s = self.world.now_s + 3600.0 * self.world.between(0.1, 1.0)
        return True

    def _crowd(self) -> bool:
        """More than one page of them, within a minute or an hour, some again and again."""
        if not self.town.drops:
            return False
        drop = self.world.random.choice(list(self.town.drops.values()))
        most_s = 10.0 ** self.world.between(1.5, 3.5)
        for number in range(self.world.random.randint(60, 140)):
            asked = replace(drop, requester=Requester(f"crowd-{number // 2 if number % 7 == 0 else number}"))
            self.world.after(self.world.between(0.0, most_s), lambda asked=asked: self.town.request(asked))  # type: ignore[misc]
        return True

    def _retain(self) -> bool:
        self.town.blobs.retains = True
        return True

    def _jump(self) -> bool:
        self.town.judge.harm.strike(EVERYBODY, self.world.now_s, work=True)
        self.world.jumped_s += DAY_S * self.world.between(0.5, 1.5)
        return True

    def _overwrite(self) -> bool:
        refs = [info.ref for (bucket, _), (info, _) in self.town.blobs.objects.items() if bucket == "inbox"]
        if refs:
            self.town.drop(self.world.random.choice(refs).name, f"good {self.world.random.randint(300, 900)}", 2)
        return bool(refs)

    def _patch(self) -> bool:
        refs = [info.ref for (bucket, _), (info, _) in self.town.blobs.objects.items() if bucket == "inbox"]
        if refs:
            self.town.patch(self.world.random.choice(refs))
        return bool(refs) and self.town.redeliver()

    def _delete(self) -> bool:
        refs = [info.ref for (bucket, _), (info, _) in self.town.blobs.objects.items() if bucket == "inbox"]
        if refs:
            self.town.remove(self.world.random.choice(refs))
        return bool(refs)

    def _spoil(self, how: Callable[[bytes], bytes]) -> bool:
        name = self._some_part()
        if name:
            self._harm_part(name)
            self.town.blobs.spoil(name, how(self.town.blobs.objects["work", name][1]))
        return bool(name)

    def _lose_part(self) -> bool:
        name = self._some_part()
        if name:
            self._harm_part(name)
            self.town.blobs.delete("work", name)
        return bool(name)

    def _harm_part(self, name: str) -> None:
        self.town.judge.harm.strike(name.partition("/")[0], self.world.now_s, work=True)

    def _some_part(self) -> str:
        names = [name for bucket, name in self.town.blobs.objects if bucket == "work"]
        return self.world.random.choice(names) if names else ""

    def _cancel(self) -> bool:
        ids = list(self.town.store.records)
        if ids:
            self.town.cancel(self.world.random.choice(ids))
        return bool(ids)

    def _stop(self) -> bool:
        running = self.town.jobs.running
        if running:
            execution = self.world.random.choice(running)
            # Where the platform forgets executions, nobody can know that it was stopped and did not fail.
            self._harm_execution(execution, work=self.town.jobs.forgets)
            self.town.jobs.stop(execution)
        return bool(running)

    def _evict(self) -> bool:
        attempts = [(process, execution) for execution in self.town.jobs.running for process in execution.attempts]
        if attempts:
            process, execution = self.world.random.choice(attempts)
            self._harm_execution(execution, work=True)
            self.town.jobs.evict(process)
        return bool(attempts)

    def _harm_execution(self, execution: Execution, *, work: bool) -> None:
        self.town.judge.harm.strike(execution.request.submission_id, self.world.now_s, work=work)

    def _deploy(self) -> bool:
        self.town.other_version = SECOND
        self.town.store.two_versions_write = True

        def rolled_out() -> None:
            self.town.version = SECOND

        self.world.after(60.0, rolled_out)
        return True

    def _slow(self) -> bool:
        self.town.computation.pace.slow_until_s = self.world.now_s + self.world.between(2.0, 9.0) * 60.0
        return self.town.computation.pace.merging > 0

    def _begin_oddly(self, how: Beginning, hours: float) -> bool:
        self.town.jobs.odd_until_s[how] = self.world.now_s + 3600.0 * hours
        return True

    def _break(self, whom: set[str]) -> bool:
        open_ids = [key for key, stored in self.town.store.records.items() if not stored.value.state.final]
        if open_ids:
            whom.add(self.world.random.choice(open_ids))
        return bool(open_ids)

    def cease(self) -> None:
        """From now on all goes well; what is on its way still arrives late, and what is broken stays so."""
        self.town.jobs.full_until_s = self.town.jobs.refused_until_s = self.storm_until_s = 0.0
        self.down_until_s.clear()
        self.town.jobs.odd_until_s.clear()
        self.mail({})
        self.town.jobs.starts_twice = lambda: False


class Swarm:
    """A random handful of kinds at random rates: histories differ in what can go wrong, not only in when.

    Some have a turning point that most of the trouble comes to.
    """

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.world = trouble.world
        roll = self.world.random.random
        quiet = roll() < 0.05
        share = self.world.between(0.05, 0.5)
        self.kinds = frozenset() if quiet else frozenset(fault for fault in Fault if roll() < share)
        self._rate = 10.0 ** self.world.between(-2.5, -0.9)
        self._favourite = self.world.random.choice(TURNING_POINTS) if roll() < 0.4 else ""
        self._before = [fault for fault in BEFORE if fault in self.kinds]
        self._after = [fault for fault in AFTER if fault in self.kinds]
        self.world.strike = self._strike

    def begin(self) -> None:
        """Set the scene, and send for what will happen."""
        self.trouble.mail({fault: self.world.between(0.05, 0.4) for fault in IN_THE_POST if fault in self.kinds})
        for fault in STANDING:
            if fault in self.kinds:
                self.trouble.stand(fault)
        for fault in IN_THE_WORLD:
            if fault in self.kinds:
                for _ in range(self.world.random.randint(1, 3)):
                    self.world.after(self._some_time_s(), lambda fault=fault: self._happen(fault))  # type: ignore[misc]

    def cease(self) -> None:
        """No new fault from here on."""
        self._before, self._after = [], []
        self.trouble.cease()

    def _happen(self, fault: Fault) -> None:
        """Something happens as soon as there is anything that it can happen to."""
        if not self.trouble.happen(fault) and self.world.now_s < FAULTS_UNTIL_S:
            self.world.after(self.world.between(0.5, 8.0), lambda: self._happen(fault))

    def _some_time_s(self) -> float:
        return -45.0 * math.log(1.0 - self.world.random.random())

    def _strike(self, process: Process, moment: str) -> None:
        self.trouble.endure(process, moment)
        kinds = self._after if moment.endswith(".done") else self._before
        rate = FAVOURITE_RATE if moment.removesuffix(".done") == self._favourite else self._rate
        if kinds and self.world.random.random() < rate:
            self.trouble.strike(self.world.random.choice(kinds), process, moment)
