"""Whatever goes wrong is answered with problem details, and tells nothing of the server's insides."""

from __future__ import annotations

import logging

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import Client

from cli.serving import loopback_app
from functions.status.problems import STATUS_OF, problem_of
from functions.status.routes import ROUTES
from functions.status.schemas import Problem, SubmissionList
from shared.domain.all_errors import all_errors
from shared.domain.errors import (
    CelldropError,
    CorruptBlobError,
    InvalidOptionError,
    SettingsError,
    UnavailableError,
)
from tests.fakes.calls import FailNext
from tests.status.world import World

BAD_IDS = [
    "0" * 31,
    "0" * 33,
    "G" * 32,
    "A" * 32,
    "..",
    "%2e%2e",
    "%00" * 32,
    "0" * 31 + "%0a",
    "x" * 30_000,
    "%F0%9F%A7%AC",
    "%ff%fe",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "{{7*7}}",
]
TEMPLATES = ["/v1/submissions/{}", "/v1/submissions/{}/files/report.html", "/submissions/{}"]


def problem(response: object) -> Problem:
    assert getattr(response, "content_type", "") == "application/problem+json"
    found = Problem.model_validate_json(getattr(response, "data", b""))
    assert found.status == getattr(response, "status_code", 0)
    assert found.type == f"urn:celldrop:error:{found.code}"
    return found


@pytest.mark.parametrize(
    "path", ["/nope", "/v1", "/v2/submissions", "/v1/submissions/", "/submissions/", "/assets/x.js"]
)
def test_an_unknown_address_is_a_problem(client: FlaskClient, path: str) -> None:
    found = problem(client.get(path))
    assert (found.status, found.code) == (404, "ROUTE_NOT_FOUND")
    assert found.hint


@pytest.mark.parametrize("bad", BAD_IDS, ids=range(len(BAD_IDS)))
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_hostile_id_is_not_found_and_not_repeated(bare: Client, template: str, bad: str) -> None:
    response = bare.get(template.format(bad))
    assert problem(response).code in {"SUBMISSION_NOT_FOUND", "ROUTE_NOT_FOUND"}
    assert response.status_code == 404
    assert len(response.data) < 500
    assert b"script" not in response.data


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_id_that_could_be_but_is_not_is_not_found(client: FlaskClient, method: str) -> None:
    path = "/v1/submissions/" + "0" * 32 + (":cancel" if method == "post" else "")
    found = problem(getattr(client, method)(path))
    assert (found.status, found.code) == (404, "SUBMISSION_NOT_FOUND")


@given(st.text(max_size=60))
def test_no_path_is_a_fault(text: str) -> None:
    bare = Client(loopback_app(World().service))
    response = bare.get("/v1/submissions/" + text.replace("?", "").replace("#", ""))
    assert response.status_code in {200, 404, 405}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/v1/submissions", "GET, HEAD"),
        ("PUT", "/v1/submissions/" + "0" * 32, "GET, HEAD"),
        ("GET", "/v1/submissions/" + "0" * 32 + ":cancel", "POST"),
        ("OPTIONS", "/healthz", "GET, HEAD"),
        ("TRACE", "/healthz", "GET, HEAD"),
        ("BREW", "/assets/page.css", "GET, HEAD"),
    ],
)
def test_a_wrong_method_learns_the_right_ones(client: FlaskClient, method: str, path: str, allowed: str) -> None:
    response = client.open(path, method=method)
    assert problem(response).code == "METHOD_NOT_ALLOWED"
    assert (response.status_code, response.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/submissions", "/assets/page.css"])
def test_head_is_get_without_its_body(client: FlaskClient, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_a_store_that_is_down_is_said_to_be_so(client: FlaskClient, world: World) -> None:
    world.store.hook = FailNext("status.get", UnavailableError("/home/celldrop/status.sqlite is locked"))
    response = client.get("/v1/submissions/" + "0" * 32)
    found = problem(response)
    assert (found.status, found.code, response.headers["Retry-After"]) == (503, "UNAVAILABLE", "5")
    assert "sqlite" not in response.text


def test_a_record_of_a_newer_version_is_missing_from_the_list_and_said_to_be_unreadable(
    client: FlaskClient, world: World
) -> None:
    newer, healthy = world.queued(), world.queued(name="healthy.h5ad")
    world.store.unreadable.add(newer)
    listed = SubmissionList.model_validate_json(client.get("/v1/submissions").data)
    assert [one.id for one in listed.submissions] == [healthy]
    found = problem(client.get(f"/v1/submissions/{newer}"))
    assert (found.status, found.code) == (503, "RECORD_UNREADABLE")
    assert "of a version that this server cannot read" in found.detail


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("/secret/path and token=abc"),
        KeyError("secret"),
        CorruptBlobError("/secret/path"),
        SettingsError("secret"),
    ],
)
def test_a_fault_tells_nothing_but_is_logged(
    client: FlaskClient, world: World, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    world.store.hook = FailNext("status.find", error)
    response = client.get("/v1/submissions")
    assert problem(response).status == 500
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert "secret" in caplog.text
    assert caplog.records[0].levelno == logging.ERROR


def test_where_an_error_was_found_is_not_told() -> None:
    found = problem_of(InvalidOptionError("bad", expected="good", where="/secret/path", hint="Mend it."))
    assert (found.detail, found.hint) == ("Bad; expected good.", "Mend it.")


def test_every_error_has_its_problem() -> None:
    for kind in all_errors():
        found = problem_of(kind("found", expected="expected", hint="hint"))
        assert (found.code, found.status) == (kind.code, STATUS_OF.get(kind.code, 500))
        assert found.hint


def test_the_table_names_only_codes_that_exist() -> None:
    assert STATUS_OF.keys() <= {kind.code for kind in all_errors()}


def test_what_may_succeed_later_is_a_503() -> None:
    assert {kind.code for kind in all_errors() if kind.retryable} == {
        code for code, status in STATUS_OF.items() if status == 503
    }


@pytest.mark.parametrize("path", ["/nope", "/submissions/" + "0" * 32])
def test_a_person_gets_a_page_of_the_problem(client: FlaskClient, path: str) -> None:
    response = client.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert "_NOT_FOUND" in response.text


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", "nonsense;;q=x", "text/html;q=0.1,application/*"])
def test_a_program_gets_json_from_every_address(client: FlaskClient, accept: str) -> None:
    problem(client.get("/submissions/x", headers={"Accept": accept}))


def test_the_api_has_no_pages(client: FlaskClient) -> None:
    problem(client.get("/v1/nope", headers={"Accept": "text/html"}))


# --- Headers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nope", "/v1/submissions", "/healthz", "/assets/refresh.js"])
def test_every_answer_carries_the_security_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers


def test_no_request_header_comes_back(bare: Client, world: World) -> None:
    mark = "reflect-me-7f3a"
    headers = {"Accept": f"text/html, {mark}", "User-Agent": mark, "X-Forwarded-Host": mark, "Cookie": f"a={mark}"}
    found = world.succeeded()
    for path in ("/", "/nope", f"/submissions/{found}", f"/v1/submissions/{found}", "/v1/submissions?state=x"):
        response = bare.get(path, headers=[*headers.items(), ("Range", mark), ("Origin", mark), ("Referer", mark)])
        assert mark not in response.text
        assert mark not in str(response.headers)


def test_every_route_is_of_a_method_that_pages_can_use() -> None:
    assert {route.method for route in ROUTES} == {"GET", "POST"}


def test_the_base_error_is_ours() -> None:
    assert problem_of(CelldropError("x")).code == problem_of(RuntimeError("x")).code == "INTERNAL"
