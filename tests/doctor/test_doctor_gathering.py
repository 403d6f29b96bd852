"""Facts are gathered side by side: what hangs or breaks is told as such, keeps nobody waiting and hides nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from typing_extensions import override

from cli.doctor.gathering import FIRST_TIMEOUT_S, MORE_TIMEOUT_S, TO_ACT_AS, Deployed, Timeouts, gather
from cli.doctor.rights import wanted_rights
from shared.adapters.local.blobs import DirectoryBlobStore
from shared.ports.blobs import BlobStore
from shared.ports.survey import BucketFacts, DatabaseFacts, JobFacts, KeyFacts, Part, Silence, Untold
from tests.doctor.breaking import both, with_bucket, with_fact
from tests.doctor.deployed import ACCOUNT, KEY, PUSHED, TASK_ACCOUNT, ToldSurvey, dead, settings, sound

SOON = Timeouts(first_s=0.5, more_s=0.5)
LONG = Timeouts(first_s=60, more_s=60)


def no_blobs() -> BlobStore:
    return DirectoryBlobStore({})


def gathered(survey: ToldSurvey, timeouts: Timeouts = LONG) -> Deployed:
    return gather(settings(), survey, no_blobs, wanted_rights(settings()), timeouts)


class BrokenSurvey(ToldSurvey):
    """One whose adapter has a fault of its own."""

    @override
    def database(self) -> DatabaseFacts | Untold:
        raise ValueError("what is this")


class HangingSurvey(ToldSurvey):
    """One whose jobs never answer, and whose buckets do."""

    released = threading.Event()

    @override
    def job(self, name: str) -> JobFacts | Untold:
        self.released.wait()
        return super().job(name)


class SilentSurvey(HangingSurvey):
    """One that tells of no bucket either."""

    @override
    def bucket(self, name: str) -> BucketFacts | Untold:
        self.released.wait()
        return super().bucket(name)


@pytest.fixture(autouse=True)
def _released() -> Iterator[None]:
    HangingSurvey.released.clear()
    yield
    HangingSurvey.released.set()


def test_everything_is_asked_and_told() -> None:
    found = gathered(ToldSurvey(sound()))
    expected = replace(sound(), model=found.model)
    assert found == expected


def test_what_hangs_is_told_as_unreachable_and_all_else_as_it_is() -> None:
    found = gathered(HangingSurvey(sound()), SOON)
    assert [one.why for one in found.jobs.values() if isinstance(one, Untold)] == [Silence.UNREACHABLE] * 2
    assert found.buckets == sound().buckets


def test_however_much_hangs_it_takes_no_longer() -> None:
    found = gathered(SilentSurvey(sound()), SOON)
    assert all(isinstance(one, Untold) for one in (*found.jobs.values(), *found.buckets.values()))
    assert FIRST_TIMEOUT_S + MORE_TIMEOUT_S < 20


def test_a_fault_of_our_own_in_one_look_hides_no_other() -> None:
    found = gathered(BrokenSurvey(sound()))
    assert found.database == Untold(Silence.REFUSED, "ValueError: what is this")
    assert found.topics == sound().topics


def test_dead_letter_topics_are_looked_at_as_subscriptions_name_them() -> None:
    survey = ToldSurvey(sound())
    gathered(survey)
    assert {dead(topic) for topic in PUSHED} <= set(survey.asked)


def test_keys_and_accounts_are_looked_at_once_as_buckets_and_jobs_name_them() -> None:
    told = KeyFacts("1", "ENABLED")
    encrypted = both(with_bucket("lab-inbox", kms_key=KEY), with_bucket("lab-work", kms_key=KEY))(sound())
    survey = ToldSurvey(with_fact("keys", KEY, told)(encrypted))
    found = gathered(survey)
    assert found.keys == {KEY: told}
    assert [survey.asked.count(name) for name in (KEY, TASK_ACCOUNT, ACCOUNT)] == [1, 1, 1]
    assert found.rights[Part.ACCOUNT, TASK_ACCOUNT] == frozenset(TO_ACT_AS)


def test_the_project_is_the_callers_own_where_none_is_set() -> None:
    found = gather(settings(project=""), ToldSurvey(sound()), no_blobs, {}, LONG)
    assert found.project == sound().project


def test_a_store_that_cannot_be_opened_is_told_of_the_model_alone() -> None:
    def fail() -> BlobStore:
        raise OSError("no such thing")

    found = gather(settings(), ToldSurvey(sound()), fail, {}, LONG)
    assert found.model == Untold(Silence.REFUSED, "OSError: no such thing")
    assert found.buckets == sound().buckets
