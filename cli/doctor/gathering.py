"""Collects all facts of a deployment with concurrent queries, in bounded time even if services do not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Thread
from typing import Generic, TypeVar

from cli.doctor.commands import part_name
from cli.doctor.model import ModelFacts, look_at_model
from shared.ports.blobs import BlobStore
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
from shared.settings import Settings

K = TypeVar("K")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

FIRST_TIMEOUT_S = 12.0
"""How long to wait for the first queries, which all run at once."""
MORE_TIMEOUT_S = 6.0
"""How long to wait for the queries that depend on their answers. Both together stay below 20 s."""


FUNCTIONS = ("ingest", "dispatch", "reconcile", "status")
TO_READ_FROM = ("pubsub.subscriptions.consume",)
"""The permission to read from a subscription."""
TO_ACT_AS = ("iam.serviceAccounts.actAs",)
"""The permission, on the tasks' account, to start a job with overrides."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """The facts of a deployment, by resource name.

    Attributes:
        project: Empty if it is neither set nor known from the credentials.
        holdings: Whether each bucket contains any object.
        keys: The keys that buckets are encrypted with, by full name.
        subscriptions: The subscriptions by topic, dead-letter topics included.
        accounts: The accounts of jobs, functions and push subscriptions, by address; whether each is enabled.
        functions: The functions, by the name that their services should have.
        rights: The permissions that the caller has, of those asked about, by kind and name of the resource.
    """

    caller: Caller | Untold
    project: str
    buckets: Mapping[str, BucketFacts | Untold]
    holdings: Mapping[str, bool | Untold]
    notifications: tuple[NotificationFacts, ...] | Untold
    model: ModelFacts | Untold
    topics: Mapping[str, str | Untold]
    subscriptions: Mapping[str, tuple[SubscriptionFacts, ...] | Untold]
    database: DatabaseFacts | Untold
    lacking: tuple[LackingIndex, ...] | Untold
    jobs: Mapping[str, JobFacts | Untold]
    rights: Mapping[tuple[Part, str], frozenset[str] | Untold]
    keys: Mapping[str, KeyFacts | Untold] = field(default_factory=dict)
    accounts: Mapping[str, bool | Untold] = field(default_factory=dict)
    functions: Mapping[str, FunctionFacts | Untold] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for the first queries, and for those that depend on their answers."""

    first_s: float = FIRST_TIMEOUT_S
    more_s: float = MORE_TIMEOUT_S


def gather(
    settings: Settings,
    survey: Survey,
    blobs: Callable[[], BlobStore],
    wanted: Mapping[tuple[Part, str], tuple[str, ...]],
    timeouts: Timeouts,
) -> Deployed:
    """Run all queries.

    Args:
        blobs: Opens the store that models are read from.
        wanted: The permissions to query, by resource.
    """
    buckets = bucket_names(settings)
    topics = topic_names(settings)
    until = _in(timeouts.first_s)
    caller = _Look(survey.caller)
    bucket_looks = _looks(survey.bucket, buckets)
    holding_looks = _looks(survey.has_objects, buckets)
    notified = _Look(partial(survey.notifications, settings.inbox_bucket))
    model = _Look(lambda: look_at_model(blobs(), settings.models_bucket, settings.default_model))
    topic_looks = _looks(survey.topic, topics)
    subscription_looks = _looks(survey.subscriptions, topics)
    database, lacking = _Look(survey.database), _Look(survey.lacking_indexes)
    job_looks = _looks(survey.job, job_names(settings))
    function_looks = _looks(survey.function, function_names(settings))
    right_looks = {key: _Look(partial(survey.rights, *key, permissions)) for key, permissions in wanted.items()}

    who = caller.answer(until)
    subscriptions = _answers(subscription_looks, until)
    found = Deployed(
        caller=who,
        project=settings.project or ("" if isinstance(who, Untold) else who.project),
        buckets=_answers(bucket_looks, until),
        holdings=_answers(holding_looks, until),
        notifications=notified.answer(until),
        model=model.answer(until),
        topics=_answers(topic_looks, until),
        subscriptions=subscriptions,
        database=database.answer(until),
        lacking=lacking.answer(until),
        jobs=_answers(job_looks, until),
        functions=_answers(function_looks, until),
        rights=_answers(right_looks, until),
    )
    return _followed(found, survey, _in(timeouts.more_s))


