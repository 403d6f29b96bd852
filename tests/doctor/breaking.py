"""One thing broken in a sound deployment, what is to be told of it, and what is to mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cli.doctor.check import Health
from cli.doctor.gathering import Deployed
from shared.ports.survey import (
    BucketFacts,
    DatabaseFacts,
    JobFacts,
    LackingIndex,
    NotificationFacts,
    Part,
    Silence,
    Untold,
)
from tests.doctor.deployed import ACCOUNT, AUDIENCE, CALLER, DENIED, MISSING, MODEL, TOPICS, dead, push

Break = Callable[[Deployed], Deployed]


def with_bucket(name: str, **changes: Any) -> Break:
    def broken(found: Deployed) -> Deployed:
        told = found.buckets[name]
        assert isinstance(told, BucketFacts)
        return replace(found, buckets={**found.buckets, name: replace(told, **changes)})

    return broken


def with_push(topic: str, **changes: Any) -> Break:
    def broken(found: Deployed) -> Deployed:
        one = replace(push(topic), **changes)
        return replace(found, subscriptions={**found.subscriptions, topic: (one,)})

    return broken


def with_job(name: str, **changes: Any) -> Break:
    def broken(found: Deployed) -> Deployed:
        told = found.jobs[name]
        assert isinstance(told, JobFacts)
        return replace(found, jobs={**found.jobs, name: replace(told, **changes)})

    return broken


def with_fact(kind: str, key: object, value: object) -> Break:
    """One answer among those of a kind, as ``topics``."""

    def broken(found: Deployed) -> Deployed:
        changes: dict[str, Any] = {kind: {**getattr(found, kind), key: value}}
        return replace(found, **changes)

    return broken


def with_answer(**changes: Any) -> Break:
    return lambda found: replace(found, **changes)


def both(*breaks: Break) -> Break:
    def broken(found: Deployed) -> Deployed:
        for one in breaks:
            found = one(found)
        return found

    return broken


WARNING, WRONG = Health.WARNING, Health.WRONG
INDEX = LackingIndex((("owes", "ASCENDING"), ("created_at", "DESCENDING")), "The query requires an index")
NOT_OFFERED = Untold(Silence.NOT_OFFERED)
NO_CREDENTIALS = Untold(Silence.NOT_SET, "there are no Google credentials in this environment.")


def gone(bucket: str) -> Break:
    return both(with_fact("buckets", bucket, MISSING), with_fact("holdings", bucket, MISSING))


BROKEN: dict[str, tuple[Break, str, Health, str]] = {
    "no token": (with_answer(caller=replace(CALLER, trouble=Silence.DENIED)), "credentials", WRONG, "gcloud auth "),
    "no quota project": (
        with_answer(caller=replace(CALLER, quota_project="")),
        "credentials",
        WARNING,
        "gcloud auth application-default set-quota-project lab-7",
    ),
    "no inbox": (
        gone("lab-inbox"),
        "bucket lab-inbox",
        WRONG,
        "gcloud storage buckets create gs://lab-inbox --location=europe-west4 --uniform-bucket-level-access",
    ),
    "no models bucket": (
        gone("lab-models"),
        "bucket lab-models",
        WRONG,
        "gcloud storage buckets create gs://lab-models",
    ),
    "a bucket that may not be seen": (
        with_fact("buckets", "lab-results", DENIED),
        "bucket lab-results",
        WARNING,
        "gs://lab-results --member=user:ada@example.org --role=roles/storage.legacyBucketReader",
    ),
    "objects opened one by one": (
        with_bucket("lab-results", uniform_access=False),
        "bucket lab-results",
        WARNING,
        "gcloud storage buckets update gs://lab-results --uniform-bucket-level-access",
    ),
    "requester pays": (
        with_bucket("lab-inbox", requester_pays=True),
        "bucket lab-inbox",
        WRONG,
        "gcloud storage buckets update gs://lab-inbox --no-requester-pays",
    ),
    "work kept for ever": (
        with_bucket("lab-work", rules=()),
        "leftovers lab-work",
        WARNING,
        "gcloud storage buckets update gs://lab-work --lifecycle-file=leftovers.json",
    ),
    "old versions of work": (
        with_bucket("lab-work", versioned=True),
        "leftovers lab-work",
        WARNING,
        "gcloud storage buckets update gs://lab-work --no-versioning",
    ),
    "deleted work kept": (
        with_bucket("lab-work", soft_delete_s=604_800),
        "leftovers lab-work",
        WARNING,
        "gcloud storage buckets update gs://lab-work --clear-soft-delete",
    ),
    "nobody told of drops": (
        with_answer(notifications=()),
        "drops lab-inbox",
        WRONG,
        "gcloud eventarc triggers create celldrop-inbox --location=europe-west4",
    ),
    "told only of deletions": (
        with_answer(notifications=(NotificationFacts("t", ("OBJECT_DELETE",)),)),
        "drops lab-inbox",
        WRONG,
        "--event-filters=bucket=lab-inbox",
    ),
    "a bucket far away": (with_bucket("lab-models", location="US-EAST1"), "region europe-west4", WARNING, ""),
    "no model": (
        with_answer(model=Untold(Silence.MISSING, "no model 'pbmc'")),
        "model pbmc",
        WRONG,
        "models/pbmc gs://lab-models/",
    ),
    "a model that is not whole": (
        with_answer(model=replace(MODEL, is_whole=False)),
        "model pbmc",
        WRONG,
        "gcloud storage cp --recursive",
    ),
    "a broken card": (
        with_answer(model=Untold(Silence.REFUSED, "model.json breaks the format")),
        "model pbmc",
        WRONG,
        "gcloud storage cp --recursive",
    ),
    **{
        f"no topic {topic}": (
            with_fact("topics", topic, MISSING),
            f"topic {topic}",
            WRONG,
            f"gcloud pubsub topics create {topic} --project=lab-7",
        )
        for topic in TOPICS
    },
    "nobody pushes jobs": (
        with_fact("subscriptions", "celldrop-jobs", ()),
        "push celldrop-jobs",
        WRONG,
        "gcloud pubsub subscriptions create celldrop-jobs-push --topic=celldrop-jobs",
    ),
    "no token is pushed": (
        with_push("celldrop-jobs", token_account="", token_audience=""),
        "push celldrop-jobs-push",
        WRONG,
        f"--push-auth-service-account={ACCOUNT} --push-auth-token-audience={AUDIENCE}",
    ),
    "another audience": (
        with_push("celldrop-requests", token_audience="https://else"),
        "push celldrop-requests-push",
        WRONG,
        f"--push-endpoint=https://celldrop-requests.run.app/ --push-auth-service-account={ACCOUNT}",
    ),
    "another account": (
        with_push("celldrop-jobs", token_account="eve@example.org"),
        "push celldrop-jobs-push",
        WRONG,
        f"--push-auth-service-account={ACCOUNT}",
    ),
    "no TLS": (
        with_push("celldrop-jobs", endpoint="http://10.0.0.1/"),
        "push celldrop-jobs-push",
        WARNING,
        "$(gcloud run services describe celldrop-dispatch --region=europe-west4 --project=lab-7 ",
    ),
    "no pause": (
        with_push("celldrop-jobs", has_retry_policy=False),
        "push celldrop-jobs-push",
        WARNING,
        "--min-retry-delay=10s --max-retry-delay=600s",
    ),
    "no dead letters": (
        with_push("celldrop-jobs", dead_letter_topic=""),
        "push celldrop-jobs-push",
        WARNING,
        "--dead-letter-topic=projects/lab-7/topics/celldrop-jobs-dead --max-delivery-attempts=20",
    ),
    "little time": (
        with_push("celldrop-jobs", ack_deadline_s=10),
        "push celldrop-jobs-push",
        WARNING,
        "--ack-deadline=60",
    ),
    "expires": (
        with_push("celldrop-jobs", expires_after_s=2_678_400),
        "push celldrop-jobs-push",
        WARNING,
        "--expiration-period=never",
    ),
    "cannot push": (with_push("celldrop-jobs", is_healthy=False), "push celldrop-jobs-push", WRONG, "--push-endpoint="),
    "dead letters lost": (
        with_fact("subscriptions", dead("celldrop-jobs"), ()),
        "dead-letter celldrop-jobs-dead",
        WRONG,
        f"--topic={dead('celldrop-jobs')}",
    ),
    "no dead-letter topic": (
        with_fact("topics", dead("celldrop-jobs"), MISSING),
        "dead-letter celldrop-jobs-dead",
        WRONG,
        f"gcloud pubsub topics create {dead('celldrop-jobs')}",
    ),
    "no reader": (
        with_fact("subscriptions", "celldrop-events", ()),
        "readers celldrop-events",
        WARNING,
        "gcloud pubsub subscriptions create celldrop-events-reader --topic=celldrop-events --expiration-period=never",
    ),
    "no database": (
        with_answer(database=MISSING, lacking=MISSING),
        "database (default)",
        WRONG,
        "gcloud firestore databases create '--database=(default)' --location=europe-west4 --type=firestore-native",
    ),
    "Datastore mode": (
        with_answer(database=DatabaseFacts(is_native=False, location="eur3"), lacking=(INDEX,)),
        "database (default)",
        WRONG,
        "gcloud firestore databases create --database=celldrop --location=europe-west4 --type=firestore-native",
    ),
    "no index": (
        with_answer(lacking=(INDEX,)),
        "index owes ascending, created_at descending",
        WRONG,
        "--field-config=field-path=owes,order=ascending --field-config=field-path=created_at,order=descending",
    ),
    "no job": (
        with_fact("jobs", "celldrop-cpu", MISSING),
        "job celldrop-cpu",
        WRONG,
        "gcloud run jobs create celldrop-cpu",
    ),
    "no gpu job": (with_fact("jobs", "celldrop-gpu", MISSING), "job celldrop-gpu", WARNING, "export CELLDROP_GPU_JOB="),
    "no gpu": (
        with_job("celldrop-gpu", accelerator=""),
        "job celldrop-gpu",
        WRONG,
        "gcloud beta run jobs update celldrop-gpu --gpu=1 --gpu-type=nvidia-l4",
    ),
    "little time for a task": (
        with_job("celldrop-cpu", timeout_s=600),
        "job celldrop-cpu",
        WARNING,
        "gcloud run jobs update celldrop-cpu --task-timeout=3600s --region=europe-west4 --project=lab-7",
    ),
    "no retries": (with_job("celldrop-cpu", max_retries=0), "job celldrop-cpu", WARNING, "--max-retries=3"),
    "a job that is not ready": (
        with_job("celldrop-cpu", trouble="Image not found"),
        "job celldrop-cpu",
        WRONG,
        "gcloud run jobs describe celldrop-cpu",
    ),
    "Google's sample": (
        with_job("celldrop-cpu", image="us-docker.pkg.dev/cloudrun/container/job:latest"),
        "job celldrop-cpu",
        WRONG,
        "gcloud run jobs describe celldrop-cpu",
    ),
    "a job with other names": (
        with_job("celldrop-cpu", variables={"CELLDROP_RESULTS_BUCKET": "other", "CELLDROP_WORK_BUCKET": "lab-work"}),
        "job celldrop-cpu",
        WRONG,
        "'--update-env-vars=^|^CELLDROP_RESULTS_BUCKET=lab-results'",
    ),
    "may not start jobs": (
        with_fact("rights", (Part.JOB, "celldrop-cpu"), frozenset()),
        "rights job celldrop-cpu",
        WARNING,
        "--member=user:ada@example.org --role=roles/run.jobsExecutorWithOverrides",
    ),
    "may not drop": (
        with_fact("rights", (Part.BUCKET, "lab-inbox"), frozenset({"storage.objects.get"})),
        "rights bucket lab-inbox",
        WARNING,
        "--role=roles/storage.objectUser",
    ),
    "rights not told": (
        with_fact("rights", (Part.TOPIC, "celldrop-jobs"), NOT_OFFERED),
        "rights",
        WARNING,
        "",
    ),
}
