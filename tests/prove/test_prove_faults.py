"""The faults stand for rows of the page of faults, and what they find is compared as it is said."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from typing_extensions import override

from shared.adapters.gcp.jobs import connect
from tests.prove.fault import Fault, ended
from tests.prove.faults import FAULTS
from tests.prove.options import ROOT

ROWS = [
    line.split("|")[1].strip() for line in (ROOT / "docs/reference/faults.md").read_text().splitlines() if "|" in line
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_rows_that_a_fault_stands_for_are_on_the_page(fault: Fault) -> None:
    assert [start for start in fault.rows if not any(row.startswith(start) for row in ROWS)] == []


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_the_codes_that_are_expected_are_ones_of_ours() -> None:
    codes = set(re.findall(r"^\| `([A-Z0-9_]+)`", (ROOT / "docs/reference/errors.md").read_text(), re.MULTILINE))
    states = {"REJECTED", "SUCCEEDED"}
    expected = {word for fault in FAULTS for word in re.findall(r"`([A-Z0-9_]+)`", fault.expected)}
    assert expected <= codes | states
    assert len(expected) > 6


class _Api(BaseHTTPRequestHandler):
    """Answers every call with an operation, and keeps what was asked."""

    asked: ClassVar[list[str]] = []

    def do_DELETE(self) -> None:
        self.asked.append(f"{self.command} {urlsplit(self.path).path}")
        body = b'{"name": "projects/p/locations/r/operations/1", "done": true}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        return


def test_an_execution_is_deleted_as_the_api_says() -> None:
    name = "projects/lab-7/locations/us-central1/jobs/p-cpu/executions/p-cpu-abcde"
    with HTTPServer(("127.0.0.1", 0), _Api) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        connect(f"http://127.0.0.1:{server.server_port}").executions.delete_execution(name=name)
        thread.join()
    assert _Api.asked == [f"DELETE /v2/{name}"]


REFUSED = {"state": "REJECTED", "code": "OBJECT_REFUSED", "message": "locked", "hint": "unlock it"}


@pytest.mark.parametrize(
    ("state", "code", "agrees"),
    [
        ("REJECTED", "OBJECT_REFUSED", True),
        ("REJECTED", None, True),
        ("REJECTED", "INTERNAL", False),
        ("FAILED", "OBJECT_REFUSED", False),
    ],
)
def test_an_outcome_agrees_by_state_and_code(state: str, code: str | None, agrees: bool) -> None:
    found = ended(REFUSED, state, code)
    assert found.agrees is agrees
    assert (found.words, found.facts["hint"]) == ("REJECTED OBJECT_REFUSED", "unlock it")
