"""Checks of the service accounts that jobs and subscriptions use: each must exist and be enabled."""

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
    """Check each account once, and say what uses it."""
    uses = accounts_of(found)
    for email, answer in found.accounts.items():
        name, words = CloudCheck.ACCOUNT.of(email), ", ".join(uses.get(email, ()))
        match answer:
            case True:
                yield Check(name, Health.OK, words)
            case False:
                found_words = f"{words}; disabled: nothing can use it"
                yield Check(name, Health.WRONG, found_words, "Enable it.", (commands.enable_account(email),))
            case Untold(why=Silence.NOT_SET):  # The check of the credentials reports this.
                continue
            case Untold() as untold:
                about = unseen(name, untold, _remedy(commands, email))
                yield replace(about, found=f"{words}; {about.found}")


def _remedy(commands: Commands, email: str) -> Remedy:
    return Remedy(
        create=(commands.create_account(email),),
        correct="Use another account, or create it again. A new account with the same address needs all roles again.",
        see=commands.let_caller_in_project(SEE),
        enable=commands.enable(API),
    )
