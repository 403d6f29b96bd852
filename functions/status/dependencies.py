"""Builds the status service, from this process's settings or from ports that the caller already has."""

from __future__ import annotations

import time
from functools import cache

from functions.status.data_manager import ResultData
from functions.status.services import StatusService
from shared.access.identity import CheckCaller
from shared.records.outbox import Outbox
from shared.wiring.ports import Ports, build_ports, build_status_check, deployed_settings


@cache
def status_service() -> StatusService:
    """The service of this process, built at the first request and then reused.

    Raises:
        SettingsError: A setting is malformed.
    """
    return service_over(build_ports(deployed_settings()))


@cache
def caller_check() -> CheckCaller:
    """The check of who may call the deployed function."""
    return build_status_check(deployed_settings())


def service_over(ports: Ports, *, in_line: bool = False) -> StatusService:
    """Build the service from these ports. It can stop executions, but cannot write results.

    Args:
        in_line: Whether queued submissions run one after another on this machine.
    """
    outbox = Outbox(ports.store, ports.bus, jobs=ports.jobs)
    return StatusService(ports.store, outbox, ResultData(ports.blobs), time.sleep, time.monotonic, in_line)
