"""Entry point of the dispatch function: a pushed job message in, a started execution out."""

from __future__ import annotations

import logging

import flask
import functions_framework

from functions.dispatch.dependencies import caller_check, dispatch_service
from functions.dispatch.schemas import pushed_job
from shared.access.cloud_events import Pushed
from shared.access.endpoints import Answer, answer
from shared.telemetry import event

log = logging.getLogger(__name__)


@functions_framework.http
def dispatch(request: flask.Request) -> Answer:
    """Handle one push from the jobs topic."""
    return answer(dict(request.headers), request.get_data(), caller_check, _start)


def _start(pushed: Pushed) -> None:
    message = pushed_job(pushed)
    outcome = dispatch_service().handle(message)
    event(log, "dispatched", submission=message.submission_id, epoch=message.epoch, outcome=outcome)
