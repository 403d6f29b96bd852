"""Checks of the Firestore database that keeps the state, and of its indexes."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.check import Check, CloudCheck, Health
from cli.doctor.commands import Commands
from cli.doctor.gathering import Deployed
from cli.doctor.silence import Remedy, is_missing, silent
from shared.ports.survey import DatabaseFacts, LackingIndex, Silence, Untold

API = "firestore.googleapis.com"
SEE = "roles/datastore.viewer"


def check_database(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check the database, and run every kind of query that the pipeline makes."""
    settings = commands.settings
    name = CloudCheck.DATABASE.of(settings.firestore_database)
    facts = found.database
    # Without the right to see the database, a failed query can still show that it does not exist.
    answer = found.lacking if is_missing(found.lacking) and isinstance(facts, Untold) else facts
    remedy = _database_remedy(commands, commands.create_database())
    if isinstance(answer, DatabaseFacts) and not answer.is_native:
        other = "celldrop-native" if settings.firestore_database == "celldrop" else "celldrop"
        mend = f"Create another database, in Native mode, and set CELLDROP_FIRESTORE_DATABASE={other}."
        yield Check(name, Health.WRONG, "not in Native mode", mend, (commands.create_database(other),))
    elif isinstance(answer, DatabaseFacts):
        yield Check(name, Health.OK, f"Native mode, in {answer.location}")
        yield from _check_indexes(commands, found)
    elif isinstance(answer, Untold) and answer.why in {Silence.DENIED, Silence.NOT_OFFERED}:
        yield silent(name, answer, remedy)
        yield from _check_indexes(commands, found)
    elif isinstance(answer, Untold):
        yield silent(name, answer, remedy)


def _check_indexes(commands: Commands, found: Deployed) -> Iterator[Check]:
    lacking = found.lacking
    if isinstance(lacking, Untold):
        yield silent(CloudCheck.INDEX.of(""), lacking, _database_remedy(commands))
        return
    for index in lacking:
        mend = "Create the index. Building it takes some minutes; until then, this check stays as it is."
        name = CloudCheck.INDEX.of(_columns(index))
        yield Check(name, Health.WRONG, index.words, mend, (commands.create_index(index),))
    if not lacking:
        yield Check(CloudCheck.INDEX.of(""), Health.OK, "every kind of query works")


def _columns(index: LackingIndex) -> str:
    return ", ".join(f"{name} {way.lower()}" for name, way in index.fields)


def _database_remedy(commands: Commands, *create: str) -> Remedy:
    return Remedy(
        create=create,
        correct="Create it, or correct CELLDROP_FIRESTORE_DATABASE.",
        see=commands.let_caller_in_project(SEE),
        enable=commands.enable(API),
    )
