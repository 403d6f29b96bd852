"""Whatever the facts: every check is made, has a name that is documented, and says what to do about what is wrong."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cli.doctor.check import CloudCheck, Health
from cli.doctor.cloud import judge
from cli.doctor.gathering import Deployed
from cli.doctor.model import ModelFacts
from shared.ports.survey import (
    BucketFacts,
    Caller,
    DatabaseFacts,
    JobFacts,
    LackingIndex,
    NotificationFacts,
    SubscriptionFacts,
    Untold,
)
from shared.settings import PushAuth, Settings, StatusAuth
from tests.doctor.deployed import BUCKETS, TOPICS, dead, settings, sound

UNTOLD = st.from_type(Untold)
SECRET = "hunter2"
DEAD = [dead(topic) for topic in TOPICS]


def _each(names: Any, facts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(dict.fromkeys(names, facts | UNTOLD))


def _few(kind: type[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.from_type(kind), max_size=2).map(tuple)


SUBSCRIPTIONS = st.lists(
    st.builds(SubscriptionFacts, st.text(), dead_letter_topic=st.sampled_from(["", *DEAD])), max_size=2
).map(tuple)
JOB = st.builds(
    JobFacts,
    st.text(),
    st.integers(0, 10_000),
    st.integers(0, 3),
    variables=st.just({"CELLDROP_API_KEY": SECRET, "CELLDROP_MODELS_BUCKET": SECRET}),
)
FACTS = st.builds(
    replace,
    st.just(sound()),
    caller=st.from_type(Caller) | UNTOLD,
    project=st.sampled_from(["", "lab-7"]),
    buckets=_each(BUCKETS, st.from_type(BucketFacts)),
    holdings=_each(BUCKETS, st.booleans()),
    notifications=_few(NotificationFacts) | UNTOLD,
    model=st.from_type(ModelFacts) | UNTOLD,
    topics=_each([*TOPICS, *DEAD], st.text()),
    subscriptions=_each([*TOPICS, *DEAD], SUBSCRIPTIONS),
    database=st.from_type(DatabaseFacts) | UNTOLD,
    lacking=_few(LackingIndex) | UNTOLD,
    jobs=_each(["celldrop-cpu", "celldrop-gpu"], JOB),
    rights=_each(sound().rights, st.frozensets(st.sampled_from(["run.jobs.run", "storage.objects.get"]))),
)
GIVEN = st.builds(
    settings,
    push_auth=st.sampled_from(PushAuth),
    status_auth=st.sampled_from(StatusAuth),
    push_audience=st.sampled_from(["", "https://a"]),
    push_accounts=st.sampled_from(["", "@example.org", "a@b"]),
)


@given(GIVEN, FACTS)
def test_every_check_has_a_known_name_and_what_is_wrong_a_remedy(given_settings: Settings, found: Deployed) -> None:
    for check in judge(given_settings, found, ()):
        assert check.name.split()[0] in set(CloudCheck)
        assert check.health is not Health.WRONG or check.mend or check.run
        assert check.health is not Health.OK or not check.run
        assert all(shlex.split(line) for line in check.run)


@given(GIVEN, FACTS)
def test_no_value_of_a_jobs_variable_is_told(given_settings: Settings, found: Deployed) -> None:
    assert SECRET not in "".join(str(check) for check in judge(given_settings, found, ()))
