"""Records and manifests of a version without forecasts are read as they are."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from shared.domain.plan import CostHints, Fleet
from shared.domain.planning import with_forecast
from shared.domain.prices import TIER_1
from shared.records.documents import submission_document, submission_from
from tests.contracts.records_made import full
from tests.services.house import good_verdict

NEW = {
    "": ("pages", "dispatched_at", "refused_at", "waited_s", "waited_otherwise_s", "not_started", "given_up"),
    "plan": ("estimated_usd", "usd_per_task_s"),
    "verdict": ("forecast",),
}


def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    """A record of today, and the same as it was written before."""
    verdict = with_forecast(good_verdict(), CostHints(1.0, 1), Fleet(prices=TIER_1), {})
    today = submission_document(replace(full(), verdict=verdict))
    before = json.loads(json.dumps(today))
    for part, names in NEW.items():
        for name in names:
            del (before[part] if part else before)[name]
    return today, before


def test_a_record_of_today_comes_back_whole() -> None:
    today, _ = documents()
    record = submission_from(today)
    assert submission_document(record) == today
    assert record.verdict is not None
    assert record.verdict.forecast is not None


def test_a_record_without_the_new_fields_is_read_with_nothing_in_their_place() -> None:
    today, before = documents()
    old, new = submission_from(before), submission_from(today)
    assert old.plan is not None
    assert old.verdict is not None
    assert new.plan is not None
    assert new.verdict is not None
    assert old == replace(
        new,
        dispatched_at=None,
        not_started=None,
        plan=replace(new.plan, estimated_usd=None, usd_per_task_s=None),
        verdict=replace(new.verdict, forecast=None),
    )
