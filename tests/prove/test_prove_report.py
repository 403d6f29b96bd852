"""Reports have no secrets, bills add up, plans that do more than create are recognised."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.domain.prices import TIER_1, Shape
from tests.prove import bill
from tests.prove.markdown import page
from tests.prove.options import Options, options_of, saved_options
from tests.prove.redaction import REMOVED, Redactor
from tests.prove.terraform_commands import changes_of

SECRETS = {
    "access token": "ya29.a0AfB_byC-d3f",
    "identity token": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
    "refresh token": "1//0gLongEnough_to-be-one",
    "header": "Authorization: bearer abc.DEF-123456",
    "private key": "-----BEGIN PRIVATE KEY-----\nMIIE\nvQ==\n-----END PRIVATE KEY-----",
    "half a private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEvQ",
    "signed link": "https://host/x?X-Goog-Signature=0a1b2c3d",
    "key file": '"private_key": "abc", "refresh_token": "def-ghi"',
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_what_looks_like_a_secret_is_removed(secret: str) -> None:
    shown = Redactor()(f"before {secret} after")
    assert shown.startswith("before ")
    assert REMOVED in shown
    assert not any(part in shown for part in ("ya29", "eyJ", "1//0", "abc", "MIIE", "0a1b", "def-ghi"))


def test_what_is_known_to_be_secret_is_removed_and_a_few_letters_are_not() -> None:
    redact = Redactor()
    redact.learn("someone@example.org", "[account]")
    redact.learn("a")
    assert redact("someone@example.org has a cat") == "[account] has a cat"


@pytest.mark.parametrize(
    "words", ["sha256:0123abcd", "projects/lab-7/topics/x", "2026-11-29T01:30:00Z", "run.googleapis.com"]
)
def test_what_is_no_secret_stays(words: str) -> None:
    assert Redactor()(words) == words


def test_a_cell_of_the_page_breaks_no_table() -> None:
    step = {"name": "x", "result": "failed", "seconds": 1, "purpose": "p", "notes": [], "checks": [], "found": {}}
    step = {**step, "problems": ["a\nb"], "checks": [{"found": "a | b\nc"}]}
    shown = page({"proved": False, "where": "here", "steps": [step], "left_behind": [], "programs": []})
    assert "| a \\| b c |" in shown
    assert "- **a b**" in shown


def test_a_forecast_rises_with_time_and_stays_under_a_dollar() -> None:
    assert 0 < bill.forecast(10).usd < bill.forecast(60).usd < 1


def test_what_ran_is_counted_at_the_table_of_prices() -> None:
    times = {"startTime": "2026-11-29T01:00:00Z", "completionTime": "2026-11-29T01:02:00Z"}
    executions: list[dict[str, Any]] = [
        {"spec": {"taskCount": 3}, "status": times},
        {"spec": {"taskCount": 1}, "status": {}},
    ]
    requests = [{"resource": {"labels": {"service_name": "p-ingest"}}, "httpRequest": {"latency": "2.5s"}}]
    found = bill.counted(executions, requests)
    task = Shape(2, 4096).usd_per_s(TIER_1)
    assert found.jobs == pytest.approx(3 * 120 * task + TIER_1.least_s * task)
    assert found.functions == pytest.approx(2.5 * Shape(1, 2048).usd_per_s(TIER_1))


def test_a_plan_is_read_by_what_it_does() -> None:
    actions = {"a.x": ["create"], "a.y": ["create"], "b.x": ["no-op"], "c.x": ["read"], "d.x": ["delete", "create"]}
    changes = [{"address": at, "type": at[0], "change": {"actions": done}} for at, done in actions.items()]
    created, others = changes_of({"resource_changes": changes})
    assert (dict(created), others) == ({"a": 2}, ["d.x: delete, create"])


NOW = datetime(2026, 11, 29, 1, 30, tzinfo=UTC)


def options(folder: Path, *arguments: str) -> Options:
    return options_of([*arguments, "--out", str(folder)], NOW, "ab12")


def test_a_proof_is_named_by_its_minute_and_kept_in_a_folder_of_its_date(tmp_path: Path) -> None:
    found = options(tmp_path, "--project", "lab-7", "--region", "europe-west4")
    assert found.prefix == "prove-1129-0130-ab12"
    assert found.folder == tmp_path / "2026-11-29-prove-1129-0130-ab12"
    assert found.image_repository == "europe-west4-docker.pkg.dev/lab-7/celldrop"
    assert len(found.image_tag) == 7


def test_a_later_tear_down_knows_everything_and_keeps_nothing(tmp_path: Path) -> None:
    made = options(tmp_path, "--project", "lab-7", "--keep")
    made.folder.mkdir()
    made.save()
    assert saved_options(made.folder) == made
    assert options(tmp_path, "--tear-down", str(made.folder)) == replace(made, keep=False)


def test_a_report_is_json(tmp_path: Path) -> None:
    made = options(tmp_path, "--local")
    made.folder.mkdir()
    made.save()
    document: dict[str, Any] = json.loads((made.folder / "proof-settings.json").read_text())
    assert document["local"] is True
