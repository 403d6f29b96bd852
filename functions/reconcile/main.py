"""Entry point: the scheduler's call every minute, one pass over everything open or owed."""

from __future__ import annotations

import logging

import flask
import functions_framework

from functions.reconcile.dependencies import reconcile_service
from shared.telemetry import event

log = logging.getLogger(__name__)


@functions_framework.http
def reconcile(_request: flask.Request) -> tuple[dict[str, int], int]:
    """One pass; 200 with its counts even when some submissions must wait for the next."""
    done = reconcile_service().sweep()
    for fault in done.faults:
        event(log, "not mended this time", level=logging.WARNING, fault=fault)
    return {"mended": len(done.mended), "faults": len(done.faults)}, 200
