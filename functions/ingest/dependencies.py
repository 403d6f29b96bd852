"""Builds the ingest service from the settings, once per process."""

from __future__ import annotations

from functools import cache

from functions.ingest.data_manager import IngestData
from functions.ingest.services import Ingest
from shared.access.identity import CheckCaller
from shared.records.outbox import Outbox
from shared.settings import Backend, Settings
from shared.validation import Validator
from shared.wiring.ports import ADHOC_MODELS_BUCKET, Ports, build_ports, build_push_check, deployed_settings

DEADLINE_SHARE = 0.75
"""The share of its timeout that a delivery may wait for storage and memory. The rest is for recording that it failed:
an instance that the platform cuts off records nothing."""


def build_ingest(settings: Settings, ports: Ports) -> Ingest:
    """Build the service from given ports."""
    # Only with the local backend: in the cloud, a bucket of that name could belong to anybody.
    adhoc = ADHOC_MODELS_BUCKET if settings.backend is Backend.LOCAL else None
    data = IngestData(ports.blobs, settings.models_bucket, settings.default_model, settings.drop_buckets, adhoc)
    validator = Validator.of(ports.blobs, settings)
    limit_s = None if settings.backend is Backend.LOCAL else DEADLINE_SHARE * settings.ingest_timeout_s
    outbox = Outbox(ports.store, ports.bus)
    return Ingest(ports.store, outbox, data, validator, settings.fleet, limit_s=limit_s)


@cache
def ingest_service() -> Ingest:
    """The deployed function's service."""
    settings = deployed_settings()
    return build_ingest(settings, build_ports(settings))


@cache
def caller_check() -> CheckCaller:
    """The check of who may push to the deployed function."""
    return build_push_check(deployed_settings())
