"""Entry point of the reconcile function: called by the scheduler every minute, it makes one pass over open work."""

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
    """Run one pass. The answer is 200 with its counts, even if some submissions could not be repaired this time."""
    return called(dict(request.headers), caller_check, _sweep)


def _sweep() -> str:
    done = reconcile_service().sweep()
    for fault in done.faults:
        event(log, "not mended this time", level=logging.WARNING, fault=fault)
    return json.dumps({"mended": len(done.mended), "faults": len(done.faults), "left": done.left})
