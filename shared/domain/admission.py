"""How a submission begins: a request, accepted or refused in one write, and joined by those who ask for the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from shared.domain import owed
from shared.domain.submission import (
    ID_LENGTH,
    Failure,
    ModelRef,
    ObjectRef,
    Requester,
    State,
    Submission,
    submission_id,
)
from shared.domain.verdict import Verdict

PAGE, PAGE_CHARACTERS = 64, 16_000
"""Requesters that one page holds, and one event names; long ones fill it sooner (12 bytes a character at most)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a new submission starts from.

    Attributes:
        refusal: Why it was refused before anybody looked into the file; None where the file decides.
    """

    source: ObjectRef
    requested: Mapping[str, str]
    rerun_token: str | None = None
    requester: Requester | None = None
    refusal: Failure | None = None

    @property
    def id(self) -> str:
        """The submission's id."""
        return submission_id(self.source, self.requested, self.rerun_token)


def event_key(*identity: str | int) -> str:
    """The name under which is kept what an event asks for: the same at every delivery, and no other event's."""
    text = json.dumps(identity, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def queued(request: Request, verdict: Verdict, model: ModelRef) -> Submission:
    """A submission that was accepted: record, job and event in one write."""
    new = _new(request, State.QUEUED, verdict)
    return owed.with_acceptance(replace(new, model=model, outbox=(owed.job(new.id, 1),)))


def rejected(request: Request, failure: Failure, verdict: Verdict | None) -> Submission:
    """A submission that was refused, with its reason."""
    return owed.with_outcome(replace(_new(request, State.REJECTED, verdict), failure=failure))


def turns_page(record: Submission, requester: Requester) -> bool:
    """Whether one more requester begins a page: the full one must be kept beside the record before."""
    return requester not in record.requesters and _is_full(record.requesters)


def join(record: Submission, requester: Requester) -> Submission:
    """A second request for the same id: recorded once; told that it is accepted, or how it ended if it is over.

    A record holds one page of requesters, whatever their number.
    """
    if requester in record.requesters:
        return record
    if turns_page(record, requester):
        record = replace(record, requesters=(), pages=record.pages + 1)
    joined = replace(record, requesters=(*record.requesters, requester))
    return owed.with_outcome(joined) if record.state.final else owed.with_acceptance(joined)


def _is_full(page: tuple[Requester, ...]) -> bool:
    return len(page) >= PAGE or sum(len(who.correlation_id) + len(who.source) for who in page) >= PAGE_CHARACTERS


def _new(request: Request, state: State, verdict: Verdict | None) -> Submission:
    return Submission(
        id=request.id,
        source=request.source,
        requested=dict(request.requested),
        state=state,
        requesters=(request.requester,) if request.requester else (),
        rerun_token=request.rerun_token,
        verdict=verdict,
    )
