"""Checks of the service accounts that jobs and subscriptions name: nothing acts as one that is gone or disabled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cli.doctor.check import Check, CloudCheck, Health
from cli.doctor.commands import Commands
from cli.doctor.gathering import Deployed, accounts_of
from cli.doctor.silence import Remedy, unseen
from shared.ports.survey import Silence, Untold

API = "iam.googleapis.com"
SEE = "roles/iam.serviceAccountViewer"


def check_accounts(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Each account once, with what acts as it."""
    uses = accounts_of(found)
    for email, told in found.accounts.items():
        name, words = CloudCheck.ACCOUNT.of(email), ", ".join(uses.get(email, ()))
        match told:
            case True:
                yield Check(name, Health.OK, words)
            case False:
                found_words = f"{words}; disabled: nothing can act as it"
                yield Check(name, Health.WRONG, found_words, "Enable it.", (commands.enable_account(email),))
            case Untold(why=Silence.NOT_SET):  # The credentials' own check says so.
                continue
            case Untold() as untold:
                about = unseen(name, untold, _remedy(commands, email))
                yield replace(about, found=f"{words}; {about.found}")


def _remedy(commands: Commands, email: str) -> Remedy:
    return Remedy(
        create=(commands.create_account(email),),
        correct="Name another, or create it; one of the same address has to be given every role again.",
        see=commands.let_caller_in_project(SEE),
        enable=commands.enable(API),
    )
