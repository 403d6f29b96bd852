"""The survey: what a deployed pipeline is made of, looked at and never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Silence(StrEnum):
    """Why something was not told."""

    MISSING = "missing"
    """It is not there."""
    DENIED = "denied"
    """Whoever asks may not know."""
    DISABLED = "disabled"
    """The service is switched off in this project."""
    NOT_OFFERED = "not offered"
    """Whatever answers in the service's place does not know the question."""
    REFUSED = "refused"
    """The service finds fault with the question: a name that cannot be, a file that is broken."""
    UNREACHABLE = "unreachable"
    """No answer in time."""
    NOT_SET = "not set"
    """Credentials or a setting are lacking, so that nobody was asked."""


@dataclass(frozen=True, slots=True)
class Untold:
    """What stands where a fact would.

    Attributes:
        words: The service's own, or ours; one line.
    """

    why: Silence
    words: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose credentials these are.

    Attributes:
        kind: In words.
        email: Empty where the credentials do not tell.
        is_user: A person's, not a service account's.
        project: The one that they belong to, if any.
        quota_project: The one that is billed for requests, where it is another.
        trouble: Why no token could be had for them; None where one could.
    """

    kind: str
    email: str = ""
    is_user: bool = False
    project: str = ""
    quota_project: str = ""
    trouble: Silence | None = None


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """How a bucket is set up.

    Attributes:
        location: A region, or a name for several.
        uniform_access: Nobody is let in object by object.
        deletes_after_days: The shortest age that a lifecycle rule deletes at.
        soft_delete_s: For which deleted objects are kept, and paid for.
    """

    location: str
    uniform_access: bool
    versioned: bool = False
    requester_pays: bool = False
    deletes_after_days: int | None = None
    soft_delete_s: int = 0


@dataclass(frozen=True, slots=True)
class NotificationFacts:
    """Whom a bucket tells of its objects.

    Attributes:
        event_types: Empty for all.
        prefix: Of the names that it is told of.
    """

    topic: str
    event_types: tuple[str, ...] = ()
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """How a subscription is set up; names are full ones.

    Attributes:
        endpoint: Where it pushes to; empty for one that is pulled.
        token_account: Whose identity token it pushes with; empty for none.
        token_audience: That the token names; the endpoint itself where the subscription does not say.
        has_retry_policy: Whether it waits between two deliveries.
        dead_letter_topic: Where it puts what is never taken; empty for nowhere.
        expires_after_s: Of disuse; None for never.
        is_healthy: False where Pub/Sub can no longer push, or the topic was taken away.
    """

    name: str
    endpoint: str = ""
    token_account: str = ""
    token_audience: str = ""
    has_retry_policy: bool = False
    dead_letter_topic: str = ""
    ack_deadline_s: int = 10
    expires_after_s: int | None = None
    is_healthy: bool = True


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """A Firestore database."""

    is_native: bool
    location: str


@dataclass(frozen=True, slots=True)
class LackingIndex:
    """An index without which a search of ours is not answered.

    Attributes:
        fields: Each with ``ASCENDING`` or ``DESCENDING``, in the index's order.
    """

    fields: tuple[tuple[str, str], ...]
    words: str = ""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A Cloud Run job.

    Attributes:
        accelerator: The kind of GPU; empty for none.
        limits: Of its container: ``cpu``, ``memory``.
        account: The service account that its tasks run as.
        trouble: Why it is not ready; empty where it is.
        variables: The CELLDROP_ ones that are written in the job.
    """

    image: str
    timeout_s: int
    max_retries: int
    accelerator: str = ""
    limits: Mapping[str, str] = field(default_factory=dict)
    account: str = ""
    trouble: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


class Part(StrEnum):
    """What can be asked for the caller's rights on it."""

    BUCKET = "bucket"
    TOPIC = "topic"
    SUBSCRIPTION = "subscription"
    JOB = "job"


class Survey(Protocol):
    """Looks at the services of one deployment. Nothing raises, and nothing is changed.

    Topics and subscriptions go by a short name in the deployment's project, or by a full one.
    """

    def caller(self) -> Caller | Untold:
        """The credentials of this environment; never anything secret of them."""
        ...

    def bucket(self, name: str) -> BucketFacts | Untold:
        """A bucket's own settings."""
        ...

    def has_objects(self, bucket: str) -> bool | Untold:
        """Whether there is anything in it: what is told even to those who may not see its settings."""
        ...

    def notifications(self, bucket: str) -> tuple[NotificationFacts, ...] | Untold:
        """Whom it tells of new objects."""
        ...

    def topic(self, name: str) -> str | Untold:
        """A topic's full name."""
        ...

    def subscriptions(self, topic: str) -> tuple[SubscriptionFacts, ...] | Untold:
        """The subscriptions of a topic."""
        ...

    def database(self) -> DatabaseFacts | Untold:
        """The status store's database."""
        ...

    def lacking_indexes(self) -> tuple[LackingIndex, ...] | Untold:
        """Ask every kind of search that the pipeline makes; the indexes of those that are not answered."""
        ...

    def job(self, name: str) -> JobFacts | Untold:
        """A job of the deployment's region."""
        ...

    def rights(self, part: Part, name: str, wanted: Sequence[str]) -> frozenset[str] | Untold:
        """Those of some permissions that the caller has."""
        ...
