"""How everything must have ended, whoever was killed on the way."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import google_crc32c

from functions.reconcile.dependencies import build_reconcile
from shared.adapters.local.status import SqliteStatusStore
from shared.domain import owed
from shared.domain.submission import EntryKind, State, Submission
from shared.ports.blobs import BlobStore
from shared.ports.status import StatusStore
from shared.settings import Settings
from shared.wiring.ports import LocalLayout, MadePorts, build_local
from tests.crashes.stand_in import ROWS_NAME

LATER = owed.SWEEP_DELAY + timedelta(minutes=1)


def check_orders(settings: Settings, orders: Collection[str]) -> list[Submission]:
    """As ``check_ends``, for the stand-in's results: each order once, each of its rows once, from one execution."""
    records = check_ends(settings)
    assert sorted(str(record.rerun_token) for record in records) == sorted(orders)
    blobs = build_local(settings).ports.blobs
    for record in records:
        _check_rows(blobs, record)
    return records


def check_ends(settings: Settings) -> list[Submission]:
    """Every submission ended in one commit, told once, with nothing left behind.

    Returns:
        The records as they ended.
    """
    ports = build_local(settings).ports
    records = [stored.value for stored in ports.store.find(limit=10_000)]
    told = events_told(LocalLayout(settings.home).events)
    for record in records:
        _check_commit(ports.store, record)
        _check_manifests(ports.blobs, record)
        _check_told(record, told[record.id])
        assert [entry.kind for entry in record.outbox] in ([], [EntryKind.SWEEP])
    sweep_later(settings, ports)
    for record in records:
        _check_nothing_left(settings, ports.blobs, record)
    return records


def events_told(events: Path) -> dict[str, list[dict[str, Any]]]:
    """Every event that was told, by submission; each line of the log is whole."""
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in events.read_text().splitlines() if events.exists() else ():
        event = json.loads(line)
        told[event["subject"]].append(event)
    return told


def sweep_later(settings: Settings, ports: MadePorts) -> None:
    """A pass of reconcile a quarter of an hour on, after which nothing is owed."""

    def clock() -> datetime:
        return datetime.now(UTC) + LATER

    store = SqliteStatusStore(LocalLayout(settings.home).state / "status.sqlite", clock)
    assert build_reconcile(settings, replace(ports, store=store)).sweep().faults == []
    assert store.find(with_outbox=True) == []
    store.close()


def _check_commit(store: StatusStore, record: Submission) -> None:
    assert record.state is State.SUCCEEDED, record.failure
    history = store.history(record.id)
    assert [entry.n for entry in history] == list(range(1, len(history) + 1))
    assert [entry.state for entry in history].count(State.SUCCEEDED) == 1
    assert history[-1].state is State.SUCCEEDED
    assert all(before.epoch <= after.epoch and before.at <= after.at for before, after in pairwise(history))


def _check_manifests(blobs: BlobStore, record: Submission) -> None:
    assert record.result is not None
    found = blobs.read(blobs.stat(record.result.bucket, f"{record.id}/manifest.json").ref)
    assert found == blobs.read(record.result.manifest)
    assert record.result.manifest.name.startswith(record.result.prefix)


def _check_rows(blobs: BlobStore, record: Submission) -> None:
    assert record.result is not None
    assert record.plan is not None
    content = blobs.read(blobs.stat(record.result.bucket, record.result.prefix + ROWS_NAME).ref)
    manifest = json.loads(blobs.read(record.result.manifest))
    assert manifest["crc32c"] == google_crc32c.value(content)
    rows = [json.loads(line) for line in content.splitlines()]
    assert [row["row"] for row in rows] == list(range(record.plan.n_cells))
    whence = {(row["epoch"], row["execution"], row["generation"]) for row in rows}
    assert whence == {(record.epoch, record.owner, record.source.generation)}
    for index in range(record.plan.n_tasks):
        own = record.plan.rows_of(index)
        assert len({row["attempt"] for row in rows[own.start : own.stop]}) == 1


def _check_told(record: Submission, told: list[dict[str, Any]]) -> None:
    ends = [event for event in told if event["type"] != "celldrop.submission.accepted.v1"]
    assert [event["id"] for event in ends] == [f"{record.id}/succeeded/0"]
    assert len({event["id"] for event in told}) == len(told)
    assert record.result is not None
    assert ends[0]["data"]["result_prefix"] == record.result.prefix


def _check_nothing_left(settings: Settings, blobs: BlobStore, record: Submission) -> None:
    assert record.result is not None
    assert _names(blobs, settings.work_bucket, record) == []
    kept = (record.result.prefix, f"{record.id}/manifest.json")
    assert [name for name in _names(blobs, settings.results_bucket, record) if not name.startswith(kept)] == []


def _names(blobs: BlobStore, bucket: str, record: Submission) -> Iterable[str]:
    return [info.ref.name for info in blobs.list(bucket, f"{record.id}/")]
