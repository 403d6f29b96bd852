"""Builds the status service: from the settings of this process, or from ports that an embedding process has."""

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
    """The service of this process, built at its first request and kept.

    Raises:
        SettingsError: A setting is malformed.
    """
    return service_over(build_ports(deployed_settings()))


@cache
def caller_check() -> CheckCaller:
    """Who may ask the deployed function."""
    return build_status_check(deployed_settings())


def service_over(ports: Ports, *, in_line: bool = False) -> StatusService:
    """The service over these ports; it may stop executions, and may not write results.

    Args:
        in_line: Whether what is queued waits for its turn on this machine.
    """
    outbox = Outbox(ports.store, ports.bus, jobs=ports.jobs)
    return StatusService(ports.store, outbox, ResultData(ports.blobs), time.sleep, time.monotonic, in_line)
