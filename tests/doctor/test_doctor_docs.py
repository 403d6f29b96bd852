"""The page about doctor tells of every check, every role and no command that gcloud does not take."""

from __future__ import annotations

import re
from pathlib import Path

from cli.doctor import accounts, buckets, database, jobs, keys, topics
from cli.doctor.check import CloudCheck
from shared.settings import REPOSITORY
from tests.gcloud.gcloud import refusals

PAGE = (REPOSITORY / "docs" / "how-to" / "check-a-deployment.md").read_text()


def test_every_check_is_documented_and_nothing_else() -> None:
    table = PAGE.partition("## What is looked at")[2].partition("##")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(CloudCheck)


def test_every_role_that_looking_takes_is_documented() -> None:
    roles = {buckets.SEE, keys.SEE, topics.SEE, database.SEE, jobs.SEE, accounts.SEE}
    assert roles <= set(re.findall(r"^\| `(roles/[\w.]+)` \|", PAGE, re.MULTILINE))


def test_every_command_of_the_page_is_one_that_gcloud_takes(tmp_path: Path) -> None:
    lines = re.findall(r"^gcloud .*$", PAGE, re.MULTILINE)
    assert lines
    assert not refusals(lines, tmp_path)
