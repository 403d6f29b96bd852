"""Entry point: the scheduler's call every minute, one pass over everything open or owed."""

from __future__ import annotations

import json
import logging

import flask
import functions_framework

from functions.reconcile.dependencies import caller_check, reconcile_service
from shared.access.endpoints import Answer, called
from shared.telemetry import event

log = logging.getLogger(__name__)


@functions_framework.http
def reconcile(request: flask.Request) -> Answer:
    """One pass; 200 with its counts even when some submissions must wait for the next."""
    return called(dict(request.headers), caller_check(), _sweep)


def _sweep() -> str:
    done = reconcile_service().sweep()
    for fault in done.faults:
        event(log, "not mended this time", level=logging.WARNING, fault=fault)
    return json.dumps({"mended": len(done.mended), "faults": len(done.faults)})
