"""One pass over groups of submissions: a share of the time for each group, and errors collected instead of raised."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from shared.domain.errors import CelldropError
from shared.domain.submission import Submission
from shared.ports.status import Found, Stored
from shared.records.budget import PassBudget

log = logging.getLogger(__name__)

_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are spread evenly: the starting points of any number of passes are."""

Handle: TypeAlias = Callable[[Stored[Submission]], bool]
"""Handles one submission; returns whether it was repaired."""
Queue: TypeAlias = deque[Stored[Submission]]


@dataclass(slots=True)
class Sweep:
    """What one pass did.

    Attributes:
        mended: The ids of repaired submissions.
        faults: The errors of those that could not be repaired, paid or read, and of queries that failed.
        left: How many submissions were not looked at because the time was up. The next pass looks at them.
    """

    mended: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    left: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Submissions that are looked at for one reason.

    Attributes:
        find: Finds them.
        handle: Handles one. What an earlier group with the same handler has handled is not handled again.
        turns: Whether each pass starts at another place. A failed repair leaves no trace in a record. So without this,
            one that takes long and fails would come first in every pass, and keep the later ones waiting for ever.
    """

    find: Callable[[], Found]
    handle: Handle
    turns: bool = False


@dataclass(slots=True)
class Pass:
    """Goes through groups in order. Each gets an equal share of the time that is left; the rest goes round again.

    Attributes:
        budget: Knows the time, and ends a share.
        ends_s: When the whole pass ends by the clock of ``budget``.
    """

    budget: PassBudget
    ends_s: float
    done: Sweep = field(default_factory=Sweep)
    _handled: set[tuple[Handle, str]] = field(default_factory=set)
    _unreadable: set[str] = field(default_factory=set)
    _failed: list[Exception] = field(default_factory=list)

    def through(self, groups: Sequence[Group]) -> Sweep:
        """Handle every submission of the groups, as far as the time allows.

        Raises:
            Exception: The error of the last query, if every query failed.
        """
        queues: list[tuple[Group, Queue]] = []
        for number, group in enumerate(groups):
            self._until(self._share(len(groups) - number))
            queues.append((group, self._found(group)))
            self._work(*queues[-1])
        if len(self._failed) == len(groups):
            raise self._failed[-1]
        self._until(self.ends_s)
        for group, queue in queues:
            self._work(group, queue)
        left = {(group.handle, stored.value.id) for group, queue in queues for stored in queue}
        self.done.left = len({submission_id for _, submission_id in left - self._handled})
        return self.done

    def _share(self, n_left: int) -> float:
        now_s = self.budget.seconds()
        return now_s + (self.ends_s - now_s) / n_left

    def _until(self, until_s: float) -> None:
        self.budget.until_s = until_s

    def _found(self, group: Group) -> Queue:
        try:
            found = group.find()
        except Exception as error:  # noqa: BLE001  # one query that fails does not stop the others
            self._failed.append(error)
            self._fault("a query", error)
            return deque()
        for unreadable in found.unreadable:
            if unreadable.where not in self._unreadable:
                self._unreadable.add(unreadable.where)
                self._fault(unreadable.where, unreadable)
        queue = deque(found)
        if group.turns and queue:
            minutes = queue[0].read_at.timestamp() // 60
            queue.rotate(-int(minutes * _GOLDEN % 1 * len(queue)))
        return queue

    def _work(self, group: Group, queue: Queue) -> None:
        while queue and not self.budget.is_over:
            stored = queue.popleft()
            if (group.handle, stored.value.id) in self._handled:
                continue
            self._handled.add((group.handle, stored.value.id))
            try:
                if group.handle(stored):
                    self.done.mended.append(stored.value.id)
            except Exception as error:  # noqa: BLE001  # a fault of one submission does not stop the others
                self._fault(stored.value.id, error)

    def _fault(self, where: str, error: Exception) -> None:
        code = error.code if isinstance(error, CelldropError) else type(error).__name__
        words = error.message if isinstance(error, CelldropError) else str(error)
        if not isinstance(error, CelldropError):
            log.error("reconcile: unexpected fault", exc_info=error, extra={"submission": where})
        self.done.faults.append(f"{where}: {code}: {words}")
