"""HTTP responses: JSON, pages, problems and files, each with its security headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from itertools import chain
from typing import Final
from urllib.parse import quote

from pydantic import BaseModel
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Request, Response

from functions.status.data_manager import ResultFile
from functions.status.schemas import Problem
from shared.domain.outputs import REPORT
from shared.ports.blobs import ByteRange

NO_CONTENT_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY: Final = (
    # Sandboxed into an origin of its own. If a label ever got past the report's escaping, its script could not call
    # this server or any other. The report's own script and styles are inline.
    "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads; default-src 'none'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": NO_CONTENT_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not no-referrer: browsers would then send "Origin: null" with the page's own form.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

MAX_SIZED_BODY_BYTES: Final = 30 * 2**20
"""A larger body is sent in chunks, without Content-Length: Cloud Run limits other responses to 32 MiB (quotas)."""

RETRY_AFTER_S: Final = 5

_TYPES: Final[Mapping[str, str]] = {
    ".csv": "text/csv; charset=utf-8",
    ".gz": "application/gzip",
    ".h5ad": "application/x-hdf5",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
}


def secured(response: Response) -> Response:
    """Add every security header that the response does not set itself."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def json_response(view: BaseModel) -> Response:
    """Send a view as JSON."""
    return Response(view.model_dump_json(), mimetype="application/json")


def page_response(html: str, status: int = HTTPStatus.OK) -> Response:
    """Send a web page."""
    headers = {"Content-Security-Policy": PAGE_POLICY, "Vary": "Accept"}
    return Response(html, status, headers, mimetype="text/html")


def asset_response(text: str, mimetype: str) -> Response:
    """Send the page's style sheet or script."""
    return Response(text, headers={"Cache-Control": "no-cache"}, mimetype=mimetype)


def problem_response(problem: Problem) -> Response:
    """Send a problem as ``application/problem+json``."""
    response = Response(problem.model_dump_json(), problem.status, mimetype="application/problem+json")
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def file_response(
    request: Request, file: ResultFile, stream: Callable[[ResultFile, ByteRange], Iterator[bytes]]
) -> Response:
    """Send one file of a result, or one range of it. The browser shows the report, and saves any other file.

    Raises:
        BlobNotFoundError: The file was deleted or replaced while it was read.
        RequestedRangeNotSatisfiable: The range starts after the end of the file.
    """
    response = Response(headers=_file_headers(file))
    response.set_etag(str(file.info.ref.generation))
    if request.if_none_match.contains(str(file.info.ref.generation)):
        response.status_code = HTTPStatus.NOT_MODIFIED
        return response
    span = _span_of(request, file)
    if span.length != file.info.size_bytes:
        response.status_code = HTTPStatus.PARTIAL_CONTENT
        last = span.offset + span.length - 1
        response.headers["Content-Range"] = f"bytes {span.offset}-{last}/{file.info.size_bytes}"
    if span.length <= MAX_SIZED_BODY_BYTES or request.method == "HEAD":
        response.content_length = span.length
    if request.method != "HEAD":
        response.response = _started(stream(file, span))
    return response


def _file_headers(file: ResultFile) -> dict[str, str]:
    shown = file.name == REPORT.name
    suffix = "." + file.name.rpartition(".")[2]
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": _disposition("inline" if shown else "attachment", file.name.rpartition("/")[2]),
        "Content-Security-Policy": REPORT_POLICY if shown else NO_CONTENT_POLICY,
        "Content-Type": _TYPES.get(suffix, "application/octet-stream"),
        # Browsers do not show a sandboxed document that asks for a browsing context group of its own.
        "Cross-Origin-Opener-Policy": "unsafe-none" if shown else "same-origin",
    }


def _disposition(kind: str, name: str) -> str:
    if re.fullmatch("[A-Za-z0-9._-]+", name):
        return f"{kind}; filename={name}"
    return f"{kind}; filename*=UTF-8''{quote(name, safe='')}"


def _span_of(request: Request, file: ResultFile) -> ByteRange:
    """The requested range, if the request has a single one and the file has not changed; otherwise the whole file."""
    size, requested = file.info.size_bytes, request.range
    current = request.if_range.etag in {None, str(file.info.ref.generation)} and request.if_range.date is None
    if requested is None or requested.units != "bytes" or len(requested.ranges) != 1 or not current:
        return ByteRange(0, size)
    found = requested.range_for_length(size)
    if found is None:
        raise RequestedRangeNotSatisfiable(size)
    return ByteRange(found[0], found[1] - found[0])


def _started(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Read the first chunk now: an error at once can still become a problem response, as no header is sent yet."""
    return chain([next(chunks, b"")], chunks)
