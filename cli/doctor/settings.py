"""Checks of the settings, and of the credentials used with them."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from cli.doctor.check import Check, CloudCheck, Health
from cli.doctor.commands import Commands, setting
from cli.doctor.gathering import Deployed
from cli.doctor.silence import UNREACHABLE
from shared.ports.survey import Caller, Silence, SubscriptionFacts, Untold
from shared.settings import PushAuth, Settings, StatusAuth, listed

PREFIX = "CELLDROP_"


def check_names(environment: Collection[str]) -> Iterator[Check]:
    """Check for environment variables that look like a misspelt setting."""
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    strange = sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)
    meant = {name: difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.85) for name in strange}
    mistaken = {name: close[0] for name, close in meant.items() if close}
    name = CloudCheck.SETTINGS.of("")
    if not mistaken:
        yield Check(name, Health.OK, "all have valid names and values")
        return
    found = ", ".join(f"{wrong} is not a setting" for wrong in mistaken)
    mend = " ".join(f"{wrong}: did you mean {right}?" for wrong, right in mistaken.items())
    yield Check(name, Health.WARNING, found, mend)


def check_caller(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check whose credentials are used, and whether Google accepts them."""
    name = CloudCheck.CREDENTIALS.of("")
    login = ("gcloud auth application-default login",)
    match found.caller:
        case Untold(why=Silence.NOT_SET) if _somebody_answered(found):
            yield Check(name, Health.WARNING, "none, and the services answer without them: they are not Google's")
        case Untold(why=Silence.NOT_SET):
            yield Check(name, Health.WRONG, found.caller.words, "Log in, or run where an account is attached.", login)
        case Untold():
            yield Check(name, Health.WRONG, f"no answer ({found.caller.words})", UNREACHABLE)
        case Caller(trouble=Silence.DENIED) as caller:
            mend = "Log in again; for a key file, check GOOGLE_APPLICATION_CREDENTIALS."
            yield Check(name, Health.WRONG, f"{_who(caller)}: Google does not accept them", mend, login)
        case caller if caller.trouble is not None:
            yield Check(name, Health.WRONG, f"{_who(caller)}: could not check whether they are valid", UNREACHABLE)
        case caller if caller.is_user and not caller.quota_project:
            set_it = f"gcloud auth application-default set-quota-project {commands.project}"
            words = f"{_who(caller)}; no quota project, so some services refuse requests"
            yield Check(name, Health.WARNING, words, "Set the project that is billed for requests.", (set_it,))
        case caller:
            quota = f"; quota project {caller.quota_project}" if caller.quota_project else ""
            yield Check(name, Health.OK, f"{_who(caller)}{quota}")


def _somebody_answered(found: Deployed) -> bool:
    answers = [*found.buckets.values(), *found.holdings.values(), *found.topics.values(), found.lacking]
    return any(not isinstance(answer, Untold) for answer in answers)


def _who(caller: Caller) -> str:
    return f"{caller.email or 'an account with an unknown address'} ({caller.kind})"


def check_project(settings: Settings, found: Deployed) -> Iterator[Check]:
    """Check which project the deployment is in."""
    name = CloudCheck.PROJECT.of("")
    if not found.project:
        mend = "Set CELLDROP_PROJECT; without it, nothing else can be checked."
        yield Check(name, Health.WRONG, "neither set nor known from the credentials", mend)
        return
    source = "from CELLDROP_PROJECT" if settings.project else "from the credentials"
    yield Check(name, Health.OK, f"{found.project}, {source}")


def check_push_auth(settings: Settings, found: Deployed) -> Iterator[Check]:
    """Check that the functions verify who pushes."""
    name = CloudCheck.PUSH_AUTH.of("")
    if settings.push_auth is PushAuth.PLATFORM:
        yield Check(name, Health.OK, "left to Cloud Run's IAM: the functions must not allow unauthenticated calls")
        return
    pushes = [one for one in _subscriptions(found) if one.token_account]
    guesses = {
        f"{PREFIX}PUSH_AUDIENCE": next((one.token_audience for one in pushes), ""),
        f"{PREFIX}PUSH_ACCOUNTS": ",".join(sorted({one.token_account for one in pushes})),
    }
    yield _auth(name, "push", guesses, settings.push_audience, settings.push_accounts)


def check_status_auth(settings: Settings) -> Iterator[Check]:
    """Check that the status function verifies who calls."""
    name = CloudCheck.STATUS_AUTH.of("")
    if settings.status_auth is StatusAuth.PLATFORM:
        yield Check(name, Health.OK, "left to Cloud Run's IAM")
        return
    guesses = {f"{PREFIX}STATUS_AUDIENCE": "", f"{PREFIX}STATUS_ACCOUNTS": ""}
    yield _auth(name, "call", guesses, settings.status_audience, settings.status_accounts)


def _auth(name: str, what: str, guesses: dict[str, str], audience: str, accounts: str) -> Check:
    values = dict(zip(guesses, (audience, ",".join(listed(accounts))), strict=True))
    lacking = [variable for variable, value in values.items() if not value]
    if not lacking:
        return Check(name, Health.OK, f"tokens for {audience}; may {what}: {', '.join(listed(accounts))}")
    found = f"tokens are checked, but {' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} empty"
    run = tuple(setting(variable, guesses[variable]) for variable in lacking if guesses[variable])
    switch = f"{PREFIX}{name.upper().replace('-', '_')}=platform"
    mend = f"Set it here and at the functions, or set {switch} if Cloud Run's IAM is enough."
    return Check(name, Health.WRONG, found, mend, run)


def _subscriptions(found: Deployed) -> Iterator[SubscriptionFacts]:
    for answer in found.subscriptions.values():
        if not isinstance(answer, Untold):
            yield from answer


def check_endpoint(settings: Settings) -> Iterator[Check]:
    """Check that jobs are started by Google's Cloud Run, not by a stand-in."""
    if settings.run_endpoint:
        mend = "Set CELLDROP_RUN_ENDPOINT only in tests."
        words = f"jobs are started at {settings.run_endpoint}, without credentials"
        yield Check(CloudCheck.RUN_ENDPOINT.of(""), Health.WARNING, words, mend)


def check_apart(settings: Settings) -> Iterator[Check]:
    """Check that buckets and topics are distinct. Otherwise a result or a message could come back as new work."""
    own = (settings.inbox_bucket, settings.models_bucket, settings.work_bucket, settings.results_bucket)
    allowed = sorted({*listed(settings.allowed_buckets)} - {settings.inbox_bucket})
    topics = (settings.jobs_topic, settings.events_topic, settings.requests_topic)
    mend = "Use a different one for each purpose. Otherwise what the pipeline writes comes back as new work."
    for what, names in (("buckets", [*own, *allowed]), ("topics", topics)):
        twice = _twice(names)
        if twice:
            words = f"used for more than one purpose: {', '.join(twice)}"
            yield Check(CloudCheck.APART.of(what), Health.WRONG, words, mend)
        else:
            yield Check(CloudCheck.APART.of(what), Health.OK, "each for one purpose")


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]
