"""The survey: what a deployed pipeline is made of, looked at and never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


def project_of_account(email: str) -> str:
    """The project that a service account's address names; empty where it names none, as Google's own agents' do not."""
    project, owned, _ = email.partition("@")[2].partition(".iam.gserviceaccount.com")
    return project if owned and "." not in project else ""


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


class Encryption(StrEnum):
    """Whose key an object is encrypted with."""

    GOOGLE = "Google's own keys"
    KMS = "Cloud KMS keys"
    SUPPLIED = "customer-supplied keys"


@dataclass(frozen=True, slots=True)
class AgeRule:
    """What a lifecycle rule does to objects of some age.

    Attributes:
        storage_class: That it moves them to; empty where it deletes them.
        within: The beginnings and ends of names that it is for; empty for all.
    """

    age_days: int
    storage_class: str = ""
    within: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """How a bucket is set up.

    Attributes:
        location: A region, or a name for several.
        uniform_access: Nobody is let in object by object.
        rules: Of its lifecycle, those that go by age.
        soft_delete_s: For which deleted objects are kept, and paid for.
        storage_class: Of what is written without one.
        autoclass: It moves objects to other classes by itself, at no price for reading.
        kms_key: That encrypts what is written without a key, in full; empty for Google's own.
        refused_encryption: No new object may be encrypted so.
        retention_s: From its creation, for which no object can be deleted or replaced.
        retention_locked: Nobody can shorten that.
        holds_objects: Every new object is held: not deleted or replaced until somebody releases it.
        object_retention: An object can be given a time of its own for which it is kept.
        ip_filtered: It answers some networks alone.
    """

    location: str
    uniform_access: bool
    versioned: bool = False
    requester_pays: bool = False
    rules: tuple[AgeRule, ...] = ()
    soft_delete_s: int = 0
    storage_class: str = "STANDARD"
    autoclass: bool = False
    kms_key: str = ""
    refused_encryption: frozenset[Encryption] = frozenset()
    retention_s: int = 0
    retention_locked: bool = False
    holds_objects: bool = False
    object_retention: bool = False
    ip_filtered: bool = False

    @property
    def deletes_after_days(self) -> int | None:
        """The shortest age at which everything is deleted."""
        return min((rule.age_days for rule in self.rules if not rule.storage_class and not rule.within), default=None)


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """A Cloud KMS key.

    Attributes:
        primary: The number of the version that encrypts; empty where there is none.
        state: Of that version: ``ENABLED`` where it can be used.
        others: Older versions that cannot be used and still exist, each with its state.
    """

    primary: str
    state: str
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class NotificationFacts:
    """Whom a bucket tells of its objects.

    Attributes:
        event_types: Empty for all.
        prefix: Of the names that it is told of.
        tells_all: With the object's metadata, which Eventarc passes on; else its name alone.
    """

    topic: str
    event_types: tuple[str, ...] = ()
    prefix: str = ""
    tells_all: bool = True


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
        limits: Of its container: ``cpu``, ``memory``, ``nvidia.com/gpu``.
        account: The service account that its tasks run as; empty for the project's default one.
        trouble: Why it is not ready; empty where it is.
        variables: The CELLDROP_ ones that are written in the job.
        parallelism: Tasks at a time of one execution; 0 for as many as there is room for.
        task_count: Of an execution that is started without a word about it.
        spare_zone: GPUs are kept for it in a second zone.
    """

    image: str
    timeout_s: int
    max_retries: int
    accelerator: str = ""
    limits: Mapping[str, str] = field(default_factory=dict)
    account: str = ""
    trouble: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    parallelism: int = 0
    task_count: int = 1
    spare_zone: bool = False


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """A Cloud Run service that is one of our functions.

    Attributes:
        timeout_s: For one request.
        limits, account, trouble, variables: As a job's.
    """

    image: str
    timeout_s: int
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
    ACCOUNT = "account"


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

    def key(self, name: str) -> KeyFacts | Untold:
        """A Cloud KMS key, by its full name."""
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

    def function(self, name: str) -> FunctionFacts | Untold:
        """A service of the deployment's region."""
        ...

    def account(self, email: str) -> bool | Untold:
        """Whether a service account can be used: false for one that is disabled."""
        ...

    def rights(self, part: Part, name: str, wanted: Sequence[str]) -> frozenset[str] | Untold:
        """Those of some permissions that the caller has."""
        ...
