"""How a submission begins: a request, accepted or refused in one write, and joined by those who ask for the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shared.domain import owed
from shared.domain.submission import Failure, ModelRef, ObjectRef, Requester, State, Submission, submission_id
from shared.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Request:
    """What a new submission starts from."""

    source: ObjectRef
    requested: Mapping[str, str]
    rerun_token: str | None = None
    requester: Requester | None = None

    @property
    def id(self) -> str:
        """The submission's id."""
        return submission_id(self.source, self.requested, self.rerun_token)


def queued(request: Request, verdict: Verdict, model: ModelRef) -> Submission:
    """A submission that was accepted: record, job and event in one write."""
    new = _new(request, State.QUEUED, verdict)
    return owed.with_acceptance(replace(new, model=model, outbox=(owed.job(new.id, 1),)))


def rejected(request: Request, failure: Failure, verdict: Verdict | None) -> Submission:
    """A submission that was refused, with its reason."""
    return owed.with_outcome(replace(_new(request, State.REJECTED, verdict), failure=failure))


def join(record: Submission, requester: Requester) -> Submission:
    """A second request for the same id: recorded once; told that it is accepted, or how it ended if it is over."""
    if requester in record.requesters:
        return record
    joined = replace(record, requesters=(*record.requesters, requester))
    return owed.with_outcome(joined) if record.state.final else owed.with_acceptance(joined)


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
