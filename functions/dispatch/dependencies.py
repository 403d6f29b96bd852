"""Builds the dispatch service from the settings, once per process."""

from __future__ import annotations

from functools import cache

from functions.dispatch.services import Dispatch
from shared.access.identity import CheckCaller
from shared.records.outbox import Outbox
from shared.settings import Settings
from shared.wiring.ports import Ports, build_ports, build_push_check, deployed_settings


def build_dispatch(settings: Settings, ports: Ports) -> Dispatch:
    """Build the service from given ports."""
    return Dispatch(
        store=ports.store,
        outbox=Outbox(ports.store, ports.bus, jobs=ports.jobs),
        jobs=ports.jobs,
        limits=settings.limits,
        fleet=settings.fleet,
        new_token=ports.jobs.claimant,
        task_timeout_s=settings.task_timeout_s,
    )


@cache
def dispatch_service() -> Dispatch:
    """The deployed function's service."""
    settings = deployed_settings()
    return build_dispatch(settings, build_ports(settings))


@cache
def caller_check() -> CheckCaller:
    """The check of who may push to the deployed function."""
    return build_push_check(deployed_settings())
