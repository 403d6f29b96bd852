"""`celldrop doctor` for a deployed pipeline: runs all queries at once, then judges the answers."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from importlib.util import find_spec

from cli.doctor.accounts import check_accounts
from cli.doctor.buckets import check_buckets, check_drops, check_model, check_region
from cli.doctor.check import Check, CloudCheck, Health
from cli.doctor.commands import Commands
from cli.doctor.database import check_database
from cli.doctor.functions import check_functions
from cli.doctor.gathering import Deployed, Timeouts, gather
from cli.doctor.jobs import check_jobs
from cli.doctor.keys import check_keys
from cli.doctor.leftovers import check_leftovers
from cli.doctor.rights import check_rights, wanted_rights
from cli.doctor.settings import (
    check_apart,
    check_caller,
    check_endpoint,
    check_names,
    check_project,
    check_push_auth,
    check_status_auth,
)
from cli.doctor.topics import check_dead_letters, check_pushes, check_readers, check_topics
from shared.settings import Settings
from shared.wiring.ports import build_ports, build_survey


def examine_deployment(settings: Settings, timeouts: Timeouts | None = None) -> Iterator[Check]:
    """Check every part of a deployment. Nothing is changed."""
    if not _has_clients():
        mend = "Install celldrop with its gcp extra."
        yield Check(CloudCheck.CLIENTS.of(""), Health.WRONG, "missing", mend, ("make setup",))
        return
    yield Check(CloudCheck.CLIENTS.of(""), Health.OK, "installed")
    wanted = wanted_rights(settings)
    found = gather(
        settings, build_survey(settings), lambda: build_ports(settings).blobs, wanted, timeouts or Timeouts()
    )
    yield from judge(settings, found, frozenset(os.environ))


def _has_clients() -> bool:
    try:
        return all(find_spec(f"google.{name}") for name in ("cloud.storage", "cloud.firestore", "cloud.run_v2"))
    except ModuleNotFoundError:
        return False


def judge(settings: Settings, found: Deployed, environment: Collection[str]) -> Iterator[Check]:
    """Run every check on the facts, without any further query.

    Args:
        environment: The names of the environment variables.
    """
    commands = Commands(settings, found.project, found.caller)
    yield from check_names(environment)
    yield from check_caller(commands, found)
    yield from check_project(settings, found)
    yield from check_apart(settings)
    yield from check_push_auth(settings, found)
    yield from check_status_auth(settings)
    yield from check_endpoint(settings)
    if found.project:
        yield from _services(commands, found)


def _services(commands: Commands, found: Deployed) -> Iterator[Check]:
    yield from check_buckets(commands, found)
    yield from check_keys(commands, found)
    yield from check_leftovers(commands, found)
    yield from check_drops(commands, found)
    yield from check_region(commands.settings, found)
    yield from check_model(commands, found)
    yield from check_topics(commands, found)
    yield from check_pushes(commands, found)
    yield from check_dead_letters(commands, found)
    yield from check_readers(commands, found)
    yield from check_functions(commands, found)
    yield from check_database(commands, found)
    yield from check_jobs(commands, found)
    yield from check_accounts(commands, found)
    yield from check_rights(commands, found)
