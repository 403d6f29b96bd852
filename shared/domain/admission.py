"""How a submission begins: a request is accepted or refused in one write, and later requests for the same join it."""

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
"""The most requesters on a page, and their most characters together (at most 12 bytes each). One event names a page."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a submission.

    Attributes:
        refusal: Why it was refused before the file was inspected; None if the file is inspected.
    """

    source: ObjectRef
    requested: Mapping[str, str]
    rerun_token: str | None = None
    requester: Requester | None = None
    refusal: Failure | None = None

    @property
    def id(self) -> str:
        """The id of the submission that the request leads to."""
        return submission_id(self.source, self.requested, self.rerun_token)


def event_key(*identity: str | int) -> str:
    """The key under which the request of an event is stored: unique to the event, and the same at every delivery."""
    text = json.dumps(identity, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def queued(request: Request, verdict: Verdict, model: ModelRef, consensus: tuple[ModelRef, ...] = ()) -> Submission:
    """Make the record of an accepted submission, with its job message and event in the outbox.

    Args:
        consensus: The further models of a consensus.
    """
    new = _new(request, State.QUEUED, verdict)
    return owed.with_acceptance(replace(new, model=model, consensus=consensus, outbox=(owed.job(new.id, 1),)))


def rejected(request: Request, failure: Failure, verdict: Verdict | None) -> Submission:
    """Make the record of a refused submission, with its reason."""
    return owed.with_outcome(replace(_new(request, State.REJECTED, verdict), failure=failure))


def turns_page(record: Submission, requester: Requester) -> bool:
    """Whether one more requester starts a new page. The full page must then be stored beside the record first."""
    return requester not in record.requesters and _is_full(record.requesters)


def join(record: Submission, requester: Requester) -> Submission:
    """Add a further requester to a submission, once. They get the accepted event, or the outcome if it has ended.

    The record holds one page of requesters, however many there are.
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
