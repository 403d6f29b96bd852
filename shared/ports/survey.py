"""The survey: reads the resources of a deployed pipeline, without changing any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


def project_of_account(email: str) -> str:
    """The project in a service account's address; empty if it names none, as for Google's own service agents."""
    project, owned, _ = email.partition("@")[2].partition(".iam.gserviceaccount.com")
    return project if owned and "." not in project else ""


class Silence(StrEnum):
    """Why a fact could not be read."""

    MISSING = "missing"
    """The resource does not exist."""
    DENIED = "denied"
    """Access is denied."""
    DISABLED = "disabled"
    """The service's API is disabled in this project."""
    NOT_OFFERED = "not offered"
    """The service does not support the query; it is an emulator, say."""
    REFUSED = "refused"
    """The service rejects the query: an invalid name, a broken file."""
    UNREACHABLE = "unreachable"
    """No answer in time."""
    NOT_SET = "not set"
    """Credentials or a setting are missing, so the query was not sent."""


@dataclass(frozen=True, slots=True)
class Untold:
    """The reason why a fact is missing.

    Attributes:
        words: The service's message, or ours, on one line.
    """

    why: Silence
    words: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of the credentials.

    Attributes:
        kind: The kind of credentials, as text.
        email: Empty if the credentials do not contain it.
        is_user: They belong to a person, not to a service account.
        project: The project that they belong to, if any.
        quota_project: The project that is billed for requests, if it is another one.
        trouble: Why no token could be obtained with them; None if one could.
    """

    kind: str
    email: str = ""
    is_user: bool = False
    project: str = ""
    quota_project: str = ""
    trouble: Silence | None = None


class Encryption(StrEnum):
    """The kind of key that an object is encrypted with."""

    GOOGLE = "Google's own keys"
    KMS = "Cloud KMS keys"
    SUPPLIED = "customer-supplied keys"


@dataclass(frozen=True, slots=True)
class AgeRule:
    """A lifecycle rule for objects of some age.

    Attributes:
        storage_class: The class that it moves objects to; empty if it deletes them.
        within: The prefixes and suffixes of names that it applies to; empty for all.
    """

    age_days: int
    storage_class: str = ""
    within: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """A bucket's settings.

    Attributes:
        location: A region, or the name of a multi-region.
        uniform_access: Access is granted only on the bucket, not on single objects.
        rules: The lifecycle rules that depend on age.
        soft_delete_s: How long deleted objects are kept and billed.
        storage_class: The default class of new objects.
        autoclass: Autoclass is on: objects change class automatically, and reads cost nothing extra.
        kms_key: The full name of the default key; empty for Google's own keys.
        refused_encryption: The kinds of encryption that are refused for new objects.
        retention_s: How long after its creation an object cannot be deleted or replaced.
        retention_locked: The retention policy is locked and cannot be shortened.
        holds_objects: Every new object is put on hold: it cannot be deleted or replaced until it is released.
        object_retention: Single objects can have their own retention period.
        ip_filtered: An IP filter accepts only some networks.
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
        """The lowest age at which every object is deleted; None if there is no such rule."""
        return min((rule.age_days for rule in self.rules if not rule.storage_class and not rule.within), default=None)


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """A Cloud KMS key.

    Attributes:
        primary: The number of the primary version; empty if there is none.
        state: The state of the primary version; ``ENABLED`` if it can be used.
        others: Older versions that exist but cannot be used, each with its state.
    """

    primary: str
    state: str
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class NotificationFacts:
    """A notification of a bucket, for changes of its objects.

    Attributes:
        event_types: The types of events; empty for all.
        prefix: The prefix of the object names that it covers.
        tells_all: Its payload contains the object's metadata, as Eventarc needs; otherwise only the name.
    """

    topic: str
    event_types: tuple[str, ...] = ()
    prefix: str = ""
    tells_all: bool = True


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """A subscription's settings, with full names.

    Attributes:
        endpoint: The URL that it pushes to; empty for a pull subscription.
        token_account: The account whose identity token it sends; empty for none.
        token_audience: The audience of the token; the endpoint, unless the subscription sets another.
        has_retry_policy: It waits between retries.
        dead_letter_topic: The topic for messages that cannot be delivered; empty for none.
        expires_after_s: How long it may be unused before it is deleted; None for ever.
        is_healthy: False if Pub/Sub cannot push, or the topic was deleted.
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
    """A missing index that one of our queries needs.

    Attributes:
        fields: The fields in the index's order, each with ``ASCENDING`` or ``DESCENDING``.
    """

    fields: tuple[tuple[str, str], ...]
    words: str = ""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A Cloud Run job.

    Attributes:
        accelerator: The kind of GPU; empty for none.
        limits: The container's limits: ``cpu``, ``memory``, ``nvidia.com/gpu``.
        account: The service account that its tasks run as; empty for the project's default account.
        trouble: Why it is not ready; empty if it is.
        variables: The CELLDROP_ environment variables set in the job.
        parallelism: The most tasks of one execution at a time; 0 for no limit.
        task_count: The default number of tasks of an execution.
        spare_zone: GPU zonal redundancy is on.
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
        timeout_s: The time limit of one request.
        limits, account, trouble, variables: As in JobFacts.
    """

    image: str
    timeout_s: int
    limits: Mapping[str, str] = field(default_factory=dict)
    account: str = ""
    trouble: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


class Part(StrEnum):
    """The kinds of resources on which the caller's permissions can be queried."""

    BUCKET = "bucket"
    TOPIC = "topic"
    SUBSCRIPTION = "subscription"
    JOB = "job"
    ACCOUNT = "account"


class Survey(Protocol):
    """Reads the resources of one deployment. No method raises, and nothing is changed.

    Topics and subscriptions are given by a short name in the deployment's project, or by a full name.
    """

    def caller(self) -> Caller | Untold:
        """The credentials of this environment, without their secrets."""
        ...

    def bucket(self, name: str) -> BucketFacts | Untold:
        """A bucket's settings."""
        ...

    def has_objects(self, bucket: str) -> bool | Untold:
        """Whether a bucket contains objects. This needs no permission to read its settings."""
        ...

    def key(self, name: str) -> KeyFacts | Untold:
        """A Cloud KMS key, by its full name."""
        ...

    def notifications(self, bucket: str) -> tuple[NotificationFacts, ...] | Untold:
        """The bucket's notifications."""
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
        """Run every kind of query that the pipeline makes, and list the indexes that are missing."""
        ...

    def job(self, name: str) -> JobFacts | Untold:
        """A job of the deployment's region."""
        ...

    def function(self, name: str) -> FunctionFacts | Untold:
        """A service of the deployment's region."""
        ...

    def account(self, email: str) -> bool | Untold:
        """Whether a service account is enabled."""
        ...

    def rights(self, part: Part, name: str, wanted: Sequence[str]) -> frozenset[str] | Untold:
        """Which of the given permissions the caller has on a resource."""
        ...
