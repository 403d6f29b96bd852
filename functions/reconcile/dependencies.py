"""Builds the reconcile service from the settings, once per process."""

from __future__ import annotations

from functools import cache

from functions.reconcile.services import Reconcile
from shared.access.identity import CheckCaller
from shared.records.outbox import Outbox
from shared.settings import Settings
from shared.wiring.ports import Ports, build_ports, build_push_check, deployed_settings


def build_reconcile(settings: Settings, ports: Ports) -> Reconcile:
    """Build the service from given ports."""
    buckets = (settings.work_bucket, settings.results_bucket)
    outbox = Outbox(ports.store, ports.bus, ports.blobs, ports.jobs, *buckets)
    return Reconcile(ports.store, outbox, ports.jobs, settings.limits, pass_s=settings.pass_s)


@cache
def reconcile_service() -> Reconcile:
    """The deployed function's service."""
    settings = deployed_settings()
    return build_reconcile(settings, build_ports(settings))


@cache
def caller_check() -> CheckCaller:
    """The check of who may call the deployed function."""
    return build_push_check(deployed_settings())
