"""The survey of Google's services. Every query is sent once, with a short time limit, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from typing_extensions import override

from shared.adapters.gcp.clients import default_project, firestore_client, no_credentials, storage_client
from shared.adapters.gcp.jobs import connect
from shared.adapters.gcp.survey_answers import function_facts, job_facts, subscription_facts, untold
from shared.adapters.gcp.survey_buckets import bucket_facts, notification_facts
from shared.adapters.gcp.survey_by_rest import ByRest
from shared.adapters.gcp.survey_caller import look_at_caller
from shared.domain.errors import SettingsError, UnavailableError
from shared.domain.submission import State
from shared.ports.survey import (
    BucketFacts,
    Caller,
    DatabaseFacts,
    FunctionFacts,
    JobFacts,
    KeyFacts,
    LackingIndex,
    NotificationFacts,
    Part,
    Silence,
    SubscriptionFacts,
    Survey,
    Untold,
)

if TYPE_CHECKING:
    from google.cloud.firestore import Client as FirestoreClient
    from google.cloud.firestore import Query
    from google.cloud.run_v2 import JobsClient, ServicesClient
    from google.cloud.storage import Client as StorageClient  # type: ignore[import-untyped]  # ships no types
    from google.pubsub_v1 import PublisherClient, SubscriberClient

T = TypeVar("T")

TIMEOUT_S = 5.0
"""The time limit of one query. Queries are not retried; the user can run the command again."""

_ONCE: dict[str, Any] = {"timeout": TIMEOUT_S, "retry": None}
_TWO_STATES = (State.QUEUED, State.RUNNING)


class CloudSurvey(Survey):
    """Surveys a deployment through Google's APIs; thread-safe.

    Args:
        project: Empty for the project of the credentials.
        run_endpoint: The URL of a stand-in for Cloud Run; empty for Google's.
        rest_endpoint: The URL of a stand-in for Cloud KMS and IAM; empty for Google's.
    """

    def __init__(
        self, project: str, region: str, database: str, run_endpoint: str = "", rest_endpoint: str = ""
    ) -> None:
        self._region = region
        self._database = database
        self._project = _Once(lambda: project or default_project())
        self._storage: _Once[StorageClient] = _Once(lambda: storage_client(self._project()))
        self._firestore: _Once[FirestoreClient] = _Once(lambda: firestore_client(self._project(), database))
        self._publisher = _Once(_publisher)
        self._subscriber = _Once(_subscriber)
        self._jobs: _Once[JobsClient] = _Once(lambda: connect(run_endpoint).jobs)
        self._services: _Once[ServicesClient] = _Once(_services)
        self._has_services = not run_endpoint
        self._rest = _Once(lambda: ByRest(rest_endpoint, TIMEOUT_S))

    @override
    def caller(self) -> Caller | Untold:
        return _answer(look_at_caller)

    # --- Cloud Storage ---

    @override
    def bucket(self, name: str) -> BucketFacts | Untold:
        return _answer(lambda: bucket_facts(self._storage().get_bucket(name, **_ONCE)))

    @override
    def has_objects(self, bucket: str) -> bool | Untold:
        return _answer(lambda: any(True for _ in self._storage().list_blobs(bucket, max_results=1, **_ONCE)))

    @override
    def notifications(self, bucket: str) -> tuple[NotificationFacts, ...] | Untold:
        def ask() -> tuple[NotificationFacts, ...]:
            found = self._storage().bucket(bucket).list_notifications(**_ONCE)
            return tuple(notification_facts(one) for one in found)

        return _answer(ask)

    # --- Keys and accounts ---

    @override
    def key(self, name: str) -> KeyFacts | Untold:
        return _answer(lambda: self._rest().key(name))

    @override
    def account(self, email: str) -> bool | Untold:
        return _answer(lambda: self._rest().account(email))

    # --- Pub/Sub ---

    @override
    def topic(self, name: str) -> str | Untold:
        return _answer(lambda: str(self._publisher().get_topic(topic=self._full_topic(name), **_ONCE).name))

    @override
    def subscriptions(self, topic: str) -> tuple[SubscriptionFacts, ...] | Untold:
        def ask() -> tuple[SubscriptionFacts, ...]:
            names = list(self._publisher().list_topic_subscriptions(topic=self._full_topic(topic), **_ONCE))
            found = (self._subscriber().get_subscription(subscription=name, **_ONCE) for name in names)
            return tuple(subscription_facts(one) for one in found)

        return _answer(ask)

    # --- Firestore ---

    @override
    def database(self) -> DatabaseFacts | Untold:
        def ask() -> DatabaseFacts:
            from google.cloud.firestore_admin_v1 import FirestoreAdminClient  # noqa: PLC0415  # as above
            from google.cloud.firestore_admin_v1.services.firestore_admin.transports import (  # noqa: PLC0415
                FirestoreAdminGrpcTransport,
            )

            # Over the connection of the store's own client, so that an emulator's address applies here too.
            channel = self._firestore()._firestore_api.transport.grpc_channel  # noqa: SLF001  # no public way
            admin = FirestoreAdminClient(transport=FirestoreAdminGrpcTransport(channel=channel))
            name = f"projects/{self._project()}/databases/{self._database}"
            found = admin.get_database(name=name, **_ONCE)
            return DatabaseFacts(found.type_ == type(found).DatabaseType.FIRESTORE_NATIVE, found.location_id)

        return _answer(ask)

    @override
    def lacking_indexes(self) -> tuple[LackingIndex, ...] | Untold:
        return _answer(lambda: tuple(_lacking(self._firestore())))

    # --- Cloud Run ---

    @override
    def job(self, name: str) -> JobFacts | Untold:
        return _answer(lambda: job_facts(self._jobs().get_job(name=self._full_job(name), **_ONCE)))

    @override
    def function(self, name: str) -> FunctionFacts | Untold:
        if not self._has_services:
            return Untold(Silence.NOT_OFFERED, "a stand-in for jobs has no services")
        return _answer(lambda: function_facts(self._services().get_service(name=self._full_service(name), **_ONCE)))

    # --- Rights ---

    @override
    def rights(self, part: Part, name: str, wanted: Sequence[str]) -> frozenset[str] | Untold:
        if part is Part.BUCKET:
            return _answer(lambda: frozenset(self._storage().bucket(name).test_iam_permissions(list(wanted), **_ONCE)))
        if part is Part.ACCOUNT:
            return _answer(lambda: self._rest().rights_on_account(name, wanted))

        def ask() -> frozenset[str]:
            client, resource = self._holder(part, name)
            request = {"resource": resource, "permissions": list(wanted)}
            return frozenset(client.test_iam_permissions(request=request, **_ONCE).permissions)

        return _answer(ask)

    def _holder(self, part: Part, name: str) -> tuple[PublisherClient | SubscriberClient | JobsClient, str]:
        match part:
            case Part.TOPIC:
                return self._publisher(), self._full_topic(name)
            case Part.SUBSCRIPTION:
                return self._subscriber(), name
            case _:
                return self._jobs(), self._full_job(name)

    # --- Names ---

    def _full_topic(self, name: str) -> str:
        return name if "/" in name else f"projects/{self._project()}/topics/{name}"

    def _full_service(self, name: str) -> str:
        return f"projects/{self._project()}/locations/{self._region}/services/{name}"

    def _full_job(self, name: str) -> str:
        return f"projects/{self._project()}/locations/{self._region}/jobs/{name}"


class _Once(Generic[T]):
    """Makes a value at the first call, in one thread. A failure is cached too, as it takes seconds."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = Lock()
        self._made: list[T] = []
        self._fault: Exception | None = None

    def __call__(self) -> T:
        with self._lock:
            if self._fault is not None:
                raise self._fault
            if not self._made:
                try:
                    self._made.append(self._make())
                except Exception as fault:
                    self._fault = fault
                    raise
            return self._made[0]


