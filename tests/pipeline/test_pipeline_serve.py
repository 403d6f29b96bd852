"""`celldrop serve`: a drop in the inbox folder, and HTTP beside it."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cli.endings import EventTail
from tests import warm
from tests.h5ad.bombs import with_broken_heap
from tests.h5ad.h5ad_files import spoiled
from tests.pipeline.conftest import Celldrop
from tests.pipeline.few_cells import few_cells

DEADLINE_S = 120.0


class Server:
    def __init__(self, base: str, home: Path, lines: Iterator[str]) -> None:
        self.base = base
        self.home = home
        self.lines = lines
        self.key = (home / ".celldrop" / "http-key").read_text().strip()

    def open(self, path: str, method: str = "GET") -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        return urllib.request.urlopen(urllib.request.Request(self.base + path, method=method, headers=headers))

    def get(self, path: str) -> dict[str, Any]:
        with self.open(path) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def post(self, path: str) -> dict[str, Any]:
        with self.open(path, "POST") as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def wait_for(self, what: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if found := what():
                return found
            time.sleep(0.2)
        pytest.fail("it did not happen in time")


def started(environment: dict[str, str], folder: Path, stderr: int | None = None) -> subprocess.Popen[str]:
    """`celldrop serve` in an interpreter of its own, in a folder; what it prints can be read while it runs."""
    command = [sys.executable, "-m", "cli.main", "serve", "--port", "0"]
    variables = {**environment, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, env=variables, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True)


@pytest.fixture
def server(environment: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    with warm.Started(["serve", "--port", "0"], environment, tmp_path) as process:
        lines = iter(process.lines)
        base = next((line.split()[-1].partition("/?key=")[0] for line in lines if "http://" in line), "")
        assert base
        yield Server(base, tmp_path / "home", lines)
        assert process.stopped(timeout_s=30) == 0


def test_a_server_that_is_stopped_once_it_has_said_a_word_ends_well(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with started(environment, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_server_whose_folder_is_moved_or_removed_ends_and_says_so(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with started(environment, tmp_path, subprocess.PIPE) as process:
        assert process.stdout is not None
        assert any("http://" in line for line in process.stdout)
        (tmp_path / "home").rename(tmp_path / "elsewhere")
        _, words = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "INVALID_SETTING: its folder was removed or moved" in words


@pytest.mark.parametrize("home", ["/proc/nobody", "file/below"])
def test_a_folder_that_cannot_be_made_is_called_so(home: str, celldrop: Celldrop, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = celldrop("serve", "--port", "0", "--out", home)
    assert ended.status == 2
    assert "INVALID_SETTING: the home folder cannot be created" in ended.stderr


@pytest.fixture
def small(tmp_path: Path, data_dir: Path) -> Path:
    path = tmp_path / "small.h5ad"
    few_cells(data_dir, 300).write_h5ad(path)
    return path


def submissions(server: Server, *states: str) -> list[dict[str, Any]]:
    found = server.get("/v1/submissions")["submissions"]
    return [one for one in found if one["state"] in states]


def test_a_drop_is_annotated_and_told_over_http(server: Server, small: Path, celldrop: Celldrop) -> None:
    assert server.get("/healthz")
    shutil.copy(small, server.home / "inbox" / "small.part")
    (server.home / "inbox" / "small.part").rename(server.home / "inbox" / "small.h5ad")
    (one,) = server.wait_for(lambda: submissions(server, "SUCCEEDED"))
    view = server.get(f"/v1/submissions/{one['id']}")
    names = {file["name"] for file in view["files"]}
    assert {"report.html", "annotated.h5ad", "annotations.parquet"} <= names
    with server.open(f"/v1/submissions/{one['id']}/files/report.html") as answer:
        assert b"<html" in answer.read()
    told = celldrop("status", one["id"], "--json")
    assert told.json["state"] == "SUCCEEDED"
    events = (server.home / ".celldrop" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["type"] for line in events] == [
        "celldrop.submission.accepted.v1",
        "celldrop.submission.succeeded.v1",
    ]
    said = next(line for line in server.lines if "SUCCEEDED" in line)
    assert said == f"small.h5ad: SUCCEEDED {one['id']}: {server.home / 'small' / 'report.html'}\n"
    assert (server.home / "small" / "report.html").is_file()


def line_of(kind: str, submission_id: str) -> str:
    return json.dumps({"type": f"celldrop.submission.{kind}.v1", "subject": submission_id}) + "\n"


def test_only_ends_that_are_added_to_the_log_are_said(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    early = EventTail(log)
    assert early.new_ends() == []
    log.write_text(line_of("succeeded", "a"))
    tail = EventTail(log)
    assert (early.new_ends(), tail.new_ends()) == (["a"], [])
    with log.open("a") as file:
        file.write(line_of("accepted", "b") + line_of("failed", "b") + "no JSON\n[]\n" + line_of("cancelled", "c")[:-9])
    assert tail.new_ends() == ["b"]
    with log.open("a") as file:
        file.write(line_of("cancelled", "c")[-9:] + line_of("rejected", "d"))
    assert tail.new_ends() == ["c"]
    log.write_text(line_of("succeeded", "e"))
    assert tail.new_ends() == ["e"], "the log was emptied"


def test_a_database_that_fails_for_a_while_does_not_end_the_server(server: Server, small: Path) -> None:
    def rename(old: str, new: str) -> None:
        with closing(sqlite3.connect(server.home / ".celldrop" / "status.sqlite")) as connection:
            connection.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename("submissions", "hidden")
    assert any("UNAVAILABLE: the status database failed" in line for line in server.lines)
    rename("hidden", "submissions")
    shutil.copy(small, server.home / "inbox" / "small.h5ad")
    server.wait_for(lambda: submissions(server, "SUCCEEDED"))


@pytest.mark.usefixtures("server")
def test_a_second_server_of_one_home_says_who_has_it(celldrop: Celldrop) -> None:
    second = celldrop("serve", "--port", "0")
    assert second.status != 0
    assert "another celldrop serve (process " in second.stderr
    assert "--out" in second.stderr


def test_a_bad_drop_is_rejected_and_told(server: Server, data_dir: Path) -> None:
    shutil.copy(data_dir / "awkward/scp_bad.h5", server.home / "inbox" / "bad.h5")
    (one,) = server.wait_for(lambda: submissions(server, "REJECTED"))
    assert server.get(f"/v1/submissions/{one['id']}")["failure"]["code"] == "NOT_HDF5"


def test_damaged_files_do_not_hold_up_the_next(server: Server, small: Path) -> None:
    def spoil(file: h5py.File) -> None:
        del file["obs"].attrs["column-order"]
        file["obs"].attrs.create("column-order", np.array(["zzcolumn"], object), dtype=h5py.string_dtype())

    hanging = with_broken_heap(spoiled(spoil).data, b"zzcolumn").data
    inbox = server.home / "inbox"
    for number in range(2):
        (inbox / f"a{number}.part").write_bytes(hanging)
    shutil.copy(small, inbox / "b.part")
    for path in sorted(inbox.glob("*.part")):
        path.rename(path.with_suffix(".h5ad"))
    server.wait_for(lambda: len(submissions(server, "REJECTED")) == 2)
    told = [json.loads(line) for line in (server.home / ".celldrop" / "events.jsonl").read_text().splitlines()]
    kinds = ("accepted.v1", "rejected.v1")
    names = [event["data"]["source"]["name"] for event in told if event["type"].endswith(kinds)]
    assert names[0] == "b.h5ad"
    assert sorted(names) == ["a0.h5ad", "a1.h5ad", "b.h5ad"]


def test_a_drop_for_a_model_that_cannot_be_has_a_record(server: Server, small: Path) -> None:
    models = ["sha256:..", "sha256:" + "0" * 64, "sha256:", "..", "nobody@@"]
    for model in models:
        folder = server.home / "inbox" / f"model={model}"
        folder.mkdir()
        shutil.copy(small, folder / "a.part")
        (folder / "a.part").rename(folder / "a.h5ad")
    records = server.wait_for(lambda: (found := submissions(server, "REJECTED"))[len(models) - 1 :] and found)
    failures = [server.get(f"/v1/submissions/{one['id']}")["failure"] for one in records]
    assert {failure["code"] for failure in failures} <= {"MODEL_NOT_FOUND", "INVALID_OPTION"}
    assert all(failure["hint"] for failure in failures)


@pytest.mark.usefixtures("server")
def test_what_is_submitted_beside_the_server_is_run_by_it(small: Path, celldrop: Celldrop) -> None:
    queued = celldrop("submit", small, "--json")
    assert queued.status == 0, queued.stderr
    seen = celldrop("watch", queued.json["submission_id"], "--json")
    assert (seen.status, seen.json["state"]) == (0, "SUCCEEDED")


def test_a_submission_is_cancelled_over_http(server: Server, small: Path, celldrop: Celldrop) -> None:
    queued = celldrop("submit", small, "--json").json["submission_id"]
    assert server.post(f"/v1/submissions/{queued}:cancel")["state"] in {"CANCELLED", "SUCCEEDED"}


def test_an_unknown_submission_is_a_problem_with_a_code(server: Server) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        server.get("/v1/submissions/none")
    assert caught.value.code == 404
    assert json.load(caught.value)["code"] == "SUBMISSION_NOT_FOUND"
