"""Checks of the topics and their subscriptions."""

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
    """Check that the three topics exist."""
    for topic in topic_names(commands.settings):
        answer, name = found.topics[topic], CloudCheck.TOPIC.of(topic)
        if isinstance(answer, Untold):
            yield silent(name, answer, _remedy(commands, commands.create_topic(topic)))
        else:
            yield Check(name, Health.OK, "exists")


def check_pushes(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check the subscriptions that push jobs to dispatch and requests to ingest."""
    settings = commands.settings
    for topic, function in ((settings.jobs_topic, "dispatch"), (settings.requests_topic, "ingest")):
        if is_out(found.topics[topic]):
            continue
        subscriptions = found.subscriptions[topic]
        create = commands.create_push(topic, function)
        if isinstance(subscriptions, Untold):
            yield silent(CloudCheck.PUSH.of(topic), subscriptions, _remedy(commands, *create))
            continue
        pushes = [one for one in subscriptions if one.endpoint]
        if not pushes:
            mend = "Create a push subscription to the function; without one, messages here are never handled."
            yield Check(CloudCheck.PUSH.of(topic), Health.WRONG, "it has no push subscription", mend, create)
        for one in pushes:
            name = CloudCheck.PUSH.of(_short(one.name))
            yield summed(name, f"{_short(topic)} to {one.endpoint}", _faults(commands, topic, function, one))


def _faults(commands: Commands, topic: str, function: str, one: SubscriptionFacts) -> Iterator[Fault]:
    update = (commands.update_push(one, function),)
    if not one.is_healthy:
        yield Fault(Health.WRONG, "Pub/Sub cannot push", "Set the function's URL and the account again.", update)
    if not one.endpoint.startswith("https://"):
        yield Fault(Health.WARNING, "it pushes without TLS, as an emulator does", "Push to the function.", update)
    yield from _token_faults(commands, one, update)
    yield from _delivery_faults(commands, topic, one)


def _token_faults(commands: Commands, one: SubscriptionFacts, update: tuple[str, ...]) -> Iterator[Fault]:
    settings = commands.settings
    checked = settings.push_auth is PushAuth.OIDC
    if not one.token_account:
        words = "it sends no identity token" + (", which the function requires" if checked else "")
        yield Fault(Health.WRONG if checked else Health.WARNING, words, "Set an account to push as.", update)
        return
    if not checked:
        return
    if settings.push_audience and one.token_audience != settings.push_audience:
        words = f"its token is for {one.token_audience}, and CELLDROP_PUSH_AUDIENCE is {settings.push_audience}"
        yield Fault(Health.WRONG, words, "Set both to the same value.", update)
    if settings.push_accounts and not commands.may_push(one.token_account):
        words = f"it pushes as {one.token_account}, which CELLDROP_PUSH_ACCOUNTS does not name"
        yield Fault(Health.WRONG, words, "Push as an account that it names, or add this one to it.", update)


def _delivery_faults(commands: Commands, topic: str, one: SubscriptionFacts) -> Iterator[Fault]:
    if not one.has_retry_policy:
        mend = "Set a retry policy with exponential backoff."
        yield Fault(Health.WARNING, "no pause between retries", mend, (commands.wait_between_tries(one.name),))
    if not one.dead_letter_topic:
        mend = "Add one, so that messages that cannot be handled can be inspected."
        dead = commands.add_dead_letters(one.name, topic)
        words = "no dead-letter topic: messages that cannot be handled are lost after some days"
        yield Fault(Health.WARNING, words, mend, dead)
    if one.ack_deadline_s < ACK_DEADLINE_S:
        longer = commands.update_subscription(one.name, f"--ack-deadline={ACK_DEADLINE_S}")
        words = f"messages are pushed again if not acknowledged within {one.ack_deadline_s} s"
        yield Fault(Health.WARNING, words, f"Raise the deadline to {ACK_DEADLINE_S} s.", (longer,))
    if one.expires_after_s is not None:
        words = f"deleted after {one.expires_after_s / 86_400:g} days without use"
        mend = "Turn its expiration off, so that it stays even if nothing is dropped for long."
        yield Fault(Health.WARNING, words, mend, (commands.never_expire(one.name),))


def check_dead_letters(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check that messages in a dead-letter topic are kept."""
    for topic in sorted(set(found.topics) - set(topic_names(commands.settings))):
        answer, subscriptions = found.topics[topic], found.subscriptions[topic]
        name = CloudCheck.DEAD_LETTER.of(_short(topic))
        pull = commands.create_pull(topic)
        if isinstance(answer, Untold):
            yield silent(name, answer, _remedy(commands, commands.create_topic(topic), pull))
        elif isinstance(subscriptions, Untold):
            yield silent(name, subscriptions, _remedy(commands, pull))
        elif not subscriptions:
            mend = "Create a subscription: a topic alone keeps nothing."
            yield Check(name, Health.WRONG, "no subscription: dead letters are lost", mend, (pull,))
        else:
            yield Check(name, Health.OK, f"kept by {', '.join(_short(one.name) for one in subscriptions)}")


def check_readers(commands: Commands, found: Deployed) -> Iterator[Check]:
    """Check whether outcome events have a subscriber."""
    topic = commands.settings.events_topic
    name = CloudCheck.READERS.of(topic)
    subscriptions = found.subscriptions[topic]
    if is_out(found.topics[topic]):
        return
    if isinstance(subscriptions, Untold):
        yield silent(name, subscriptions, _remedy(commands, commands.create_pull(topic)))
    elif not subscriptions:
        mend = "Nobody receives the outcome events. If another system needs them, create a subscription:"
        yield Check(name, Health.WARNING, "no subscription", mend, (commands.create_pull(topic),))
    else:
        yield Check(name, Health.OK, ", ".join(_short(one.name) for one in subscriptions))


def _remedy(commands: Commands, *create: str) -> Remedy:
    return Remedy(
        create=create,
        correct="Create it, or correct the setting that names it.",
        see=commands.let_caller_in_project(SEE),
        enable=commands.enable(API),
    )


def _short(name: str) -> str:
    return name.rpartition("/")[2]
