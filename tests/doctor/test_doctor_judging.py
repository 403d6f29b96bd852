"""From facts to checks: of a deployment with one thing broken, exactly that is told, with what mends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cli.doctor.check import Health
from cli.doctor.cloud import judge
from shared.ports.survey import (
    AgeRule,
    BucketFacts,
    Caller,
    KeyFacts,
    Part,
    Silence,
    Untold,
)
from shared.settings import PushAuth, StatusAuth
from tests.doctor.breaking import INDEX, NO_CREDENTIALS, WARNING, WRONG, both, with_bucket, with_fact, with_push
from tests.doctor.broken import ALL_BROKEN, ALL_HARMLESS
from tests.doctor.deployed import (
    ACCOUNT,
    AUDIENCE,
    BUCKET,
    KEY,
    MISSING,
    MODEL,
    NOBODY,
    TOPICS,
    not_ok,
    push,
    settings,
    sound,
)


def test_of_a_deployment_in_which_all_is_well_nothing_is_wrong() -> None:
    assert not not_ok(sound())


@pytest.mark.parametrize("case", ALL_BROKEN)
def test_exactly_what_is_broken_is_told_with_what_mends_it(case: str) -> None:
    broken, name, health, command = ALL_BROKEN[case]
    told = not_ok(broken(sound()))
    assert list(told) == [name]
    assert told[name].health is health
    assert command in "\n".join(told[name].run)
    assert told[name].mend
    assert (not told[name].run) == (not command)


@pytest.mark.parametrize("case", ALL_HARMLESS)
def test_what_changes_nothing_is_no_fault(case: str) -> None:
    assert not not_ok(ALL_HARMLESS[case](sound()))


def test_a_key_is_told_once_with_its_buckets_and_those_that_the_pipeline_writes_to() -> None:
    buckets = ("lab-inbox", "lab-work", "lab-results")
    found = both(*(with_bucket(name, kms_key=KEY) for name in buckets))(sound())
    found = with_fact("keys", KEY, KeyFacts("1", "ENABLED"))(found)
    checks = {check.name: check for check in judge(settings(), found, ())}
    assert checks[f"key {KEY}"].found == (
        "of lab-inbox, lab-work, lab-results (the pipeline writes to lab-work, lab-results)"
    )
    assert KEY in checks["bucket lab-inbox"].found


def test_a_bucket_that_requests_may_name_is_read_as_the_inbox_is() -> None:
    given = settings(allowed_buckets="partner-files")
    buckets = {**sound(given).buckets, "partner-files": replace(BUCKET, rules=(AgeRule(0),), requester_pays=True)}
    found = replace(sound(given), buckets=buckets, holdings={**sound(given).holdings, "partner-files": True})
    check = not_ok(found, given)["bucket partner-files"]
    assert check.health is WRONG
    assert "a file may be deleted before it is annotated" in check.found
    assert "requester pays is on" in check.found


SETTINGS: dict[str, tuple[dict[str, Any], str, Health, str]] = {
    "results are the inbox": ({"results_bucket": "lab-inbox"}, "apart buckets", WRONG, ""),
    "requests may name results": ({"allowed_buckets": "lab-results"}, "apart buckets", WRONG, ""),
    "events are requests": ({"events_topic": "celldrop-requests"}, "apart topics", WRONG, ""),
    "no audience": ({"push_audience": ""}, "push-auth", WRONG, f"export CELLDROP_PUSH_AUDIENCE={AUDIENCE}"),
    "no accounts": ({"push_accounts": " , "}, "push-auth", WRONG, f"export CELLDROP_PUSH_ACCOUNTS={ACCOUNT}"),
    "status without audience": (
        {"status_auth": StatusAuth.OIDC, "status_accounts": "@example.org"},
        "status-auth",
        WRONG,
        "",
    ),
    "a stand-in": ({"run_endpoint": "http://127.0.0.1:1"}, "run-endpoint", WARNING, ""),
    "a GPU for too long": ({"task_timeout_s": 7200}, "job celldrop-gpu", WRONG, ""),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_that_cannot_be_right_is_told(case: str) -> None:
    changes, name, health, command = SETTINGS[case]
    told = not_ok(sound(), settings(**changes))
    assert told[name].health is health
    assert told[name].run == ((command,) if command else ())
    assert told[name].mend


def test_where_the_platform_checks_pushes_a_missing_token_is_no_more_than_a_warning() -> None:
    found = with_push("celldrop-jobs", token_account="", token_audience="")(sound())
    told = not_ok(found, settings(push_auth=PushAuth.PLATFORM, push_audience="", push_accounts=""))
    assert {name: check.health for name, check in told.items()} == {"push celldrop-jobs-push": WARNING}


def test_accounts_of_an_allowed_domain_may_push() -> None:
    assert not not_ok(sound(), settings(push_accounts="@lab-7.iam.gserviceaccount.com"))


def test_a_variable_that_is_nearly_a_setting_is_told_and_its_value_is_not_looked_at() -> None:
    told = not_ok(sound(), environment=["CELLDROP_INBOX_BUKET", "CELLDROP_SUBMISSION_ID", "PATH"])
    assert list(told) == ["settings"]
    assert "did you mean CELLDROP_INBOX_BUCKET" in told["settings"].mend


def test_without_a_project_nothing_of_it_is_told() -> None:
    found = replace(sound(), project="", caller=NO_CREDENTIALS, topics=dict.fromkeys(TOPICS, NO_CREDENTIALS))
    names = [check.name for check in judge(settings(project=""), found, ())]
    assert "project" in names
    assert not [name for name in names if name.startswith(("bucket", "topic", "job"))]


def test_credentials_are_not_missed_where_the_services_answer_without() -> None:
    assert not_ok(replace(sound(), caller=NO_CREDENTIALS))["credentials"].health is WARNING


def test_credentials_are_missed_where_nobody_answers() -> None:
    nothing = {key: {"x": NO_CREDENTIALS} for key in ("buckets", "holdings", "topics")}
    found = replace(sound(), caller=NO_CREDENTIALS, lacking=NO_CREDENTIALS, **nothing)  # type: ignore[arg-type]
    check = next(check for check in judge(settings(project=""), replace(found, project=""), ()) if "cred" in check.name)
    assert (check.health, check.run) == (WRONG, ("gcloud auth application-default login",))


@pytest.mark.parametrize("job", ["celldrop-gpu", "celldrop-cpu"])
def test_a_missing_job_is_wrong_where_the_default_model_needs_it(job: str) -> None:
    found = replace(sound(), model=replace(MODEL, needs_gpu=True))
    found = with_fact("jobs", job, MISSING)(found)
    assert [check.health for check in not_ok(found).values()] == [WRONG]


def test_an_empty_job_is_told_only_where_it_is_the_one_on_cpus() -> None:
    for given in (settings(gpu_job=""), settings(cpu_job="")):
        names = list(not_ok(sound(given), given))
        assert names == ([] if given.cpu_job else ["job cpu"])


def test_a_service_that_is_switched_off_is_told_with_the_command_that_switches_it_on() -> None:
    off = Untold(Silence.DISABLED, "it has not been used in project 7 before")
    told = not_ok(replace(sound(), jobs=dict.fromkeys(sound().jobs, off)))
    assert {check.run for check in told.values()} == {("gcloud services enable run.googleapis.com --project=lab-7",)}


def test_one_that_does_not_answer_hides_no_other() -> None:
    found = replace(
        sound(),
        topics={**sound().topics, "celldrop-jobs": NOBODY},
        subscriptions={**sound().subscriptions, "celldrop-jobs": NOBODY},
        lacking=(INDEX,),
    )
    assert {name.split()[0] for name in not_ok(found)} == {"topic", "index"}


def test_several_faults_of_one_thing_are_told_together_the_worst_first_in_rank() -> None:
    found = with_push("celldrop-jobs", has_retry_policy=False, token_account="", token_audience="")(sound())
    check = not_ok(found)["push celldrop-jobs-push"]
    assert check.health is WRONG
    assert "no pause between retries" in check.found
    assert "no identity token" in check.found
    assert len(check.run) == 2


def test_a_topic_named_in_full_is_created_where_it_belongs() -> None:
    name = "projects/hospital/topics/asked"
    given = settings(requests_topic=name)
    found = replace(
        sound(), topics={**sound().topics, name: MISSING}, subscriptions={**sound().subscriptions, name: ()}
    )
    assert not_ok(found, given)[f"topic {name}"].run == (f"gcloud pubsub topics create {name}",)


@pytest.mark.parametrize(
    ("location", "region", "is_near"),
    [
        ("EU", "europe-west4", True),
        ("EU", "us-east1", False),
        ("US", "us-east1", True),
        ("NAM4", "europe-west4", True),
        ("EUROPE-WEST4", "europe-west4", True),
        ("EUROPE-WEST1", "europe-west4", False),
    ],
)
def test_a_bucket_is_near_where_its_region_is_the_jobs_own(location: str, region: str, is_near: bool) -> None:
    places: dict[str, BucketFacts | Untold] = {
        name: replace(facts, location=location)
        for name, facts in sound().buckets.items()
        if not isinstance(facts, Untold)
    }
    told = not_ok(replace(sound(), buckets=places), settings(region=region))
    assert (f"region {region}" not in told) == is_near


def test_whoever_has_no_address_is_the_one_that_gcloud_knows() -> None:
    found = with_fact("rights", (Part.JOB, "celldrop-cpu"), frozenset())(replace(sound(), caller=Caller("x")))
    assert '"--member=user:$(gcloud config get account)"' in not_ok(found)["rights job celldrop-cpu"].run[0]


def test_a_push_subscription_of_a_service_account_keeps_what_was_right_of_it() -> None:
    found = with_push("celldrop-jobs", token_audience="https://else")(sound())
    assert f"--push-endpoint={push('celldrop-jobs').endpoint}" in not_ok(found)["push celldrop-jobs-push"].run[0]
