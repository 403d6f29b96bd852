"""The embedded bus: events outlive the process, and a job that nobody here would start stays owed."""

from __future__ import annotations

import errno
import json
import os
import resource
from pathlib import Path

import pytest

from shared.adapters.local import locks
from shared.adapters.local.event_log import EmbeddedBus
from shared.adapters.local.locks import exclusive
from shared.domain.errors import UnavailableError
from shared.domain.submission import Topic
from shared.ports.events import Message


def test_every_event_is_a_line_of_the_log(tmp_path: Path) -> None:
    for number in (b"1", b"2"):
        EmbeddedBus(tmp_path / "events.jsonl").publish(Topic.EVENTS, Message("1", b'{"a":\n' + number + b"}"))
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("n_between", [0, 1, 40])
def test_an_event_that_is_told_again_is_a_line_once(n_between: int, tmp_path: Path) -> None:
    told = [b'{"a":1}', *(b'{"a":1%d}' % number for number in range(n_between))]
    for data in (*told, told[0]):
        EmbeddedBus(tmp_path / "events.jsonl").publish(Topic.EVENTS, Message("1", data))
    assert (tmp_path / "events.jsonl").read_bytes().splitlines() == told


def test_an_event_that_is_part_of_another_is_told(tmp_path: Path) -> None:
    for data in (b'{"a":{"b":1}}', b'{"b":1}', b'{"a":{"b":1}} '):
        EmbeddedBus(tmp_path / "events.jsonl").publish(Topic.EVENTS, Message("1", data))
    assert len((tmp_path / "events.jsonl").read_bytes().splitlines()) == 3


def test_a_line_that_does_not_fit_leaves_nothing_behind_and_is_owed(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    bus = EmbeddedBus(log)
    bus.publish(Topic.EVENTS, Message("1", b'{"a":1}'))
    before = log.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, hard))
    try:
        with pytest.raises(UnavailableError):
            bus.publish(Topic.EVENTS, Message("2", b'{"a":22222222}'))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.read_bytes() == before
    bus.publish(Topic.EVENTS, Message("2", b'{"a":2}'))
    assert [json.loads(line)["a"] for line in log.read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize("torn", [b'{"a":', b"x" * 200_000])
def test_a_line_that_a_kill_tore_is_taken_away(torn: bytes, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    for whole in (b"", b'{"a":1}\n'):
        log.write_bytes(whole + torn)
        EmbeddedBus(log).publish(Topic.EVENTS, Message("2", b'{"a":2}'))
        assert log.read_bytes() == whole + b'{"a":2}\n'


def test_a_job_is_refused_where_nobody_dispatches(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        EmbeddedBus(tmp_path / "events.jsonl").publish(Topic.JOBS, Message("1", b"{}"))


def test_a_job_is_handed_to_who_dispatches(tmp_path: Path) -> None:
    bus, got = EmbeddedBus(tmp_path / "events.jsonl"), list[Message]()
    bus.subscribe(Topic.JOBS, got.append)
    bus.publish(Topic.JOBS, Message("1", b"{}"))
    bus.deliver_pending()
    assert [message.id for message in got] == ["1"]


def test_a_log_that_cannot_be_written_leaves_the_event_owed(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        EmbeddedBus(tmp_path / "missing" / "events.jsonl").publish(Topic.EVENTS, Message("1", b"{}"))


def test_a_log_that_somebody_keeps_locked_leaves_the_event_owed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BETWEEN_TRIES_S", 0.0)
    bus, log = EmbeddedBus(tmp_path / "events.jsonl"), tmp_path / "events.jsonl"
    with exclusive(log), pytest.raises(UnavailableError, match="another process holds its lock"):
        bus.publish(Topic.EVENTS, Message("1", b"{}"))
    bus.publish(Topic.EVENTS, Message("1", b"{}"))
    assert log.read_bytes() == b"{}\n"


@pytest.mark.parametrize("killed_before", [False, True], ids=["a new line", "the line of a killed process"])
def test_an_event_is_on_the_disk_before_it_counts_as_published(
    killed_before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(b'{"a":0}\n' + b'{"a":1}\n' * killed_before)
    flushed: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.pread(descriptor, 100, 0)))
    EmbeddedBus(log).publish(Topic.EVENTS, Message("1", b'{"a":1}'))
    assert flushed == [b'{"a":0}\n{"a":1}\n']


def test_a_new_log_s_name_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    EmbeddedBus(tmp_path / "events.jsonl").publish(Topic.EVENTS, Message("1", b"{}"))
    assert flushed == [(tmp_path / "events.jsonl").stat().st_ino, tmp_path.stat().st_ino]


def test_an_event_that_the_disk_does_not_keep_is_owed_and_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "events.jsonl"
    bus = EmbeddedBus(log)
    bus.publish(Topic.EVENTS, Message("1", b'{"a":1}'))

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        with pytest.raises(UnavailableError):
            bus.publish(Topic.EVENTS, Message("2", b'{"a":2}'))
    assert log.read_bytes() == b'{"a":1}\n'
    bus.publish(Topic.EVENTS, Message("2", b'{"a":2}'))
    assert log.read_bytes() == b'{"a":1}\n{"a":2}\n'


def test_a_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_bytes(b'{"a":1}\n{"a":2}')
    EmbeddedBus(log).publish(Topic.EVENTS, Message("3", b'{"a":3}'))
    assert log.read_bytes() == b'{"a":1}\n{"a":2}\n{"a":3}\n'
    assert list(tmp_path.iterdir()) == [log]