def _answer(ask: Callable[[], T]) -> T | Untold:
    try:
        return ask()
    except (SettingsError, UnavailableError) as error:
        return _unanswered(error)
    except DefaultCredentialsError as error:
        return _unanswered(no_credentials(error))
    except (exceptions.GoogleAPIError, GoogleAuthError, OSError) as error:
        return untold(error)


def _unanswered(error: SettingsError | UnavailableError) -> Untold:
    """Why there are no credentials, or no project."""
    return Untold(Silence.NOT_SET if isinstance(error, SettingsError) else Silence.UNREACHABLE, error.message)


def _publisher() -> PublisherClient:
    from google.pubsub_v1 import PublisherClient  # noqa: PLC0415  # half a second, in a thread of its own

    return PublisherClient()


def _subscriber() -> SubscriberClient:
    from google.pubsub_v1 import SubscriberClient  # noqa: PLC0415  # likewise

    return SubscriberClient()


def _services() -> ServicesClient:
    from google.cloud.run_v2 import ServicesClient  # noqa: PLC0415  # likewise

    return ServicesClient(transport="rest")


def _lacking(client: FirestoreClient) -> Iterator[LackingIndex]:
    for fields, query in _searches(client):
        try:
            query.limit(1).get(**_ONCE)
        except exceptions.FailedPrecondition as error:
            yield LackingIndex(fields, untold(error).words)


def _searches(client: FirestoreClient) -> Iterator[tuple[tuple[tuple[str, str], ...], Query]]:
    """Every kind of query, with the index that it needs (see ``documents.indexes``)."""
    from shared.adapters.gcp.documents import SUBMISSIONS, submissions_where  # noqa: PLC0415  # it loads the client

    submissions = client.collection(SUBMISSIONS)
    for searched, states in (("state",), _TWO_STATES), (("owes",), ()), (("owes", "state"), _TWO_STATES):
        for oldest_first, way in ((True, "ASCENDING"), (False, "DESCENDING")):
            query = submissions_where(submissions, states, with_outbox="owes" in searched, oldest_first=oldest_first)
            yield (*((name, "ASCENDING") for name in searched), ("created_at", way)), query
