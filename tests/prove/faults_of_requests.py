"""Faults of requests and callers: malformed, not allowed, asked twice, delivered again, without a token."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any

from tests.prove.fault import Fault, Found, ended, ended_as
from tests.prove.hands import Hands, asked, is_outcome
from tests.prove.options import MODEL

REQUESTERS = 70
OPTIONS = {"model": MODEL, "map": "off"}
MALFORMED = (
    b"{}",
    b"null",
    b"[1, 2]",
    b"not JSON",
    b"\xff\xfe\x00",
    b"[" * 5_000,
    b'{"schema_version": 1, "bucket": 7, "name": null}',
    b'{"schema_version": ' + b"9" * 5_000 + b"}",
)


def malformed(hands: Hands) -> Found:
    """None may be in the way of a sound one, nor become a dead letter."""
    for data in MALFORMED:
        hands.cloud.ask(data)
    sound = _ask(hands, "nothing-there.h5ad")
    dead = [data for data in hands.cloud.dead_requests_in(hands.soon_s) if data in MALFORMED]
    found = ended(hands.end_for(sound), "REJECTED", "INPUT_NOT_FOUND", sent=len(MALFORMED), dead_letters=len(dead))
    return Found(found.agrees and not dead, f"the sound one {found.words}; {len(dead)} dead letters", found.facts)


def foreign_bucket(hands: Hands) -> Found:
    """A bucket that the deployment takes no files from."""
    mark = _ask(hands, "x.h5ad", bucket="gcp-public-data-landsat")
    return ended(hands.end_for(mark), "REJECTED", "BUCKET_NOT_ALLOWED")


def odd_name(hands: Hands) -> Found:
    """A name that no object can have."""
    return ended(hands.end_for(_ask(hands, "line\nbreak.h5ad")), "REJECTED", "INVALID_NAME")


def unknown_model(hands: Hands) -> Found:
    """A model that nobody has uploaded."""
    return ended(hands.end_of(hands.drop("model.h5ad", model="nobody-has-this")), "REJECTED", "MODEL_NOT_FOUND")


def asked_twice(hands: Hands) -> Found:
    """The same request in two messages."""
    blob = hands.drop("asked-twice.h5ad")
    hands.end_of(blob)
    mark = hands.mark()
    for _ in range(2):
        _ask(hands, "asked-twice.h5ad", mark, options={**OPTIONS, "top_k": "3"})
    outcome = hands.end_for(mark)
    ids = _submissions(hands, mark)
    return Found(outcome["state"] == "SUCCEEDED" and len(ids) == 1, f"{ended_as(outcome)}, {len(ids)} submissions")


def many_requesters(hands: Hands) -> Found:
    """More than a record holds ask for one submission."""
    blob = hands.drop("many.h5ad", top_k="2")
    options = {**OPTIONS, "top_k": "2"}
    marks = {_ask(hands, "many.h5ad", options=options) for _ in range(REQUESTERS)}
    submission_id = hands.end_of(blob)["submission_id"]
    last_s = time.monotonic() + hands.cloud.timeout_s
    heard: set[str] = set()
    while heard != marks and time.monotonic() < last_s:
        events = [event for event in hands.cloud.events_in(hands.soon_s / 4) if is_outcome(event)]
        named = {who["correlation_id"]: event["subject"] for event in events for who in event["data"]["requesters"]}
        heard = {mark for mark in marks if named.get(mark) == submission_id}
    return Found(heard == marks, f"{len(heard)} of {REQUESTERS} heard the outcome of one submission")


def request_delivered_again(hands: Hands) -> Found:
    """Pub/Sub's own message comes again, after the object was overwritten."""
    first = hands.drop("redelivered.h5ad")
    hands.end_of(first)
    topic = hands.cloud.at.requests_topic
    with hands.redelivering(hands.push_of(topic)):
        mark = _ask(hands, "redelivered.h5ad", options={**OPTIONS, "top_k": "4"})
        outcome = hands.end_for(mark)
        second = hands.drop("redelivered.h5ad")
        hands.end_of(second)
    ids = _submissions(hands, mark, 2 * hands.soon_s)
    agrees = len(ids) == 1 and outcome["source"]["generation"] == first.generation
    return Found(agrees, f"{len(ids)} submissions", {"generations": [first.generation, second.generation]})


def without_token(hands: Hands) -> Found:
    """Nobody in particular opens the status page, and somebody with a token of their own making."""
    statuses = [_status_of(hands, {}), _status_of(hands, {"Authorization": "Bearer e30.e30.e30"})]
    words = f"without HTTP {statuses[0]}, with a false one HTTP {statuses[1]}"
    return Found(set(statuses) <= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}, words)


def _status_of(hands: Hands, headers: dict[str, str]) -> int:
    request = urllib.request.Request(hands.cloud.at.status_url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _ask(hands: Hands, name: str, mark: str = "", **changed: Any) -> str:
    mark = mark or hands.mark()
    whole = hands.cloud.at.folder + name
    request = hands.cloud.request(whole, correlation_id=mark, source="proof", options=OPTIONS)
    hands.cloud.ask({**request, **changed})
    return mark


def _submissions(hands: Hands, mark: str, seconds: float = 0) -> set[str]:
    return {event["subject"] for event in hands.cloud.events_in(seconds or hands.soon_s) if asked(event, mark)}


FAULTS = (
    Fault(
        "malformed requests",
        "acknowledged and logged; the sound one after them is answered",
        malformed,
        ("A CloudEvent may have any type of value anywhere",),
    ),
    Fault("bucket that is not allowed", "`REJECTED` `BUCKET_NOT_ALLOWED`", foreign_bucket),
    Fault(
        "name with a line break",
        "`REJECTED` `INVALID_NAME`",
        odd_name,
        ("Object names have 1,024 bytes",),
    ),
    Fault("unknown model", "`REJECTED` `MODEL_NOT_FOUND`", unknown_model),
    Fault("asked twice", "one submission", asked_twice, ("delivered twice",)),
    Fault(
        "many requesters", "every one hears of one submission", many_requesters, ("A Firestore document takes 1 MiB",)
    ),
    Fault(
        "request delivered again",
        "one submission, of the generation of the first delivery",
        request_delivered_again,
        ("A message is delivered again, with the object overwritten",),
    ),
    Fault(
        "no token, or a false one",
        "401 or 403, by Cloud Run itself",
        without_token,
        ("A token's header and claims may hold anything",),
        only_at_google=True,
    ),
)
