"""Answers of the Cloud Run API that are errors, as it words them."""

from __future__ import annotations

from http import HTTPStatus


class RefusedError(Exception):
    """An answer that is an error, as the API words it.

    Args:
        status: The HTTP status.
        code: The name of the canonical code.
    """

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def body(self) -> dict[str, object]:
        """The JSON of the answer."""
        return {"error": {"code": int(self.status), "message": str(self), "status": self.code}}


def invalid(message: str) -> RefusedError:
    """A request that the API will never take."""
    return RefusedError(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT", message)


def not_found(name: str) -> RefusedError:
    """A resource that is not there."""
    return RefusedError(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"Resource '{name}' was not found.")


def not_now(message: str) -> RefusedError:
    """A request that the resource is in no state for."""
    return RefusedError(HTTPStatus.BAD_REQUEST, "FAILED_PRECONDITION", message)


def changed(name: str) -> RefusedError:
    """A request for another version of a resource than there is: https://google.aip.dev/154."""
    return RefusedError(HTTPStatus.CONFLICT, "ABORTED", f"The etag is not that of '{name}'.")
