"""A deployment in which all is well, to be broken one thing at a time; and a survey that tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from typing_extensions import override

from cli.doctor.check import Check, Health
from cli.doctor.cloud import judge
from cli.doctor.gathering import TO_ACT_AS, TO_READ_FROM, Deployed
from cli.doctor.model import ModelFacts
from cli.doctor.rights import wanted_rights
from shared.ports.survey import (
    AgeRule,
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
from shared.settings import Backend, Settings

T = TypeVar("T")

PROJECT = "lab-7"
REGION = "europe-west4"
AUDIENCE = "https://push.example.org"
ACCOUNT = "push@lab-7.iam.gserviceaccount.com"
TASK_ACCOUNT = "celldrop-task@lab-7.iam.gserviceaccount.com"
KEY = "projects/lab-7/locations/europe-west4/keyRings/lab/cryptoKeys/cells"
MISSING = Untold(Silence.MISSING)
DENIED = Untold(Silence.DENIED, "permission denied")
NOBODY = Untold(Silence.UNREACHABLE, "nothing within 12 s")


def settings(**changes: Any) -> Settings:
    given = {
        "backend": Backend.GCP,
        "project": PROJECT,
        "region": REGION,
        "inbox_bucket": "lab-inbox",
        "models_bucket": "lab-models",
        "work_bucket": "lab-work",
        "results_bucket": "lab-results",
        "push_audience": AUDIENCE,
        "push_accounts": ACCOUNT,
        **changes,
    }
    return Settings(_env_file=None, **given)  # type: ignore[call-arg]  # pydantic-settings' own argument


def push(topic: str) -> SubscriptionFacts:
    return SubscriptionFacts(
        name=f"projects/{PROJECT}/subscriptions/{topic}-push",
        endpoint=f"https://{topic}.run.app/",
        token_account=ACCOUNT,
        token_audience=AUDIENCE,
        has_retry_policy=True,
        dead_letter_topic=dead(topic),
        ack_deadline_s=60,
    )


def dead(topic: str) -> str:
    return f"projects/{PROJECT}/topics/{topic}-dead"


def reader(topic: str) -> SubscriptionFacts:
    return SubscriptionFacts(name=f"projects/{PROJECT}/subscriptions/{topic}-reader")


CALLER = Caller("a person's, by gcloud", "ada@example.org", is_user=True, project=PROJECT, quota_project=PROJECT)
BUCKET = BucketFacts("EUROPE-WEST4", uniform_access=True)
WORK = replace(BUCKET, rules=(AgeRule(7),))
NOTIFIED = (NotificationFacts("//pubsub.googleapis.com/projects/lab-7/topics/eventarc-1", ("OBJECT_FINALIZE",)),)
LIMITS = {"cpu": "4", "memory": "16Gi"}
JOB = JobFacts("europe-docker.pkg.dev/lab-7/celldrop/task:1", 3600, 3, limits=LIMITS, account=TASK_ACCOUNT)
GPU_JOB = replace(JOB, accelerator="nvidia-l4", limits={**LIMITS, "nvidia.com/gpu": "1"})
FUNCTIONS = {
    f"celldrop-{part}": FunctionFacts(
        "europe-docker.pkg.dev/lab-7/celldrop/functions:1",
        120,
        {"cpu": "1", "memory": "2048Mi"},
        f"celldrop-{part}@lab-7.iam.gserviceaccount.com",
    )
    for part in ("ingest", "dispatch", "reconcile", "status")
}
MODEL = ModelFacts("pbmc@1", needs_gpu=False, is_whole=True)
BUCKETS = ("lab-inbox", "lab-models", "lab-work", "lab-results")
TOPICS = ("celldrop-jobs", "celldrop-events", "celldrop-requests")
PUSHED = ("celldrop-jobs", "celldrop-requests")


def sound(given: Settings | None = None) -> Deployed:
    given = given or settings()
    jobs = {given.cpu_job: JOB, given.gpu_job: GPU_JOB}
    return Deployed(
        caller=CALLER,
        project=PROJECT,
        buckets={name: WORK if name == "lab-work" else BUCKET for name in BUCKETS},
        holdings=dict.fromkeys(BUCKETS, False),
        notifications=NOTIFIED,
        model=MODEL,
        topics={**{topic: topic for topic in TOPICS}, **{dead(topic): dead(topic) for topic in PUSHED}},
        subscriptions={
            **{topic: (push(topic),) for topic in PUSHED},
            **{dead(topic): (reader(dead(topic)),) for topic in PUSHED},
            "celldrop-events": (reader("celldrop-events"),),
        },
        database=DatabaseFacts(is_native=True, location=REGION),
        lacking=(),
        jobs={name: facts for name, facts in jobs.items() if name},
        rights={
            **{key: frozenset(permissions) for key, permissions in wanted_rights(given).items()},
            (Part.SUBSCRIPTION, reader("celldrop-events").name): frozenset(TO_READ_FROM),
            (Part.ACCOUNT, TASK_ACCOUNT): frozenset(TO_ACT_AS),
        },
        accounts=dict.fromkeys([TASK_ACCOUNT, ACCOUNT, *(facts.account for facts in FUNCTIONS.values())], True),
        functions=FUNCTIONS,
    )


def not_ok(found: Deployed, given: Settings | None = None, environment: Sequence[str] = ()) -> dict[str, Check]:
    checks = judge(given or settings(), found, environment)
    return {check.name: check for check in checks if check.health is not Health.OK}


@dataclass(slots=True)
class ToldSurvey(Survey):
    """Tells what it was given, and writes down what it was asked."""

    found: Deployed
    asked: list[str] = field(default_factory=list)

    @override
    def caller(self) -> Caller | Untold:
        return self.found.caller

    @override
    def bucket(self, name: str) -> BucketFacts | Untold:
        return self._of(self.found.buckets, name)

    @override
    def has_objects(self, bucket: str) -> bool | Untold:
        return self._of(self.found.holdings, bucket)

    @override
    def notifications(self, bucket: str) -> tuple[NotificationFacts, ...] | Untold:
        return self.found.notifications

    @override
    def key(self, name: str) -> KeyFacts | Untold:
        return self._of(self.found.keys, name)

    @override
    def function(self, name: str) -> FunctionFacts | Untold:
        return self._of(self.found.functions, name)

    @override
    def account(self, email: str) -> bool | Untold:
        return self._of(self.found.accounts, email)

    @override
    def topic(self, name: str) -> str | Untold:
        return self._of(self.found.topics, name)

    @override
    def subscriptions(self, topic: str) -> tuple[SubscriptionFacts, ...] | Untold:
        return self._of(self.found.subscriptions, topic)

    @override
    def database(self) -> DatabaseFacts | Untold:
        return self.found.database

    @override
    def lacking_indexes(self) -> tuple[LackingIndex, ...] | Untold:
        return self.found.lacking

    @override
    def job(self, name: str) -> JobFacts | Untold:
        return self._of(self.found.jobs, name)

    @override
    def rights(self, part: Part, name: str, wanted: Sequence[str]) -> frozenset[str] | Untold:
        held = self.found.rights.get((part, name), MISSING)
        return held if isinstance(held, Untold) else held & frozenset(wanted)

    def _of(self, told: Mapping[str, T | Untold], name: str) -> T | Untold:
        self.asked.append(name)
        return told.get(name, MISSING)
