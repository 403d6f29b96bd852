"""The routes of the API and the web pages, and the request handler of each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from werkzeug.exceptions import Forbidden, HTTPException, MethodNotAllowed, NotFound
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from functions.status import page
from functions.status.problems import problem_of
from functions.status.responses import (
    asset_response,
    file_response,
    json_response,
    page_response,
    problem_response,
    secured,
)
from functions.status.schemas import Health
from functions.status.services import MAX_WAIT_S, StatusService
from functions.status.views import submission_list, submission_view
from shared.access.identity import CheckCaller, anyone
from shared.domain.errors import InvalidOptionError
from shared.domain.submission import State

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

HEALTH = ("/healthz", "/health")
_ID = "(?P<submission_id>[^/:]+)"


def answer(
    service: Callable[[], StatusService], request: Request, check: Callable[[], CheckCaller] = lambda: anyone
) -> Response:
    """Handle a request. Every error becomes a problem response; nothing is raised.

    Args:
        service: Builds the service. It can fail: for a wrong setting, or while the metadata server does not answer.
        check: Builds the check of the caller. The health check and the page's own assets are open to everyone.
    """
    try:
        if request.path not in HEALTH and not request.path.startswith("/assets/"):
            check()(request.headers.get("Authorization"))
        response = _route(service(), request)
    except Exception as error:  # noqa: BLE001  # outermost handler: problem_of logs what it does not know
        response = _failed(request, error)
    return secured(response)


def _route(service: StatusService, request: Request) -> Response:
    method = "GET" if request.method == "HEAD" else request.method
    allowed = []
    for route in ROUTES:
        found = route.pattern.fullmatch(request.path)
        if found is None:
            continue
        if route.method == method:
            return route.handler(service, request, **found.groupdict())
        allowed += ["GET", "HEAD"] if route.method == "GET" else [route.method]
    raise MethodNotAllowed(valid_methods=allowed) if allowed else NotFound


def _failed(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    for_people = not request.path.startswith("/v1/") and _prefers_html(request)
    response = page_response(page.problem(problem), problem.status) if for_people else problem_response(problem)
    if isinstance(error, HTTPException):
        kept = ("Allow", "Content-Range")
        response.headers.extend((name, value) for name, value in error.get_headers(request.environ) if name in kept)
    return response


def _prefers_html(request: Request) -> bool:
    return request.accept_mimetypes.best_match(["application/problem+json", "text/html"]) == "text/html"


# --- The API ------------------------------------------------------------------------------------------------------


def _health(_: StatusService, __: Request) -> Response:
    return json_response(Health())


def _list(service: StatusService, request: Request) -> Response:
    return json_response(submission_list(service.list(_states(request), limit=_limit(request))))


def _show(service: StatusService, request: Request, submission_id: str) -> Response:
    wait_s = _wait(request)
    if wait_s is None:
        return json_response(submission_view(service.look_up(submission_id)))
    seen = request.args.get("version") or None
    return json_response(submission_view(service.watch(submission_id, seen=seen, wait_s=wait_s)))


def _cancel(service: StatusService, request: Request, submission_id: str) -> Response:
    _refuse_other_sites(request, must_say=False)
    return json_response(submission_view(service.cancel(submission_id)))


def _file(service: StatusService, request: Request, submission_id: str, name: str) -> Response:
    return file_response(request, service.open_file(submission_id, name), service.data.stream)


# --- The page -----------------------------------------------------------------------------------------------------


def _list_page(service: StatusService, request: Request) -> Response:
    shown = page.Shown.parse(request.args.get("show"))
    listing = submission_list(service.list(shown.states, limit=_limit(request)))
    return page_response(page.submissions(listing, shown))


def _show_page(service: StatusService, _: Request, submission_id: str) -> Response:
    return page_response(page.submission(submission_view(service.look_up(submission_id))))


def _cancel_page(service: StatusService, request: Request, submission_id: str) -> Response:
    _refuse_other_sites(request, must_say=True)
    cancelled = service.cancel(submission_id)
    return redirect(f"/submissions/{cancelled.record.id}", code=303)


def _asset(_: StatusService, __: Request, name: str) -> Response:
    return asset_response(page.asset(name), page.ASSETS[name])


# --- Parameters ---------------------------------------------------------------------------------------------------


def _states(request: Request) -> tuple[State, ...]:
    names = [name for text in request.args.getlist("state") for name in text.upper().split(",") if name]
    try:
        return tuple(State(name) for name in names)
    except ValueError as error:
        known = ", ".join(State)
        raise InvalidOptionError("the parameter state names an unknown state", expected=f"some of {known}") from error


def _limit(request: Request) -> int:
    text = request.args.get("limit", str(DEFAULT_LIMIT))
    if re.fullmatch("[0-9]{1,4}", text) is None or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidOptionError(
            "the parameter limit is out of range", expected=f"a whole number from 1 to {MAX_LIMIT}"
        )
    return int(text)


def _wait(request: Request) -> float | None:
    text = request.args.get("wait")
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) is None:
        raise InvalidOptionError("the parameter wait is not a number of seconds", expected=f"0 to {MAX_WAIT_S:g}")
    return float(text)


def _refuse_other_sites(request: Request, *, must_say: bool) -> None:
    """Refuse a request that a browser sends on behalf of another site's page.

    Every browser says where a POST comes from, in the header Sec-Fetch-Site or Origin. Other programs need not.

    Args:
        must_say: Also refuse a request with neither header. Our own form always sends one.

    Raises:
        Forbidden: The request comes, or could come, from another site.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is None and origin is None:
        own = not must_say
    elif site is not None:
        own = site == "same-origin"
    else:
        own = origin in {f"https://{request.host}", f"http://{request.host}"}
    if not own:
        raise Forbidden


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint: its method, the pattern of the whole path, and its handler, which gets the pattern's groups."""

    method: str
    pattern: re.Pattern[str]
    handler: Callable[..., Response]


def _routes(*table: tuple[str, str, Callable[..., Response]]) -> tuple[Route, ...]:
    return tuple(Route(method, re.compile(pattern, re.DOTALL), handler) for method, pattern, handler in table)


ROUTES = _routes(
    ("GET", "/", _list_page),
    ("GET", f"/submissions/{_ID}", _show_page),
    ("POST", f"/submissions/{_ID}/cancel", _cancel_page),
    ("GET", f"/assets/(?P<name>{'|'.join(map(re.escape, page.ASSETS))})", _asset),
    ("GET", "/v1/submissions", _list),
    ("GET", f"/v1/submissions/{_ID}", _show),
    ("POST", f"/v1/submissions/{_ID}:cancel", _cancel),
    ("GET", f"/v1/submissions/{_ID}/files/(?P<name>.+)", _file),
    # Cloud Run reserves /healthz for itself, so callers outside need the second name.
    *(("GET", path, _health) for path in HEALTH),
)
