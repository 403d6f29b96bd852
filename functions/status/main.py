"""Entry point of the status function: an HTTP request in, a response out."""

from __future__ import annotations

import functions_framework
from werkzeug.wrappers import Request, Response

from functions.status.dependencies import caller_check, status_service
from functions.status.routes import answer


@functions_framework.http
def status(request: Request) -> Response:
    """Handle one request to the API or the web page."""
    return answer(status_service, request, caller_check)
