"""Checks of the topics, and of the subscriptions that carry their messages on."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.check import Check, CloudCheck, Fault, Health, summed
from cli.doctor.commands import ACK_DEADLINE_S, Commands
from cli.doctor.gathering import Deployed, topic_names
from cli.doctor.silence import Remedy, is_out, silent
from shared.ports.survey import SubscriptionFacts, Untold
from shared.settings import PushAuth

API = "pubsub.googleapis.com"
SEE = "roles/pubsub.viewer"


def check_topics(commands: Commands, found: Deployed) -> Iterator[Check]:
    """The three topics."""
    for topic in topic_names(commands.settings):
        answer, name = found.topics[topic], CloudCheck.TOPIC.of(topic)
        if isinstance(answer, Untold):
            yield silent(name, answer, _remedy(commands, commands.create_topic(topic)))
        else:
            yield Check(name, Health.OK, "there")


def check_pushes(commands: Commands, found: Deployed) -> Iterator[Check]:
    """What is pushed to a function: jobs to dispatch, requests to ingest."""
    settings = commands.settings
    for topic, function in ((settings.jobs_topic, "dispatch"), (settings.requests_topic, "ingest")):
        if is_out(found.topics[topic]):
            continue
        told = found.subscriptions[topic]
        create = commands.create_push(topic, function)
        if isinstance(told, Untold):
            yield silent(CloudCheck.PUSH.of(topic), told, _remedy(commands, *create))
            continue
        pushes = [one for one in told if one.endpoint]
        if not pushes:
            mend = "Have Pub/Sub push to the function; without that, what is published here is never taken."
            yield Check(CloudCheck.PUSH.of(topic), Health.WRONG, "no subscription pushes it anywhere", mend, create)
        for one in pushes:
            name = CloudCheck.PUSH.of(_short(one.name))
            yield summed(name, f"{_short(topic)} to {one.endpoint}", _faults(commands, topic, function, one))


def _faults(commands: Commands, topic: str, function: str, one: SubscriptionFacts) -> Iterator[Fault]:
    update = (commands.update_push(one, function),)
    if not one.is_healthy:
        yield Fault(Health.WRONG, "Pub/Sub cannot push", "Name the function's address and the account again.", update)
    if not one.endpoint.startswith("https://"):
        yield Fault(Health.WARNING, "without TLS, as only an emulator pushes", "Push to the function.", update)
    yield from _token_faults(commands, one, update)
    yield from _delivery_faults(commands, topic, one)


def _token_faults(commands: Commands, one: SubscriptionFacts, update: tuple[str, ...]) -> Iterator[Fault]:
    settings = commands.settings
    checked = settings.push_auth is PushAuth.OIDC
    if not one.token_account:
        words = "with no identity token" + (", which the function insists on" if checked else "")
        yield Fault(Health.WRONG if checked else Health.WARNING, words, "Push as an account of its own.", update)
        return
    if not checked:
        return
    if settings.push_audience and one.token_audience != settings.push_audience:
        words = f"its token is for {one.token_audience}, and CELLDROP_PUSH_AUDIENCE is {settings.push_audience}"
        yield Fault(Health.WRONG, words, "Have both say the same.", update)
    if settings.push_accounts and not commands.may_push(one.token_account):
        words = f"it pushes as {one.token_account}, which CELLDROP_PUSH_ACCOUNTS does not name"
        yield Fault(Health.WRONG, words, "Push as an account that it names, or name this one, too.", update)


def _delivery_faults(commands: Commands, topic: str, one: SubscriptionFacts) -> Iterator[Fault]:
    if not one.has_retry_policy:
        mend = "Have it wait longer each time."
        yield Fault(Health.WARNING, "no pause between tries", mend, (commands.wait_between_tries(one.name),))
    if not one.dead_letter_topic:
        mend = "Keep what is never taken where somebody can look at it."
        dead = commands.add_dead_letters(one.name, topic)
        yield Fault(Health.WARNING, "no dead-letter topic: what cannot be taken is lost after days", mend, dead)
    if one.ack_deadline_s < ACK_DEADLINE_S:
        longer = commands.update_subscription(one.name, f"--ack-deadline={ACK_DEADLINE_S}")
        words = f"pushed again when not taken within {one.ack_deadline_s} s"
        yield Fault(Health.WARNING, words, "Give the function time.", (longer,))
    if one.expires_after_s is not None:
        words = f"deleted after {one.expires_after_s / 86_400:g} days without use"
        mend = "Have it stay, however long nothing is dropped."
        yield Fault(Health.WARNING, words, mend, (commands.never_expire(one.name),))


def check_dead_letters(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Whether what ends in a dead-letter topic is kept there."""
    for topic in sorted(set(found.topics) - set(topic_names(commands.settings))):
        answer, told, name = found.topics[topic], found.subscriptions[topic], CloudCheck.DEAD_LETTER.of(_short(topic))
        pull = commands.create_pull(topic)
        if isinstance(answer, Untold):
            yield silent(name, answer, _remedy(commands, commands.create_topic(topic), pull))
        elif isinstance(told, Untold):
            yield silent(name, told, _remedy(commands, pull))
        elif not told:
            mend = "Keep them: a topic alone keeps nothing."
            yield Check(name, Health.WRONG, "no subscription: what ends here is lost", mend, (pull,))
        else:
            yield Check(name, Health.OK, f"kept by {', '.join(_short(one.name) for one in told)}")


def check_readers(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Whether anybody listens to outcomes."""
    topic = commands.settings.events_topic
    name = CloudCheck.READERS.of(topic)
    told = found.subscriptions[topic]
    if is_out(found.topics[topic]):
        return
    if isinstance(told, Untold):
        yield silent(name, told, _remedy(commands, commands.create_pull(topic)))
    elif not told:
        mend = "Outcomes are told to nobody. If a system of yours is to know them, subscribe:"
        yield Check(name, Health.WARNING, "no subscription", mend, (commands.create_pull(topic),))
    else:
        yield Check(name, Health.OK, ", ".join(_short(one.name) for one in told))


def _remedy(commands: Commands, *create: str) -> Remedy:
    return Remedy(
        create=create,
        correct="Create it, or correct the setting that names it.",
        see=commands.let_caller_in_project(SEE),
        enable=commands.enable(API),
    )


def _short(name: str) -> str:
    return name.rpartition("/")[2]