def _followed(found: Deployed, survey: Survey, until: float) -> Deployed:
    """Run the queries that depend on the first answers: keys, accounts, dead-letter topics and rights."""
    known = [one for answer in found.subscriptions.values() if not isinstance(answer, Untold) for one in answer]
    dead = {one.dead_letter_topic for one in known if one.dead_letter_topic}
    wanted = {(Part.SUBSCRIPTION, one.name): TO_READ_FROM for one in known if not one.endpoint}
    wanted |= {(Part.ACCOUNT, email): TO_ACT_AS for email in task_accounts(found)}
    keys, accounts = _looks(survey.key, keys_of(found.buckets)), _looks(survey.account, accounts_of(found))
    topics, subscriptions = _looks(survey.topic, dead), _looks(survey.subscriptions, dead)
    right_looks = {key: _Look(partial(survey.rights, *key, permissions)) for key, permissions in wanted.items()}
    return replace(
        found,
        keys=_answers(keys, until),
        topics={**found.topics, **_answers(topics, until)},
        subscriptions={**found.subscriptions, **_answers(subscriptions, until)},
        accounts=_answers(accounts, until),
        rights={**found.rights, **_answers(right_looks, until)},
    )


def keys_of(buckets: Mapping[str, BucketFacts | Untold]) -> dict[str, list[str]]:
    """The keys that buckets are encrypted with, and the buckets of each."""
    known = ((name, facts) for name, facts in buckets.items() if not isinstance(facts, Untold))
    return _grouped((facts.kms_key, name) for name, facts in known if facts.kms_key)


def task_accounts(found: Deployed) -> dict[str, list[str]]:
    """The accounts that tasks run as, and the jobs of each."""
    jobs = ((name, facts) for name, facts in found.jobs.items() if not isinstance(facts, Untold) and facts.account)
    return _grouped((facts.account, f"tasks of {name}") for name, facts in jobs)


def accounts_of(found: Deployed) -> dict[str, list[str]]:
    """All accounts that tasks, functions and push subscriptions use, and what uses each."""
    known = (one for answer in found.subscriptions.values() if not isinstance(answer, Untold) for one in answer)
    pushes = [(one.token_account, f"pushes of {one.name.rpartition('/')[2]}") for one in known if one.token_account]
    functions = ((name, facts) for name, facts in found.functions.items() if not isinstance(facts, Untold))
    running = [(facts.account, name) for name, facts in functions if facts.account]
    tasks = [(email, use) for email, uses in task_accounts(found).items() for use in uses]
    return _grouped([*tasks, *running, *pushes])


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def bucket_names(settings: Settings) -> list[str]:
    """Every bucket once, the pipeline's own four first."""
    own = (settings.inbox_bucket, settings.models_bucket, settings.work_bucket, settings.results_bucket)
    return list(dict.fromkeys([*own, *sorted(settings.drop_buckets)]))


def topic_names(settings: Settings) -> list[str]:
    """Every topic once."""
    return list(dict.fromkeys([settings.jobs_topic, settings.events_topic, settings.requests_topic]))


def job_names(settings: Settings) -> list[str]:
    """The jobs named in the settings."""
    return list(dict.fromkeys(name for name in (settings.cpu_job, settings.gpu_job) if name))


def function_names(settings: Settings) -> list[str]:
    """The names that the functions' services should have."""
    return [part_name(settings, part) for part in FUNCTIONS]


class _Look(Generic[T_co]):
    """A running query, in a daemon thread, so that the process can exit even if no answer comes."""

    def __init__(self, ask: Callable[[], T_co | Untold]) -> None:
        self._ask = ask
        self._answers: list[T_co | Untold] = []
        self._started = time.monotonic()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answers.append(self._ask())
        except Exception as fault:  # noqa: BLE001  # one failed query must not hide the others
            self._answers.append(Untold(Silence.REFUSED, f"{type(fault).__name__}: {fault}"))

    def answer(self, until: float) -> T_co | Untold:
        """The answer, if it comes before the deadline."""
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._answers:
            return self._answers[0]
        return Untold(Silence.UNREACHABLE, f"nothing within {time.monotonic() - self._started:.0f} s")


def _looks(ask: Callable[[str], T | Untold], names: Iterable[str]) -> dict[str, _Look[T]]:
    return {name: _Look(partial(ask, name)) for name in names}


def _answers(looks: Mapping[K, _Look[T]], until: float) -> dict[K, T | Untold]:
    return {key: look.answer(until) for key, look in looks.items()}


def _in(seconds: float) -> float:
    return time.monotonic() + seconds
