"""Checks of what keeps the state: the Firestore database, and every kind of search in it."""

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
    """The database itself, and every kind of search in it."""
    settings = commands.settings
    name = CloudCheck.DATABASE.of(settings.firestore_database)
    facts = found.database
    # Whoever may not see the database may still be told, by its searches, that there is none.
    told = found.lacking if is_missing(found.lacking) and isinstance(facts, Untold) else facts
    remedy = _database_remedy(commands, commands.create_database())
    if isinstance(told, DatabaseFacts) and not told.is_native:
        mend = "Create another one, in Native mode, and name it in CELLDROP_FIRESTORE_DATABASE."
        yield Check(name, Health.WRONG, "not in Native mode", mend, (commands.create_database(),))
    elif isinstance(told, DatabaseFacts):
        yield Check(name, Health.OK, f"Native mode, in {told.location}")
        yield from _check_indexes(commands, found)
    elif isinstance(told, Untold) and told.why in {Silence.DENIED, Silence.NOT_OFFERED}:
        yield silent(name, told, remedy)
        yield from _check_indexes(commands, found)
    elif isinstance(told, Untold):
        yield silent(name, told, remedy)


def _check_indexes(commands: Commands, found: Deployed) -> Iterator[Check]:
    lacking = found.lacking
    if isinstance(lacking, Untold):
        yield silent(CloudCheck.INDEX.of(""), lacking, _database_remedy(commands))
        return
    for index in lacking:
        mend = "Create the index; building it takes some minutes, in which nothing changes here."
        name = CloudCheck.INDEX.of(_columns(index))
        yield Check(name, Health.WRONG, index.words, mend, (commands.create_index(index),))
    if not lacking:
        yield Check(CloudCheck.INDEX.of(""), Health.OK, "every kind of search is answered")


def _columns(index: LackingIndex) -> str:
    return ", ".join(f"{name} {way.lower()}" for name, way in index.fields)


def _database_remedy(commands: Commands, *create: str) -> Remedy:
    return Remedy(
        create=create,
        correct="Create it, or correct CELLDROP_FIRESTORE_DATABASE.",
        see=commands.let_caller_in_project(SEE),
        enable=commands.enable(API),
    )
