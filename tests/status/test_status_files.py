"""Files of a committed result: streamed, ranged, and nothing beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Request, Response

from functions.status.data_manager import CHUNK_BYTES, ResultFile
from functions.status.responses import MAX_SIZED_BODY_BYTES, file_response
from shared.domain.errors import BlobNotFoundError, CorruptBlobError
from shared.domain.submission import ObjectRef
from shared.ports.blobs import BlobInfo, ByteRange
from tests.fakes.calls import FailNext
from tests.fakes.clock import START
from tests.status.world import FILES, World

DATA = FILES["annotated.h5ad"]


def href(submission_id: str, name: str = "annotated.h5ad") -> str:
    return f"/v1/submissions/{submission_id}/files/{name}"


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("annotated.h5ad", "application/x-hdf5"),
        ("annotations.csv.gz", "application/gzip"),
        ("manifest.json", "application/json"),
        ("extra/embeddings.parquet", "application/vnd.apache.parquet"),
    ],
)
def test_a_file_is_saved_whole(client: FlaskClient, world: World, name: str, content_type: str) -> None:
    response = client.get(href(world.succeeded(), name))
    assert response.data == FILES[name]
    assert response.content_type == content_type
    assert response.headers["Content-Disposition"] == f"attachment; filename={name.rpartition('/')[2]}"
    assert response.headers["Content-Length"] == str(len(FILES[name]))
    assert "sandbox" not in response.headers["Content-Security-Policy"]


def test_the_report_is_shown_in_a_sandbox(client: FlaskClient, world: World) -> None:
    response = client.get(href(world.succeeded(), "report.html"))
    assert response.headers["Content-Disposition"] == "inline; filename=report.html"
    assert response.content_type == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox ")
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy
    # Browsers refuse a sandboxed document that isolates its opener.
    assert response.headers["Cross-Origin-Opener-Policy"] == "unsafe-none"


def test_no_other_page_is_ever_shown(client: FlaskClient, world: World) -> None:
    found = world.succeeded(files={"other.html": b"<script>", "extra/report.html": b"<script>"})
    for name in ("other.html", "extra/report.html"):
        assert client.get(href(found, name)).headers["Content-Disposition"].startswith("attachment")


def test_a_file_name_beyond_ascii_survives(client: FlaskClient, world: World) -> None:
    found = world.succeeded(files={"zellen_übersicht.json": b"{}"})
    disposition = client.get(href(found, "zellen_übersicht.json")).headers["Content-Disposition"]
    assert "filename*=UTF-8''zellen_%C3%BCbersicht.json" in disposition
    assert disposition.isascii()


def test_a_name_cannot_write_headers(bare: Client, world: World) -> None:
    name = 'a"; filename="b\r\nX-Evil: 1'
    found = world.succeeded(files={name: b"x"})
    response = bare.get(href(found, quote(name)))
    assert response.data == b"x"
    assert "X-Evil" not in response.headers


# --- Nothing else -------------------------------------------------------------------------------------------------

HOSTILE = [
    "missing.json",
    "../1-lost/report.html",
    "..%2f1-lost%2freport.html",
    "%2e%2e/1-lost/report.html",
    "..\\manifest.json",
    "../manifest.json",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "report.html%00",
    "report.html%00.json",
    "report.html/",
    "./report.html",
    "REPORT.HTML",
    "report.html%0d%0aX: y",
    "%ff%fe",
    "a" * 20_000,
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_only_the_results_own_names_are_found(bare: Client, world: World, name: str) -> None:
    response = bare.get(href(world.succeeded(), name))
    assert (response.status_code, response.content_type) == (404, "application/problem+json")
    assert (response.json or {})["code"] == "RESULT_FILE_NOT_FOUND"
    assert b"lost" not in response.data
    assert b"passwd" not in response.data


def test_what_a_losing_finalizer_left_is_not_listed(client: FlaskClient, world: World) -> None:
    files = client.get(f"/v1/submissions/{world.succeeded()}").get_json()["files"]
    assert {file["name"] for file in files} == set(FILES)


@pytest.mark.parametrize("state", ["queued", "running", "failed", "rejected"])
def test_without_a_result_there_is_no_file_yet_or_ever(client: FlaskClient, world: World, state: str) -> None:
    make: dict[str, Callable[[], str]] = {
        "queued": world.queued,
        "running": world.running,
        "failed": world.failed,
        "rejected": world.rejected,
    }
    response = client.get(href(make[state]()))
    assert (response.status_code, response.get_json()["code"]) == (409, "RESULT_NOT_READY")
    assert ("watch" in response.get_json()["hint"]) == (state in {"queued", "running"})


# --- Parts of files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("0-0", 0, 1), ("5-9", 5, 10), ("10000-", 10_000, 10_240), ("-16", 10_224, 10_240), ("10-99999999", 10, 10_240)],
)
def test_a_range_is_had_alone(client: FlaskClient, world: World, asked: str, start: int, stop: int) -> None:
    response = client.get(href(world.succeeded()), headers={"Range": f"bytes={asked}"})
    assert (response.status_code, response.data) == (206, DATA[start:stop])
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=99999999999-"])
def test_a_range_outside_the_file_is_refused(client: FlaskClient, world: World, asked: str) -> None:
    response = client.get(href(world.succeeded()), headers={"Range": asked})
    assert (response.status_code, response.get_json()["code"]) == (416, "RANGE_NOT_SATISFIABLE")
    assert response.headers["Content-Range"] == "bytes */10240"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,4-5", "rows=1-2", "bytes=x", "bytes=-0", "bytes=5-2", "", "bytes=" + "0-1," * 5000]
)
def test_a_range_that_is_not_understood_gets_the_whole(client: FlaskClient, world: World, asked: str) -> None:
    response = client.get(href(world.succeeded()), headers={"Range": asked})
    assert (response.status_code, response.data) == (200, DATA)


def test_a_download_goes_on_only_in_the_same_file(client: FlaskClient, world: World) -> None:
    path = href(world.succeeded())
    tag = client.get(path).headers["ETag"]
    again = client.get(path, headers={"Range": "bytes=5-", "If-Range": tag})
    other = client.get(path, headers={"Range": "bytes=5-", "If-Range": '"another"'})
    assert (again.status_code, other.status_code, other.data) == (206, 200, DATA)


def test_a_file_that_is_had_already_is_not_sent_again(client: FlaskClient, world: World) -> None:
    path = href(world.succeeded())
    tag = client.get(path).headers["ETag"]
    response = client.get(path, headers={"If-None-Match": tag})
    assert (response.status_code, response.data) == (304, b"")


def test_head_tells_of_a_file_without_reading_it(client: FlaskClient, world: World) -> None:
    found = world.succeeded()
    world.blobs.hook = FailNext("blobs.read", BlobNotFoundError("not to be read"))
    response = client.head(href(found))
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Length"] == str(len(DATA))


def test_an_empty_file_is_a_file(client: FlaskClient, world: World) -> None:
    response = client.get(href(world.succeeded(files={"empty.csv": b""}), "empty.csv"))
    assert (response.status_code, response.data) == (200, b"")


# --- When the store fails -----------------------------------------------------------------------------------------


def test_a_file_that_goes_before_its_first_byte_is_a_problem(client: FlaskClient, world: World) -> None:
    found = world.succeeded()
    world.blobs.hook = FailNext("blobs.read", BlobNotFoundError("/secret/path is gone"))
    response = client.get(href(found))
    assert (response.status_code, response.get_json()["code"]) == (410, "BLOB_NOT_FOUND")
    assert "secret" not in response.text


def test_a_file_that_goes_in_the_middle_breaks_off(world: World) -> None:
    found = world.succeeded(files={"big.h5ad": b"x" * (CHUNK_BYTES + 1)})
    file = world.service.open_file(found, "big.h5ad")
    chunks = world.data.stream(file, ByteRange(0, file.info.size_bytes))
    next(chunks)
    world.blobs.objects.clear()
    with pytest.raises(BlobNotFoundError):
        next(chunks)


def test_a_file_shorter_than_its_size_is_never_taken_for_whole(world: World) -> None:
    file = world.service.open_file(world.succeeded(), "annotated.h5ad")
    with pytest.raises(CorruptBlobError):
        list(world.data.stream(file, ByteRange(0, len(DATA) + 1)))


def test_a_file_comes_in_chunks_of_bounded_size(world: World) -> None:
    data = bytes(range(251)) * (2 * CHUNK_BYTES // 251) + b"end"
    file = world.service.open_file(world.succeeded(files={"big.h5ad": data}), "big.h5ad")
    chunks = list(world.data.stream(file, ByteRange(0, len(data))))
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= CHUNK_BYTES


def served(size_bytes: int, headers: dict[str, str]) -> Response:
    info = BlobInfo(ObjectRef("results", "x/1/a.h5ad", 5), size_bytes, None, START)
    request = Request(EnvironBuilder(headers=list(headers.items())).get_environ())
    return file_response(request, ResultFile("a.h5ad", info), empty_stream)


def empty_stream(_: ResultFile, __: ByteRange) -> Iterator[bytes]:
    return iter(())


def test_a_large_file_goes_out_in_chunks_as_cloud_run_wants_it() -> None:
    assert served(MAX_SIZED_BODY_BYTES, {}).content_length == MAX_SIZED_BODY_BYTES
    assert served(MAX_SIZED_BODY_BYTES + 1, {}).content_length is None


@given(size_bytes=st.integers(1, 10**13), first=st.integers(0, 2 * 10**13), last=st.integers(0, 2 * 10**13))
def test_a_range_lies_in_the_file_or_is_refused(size_bytes: int, first: int, last: int) -> None:
    headers = {"Range": f"bytes={first}-{last}"}
    if first >= size_bytes and first <= last:
        with pytest.raises(RequestedRangeNotSatisfiable):
            served(size_bytes, headers)
        return
    response = served(size_bytes, headers)
    if first > last or (first == 0 and last >= size_bytes - 1):
        assert response.status_code == 200
    else:
        assert response.headers["Content-Range"] == f"bytes {first}-{min(last, size_bytes - 1)}/{size_bytes}"
