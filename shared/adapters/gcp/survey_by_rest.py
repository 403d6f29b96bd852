"""Queries Google services without an installed client over REST: keys and service accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions

from shared.ports.survey import KeyFacts, project_of_account

if TYPE_CHECKING:
    from google.auth.transport.requests import AuthorizedSession

KMS = "https://cloudkms.googleapis.com"
IAM = "https://iam.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"

ENABLED = "ENABLED"
_GONE = "DESTROYED"


class ByRest:
    """Sends queries with the credentials of this environment, each once.

    Args:
        elsewhere: The URL of a stand-in, which gets no credentials; empty for Google.
        timeout_s: The time limit of one query.
    """

    def __init__(self, elsewhere: str, timeout_s: float) -> None:
        self._elsewhere = elsewhere
        self._timeout_s = timeout_s
        self._session = _session(elsewhere)

    def key(self, name: str) -> KeyFacts:
        """Read a Cloud KMS key, and its versions that cannot be used.

        Raises:
            GoogleAPICallError, GoogleAuthError, OSError: The query failed.
        """
        key = self._ask(KMS, name)
        versions = self._ask(KMS, f"{name}/cryptoKeyVersions").get("cryptoKeyVersions", ())
        primary = key.get("primary", {})
        states = {_number(one["name"]): str(one.get("state", "")) for one in versions}
        number = _number(primary.get("name", ""))
        others = {one: state for one, state in states.items() if one != number and state not in {ENABLED, _GONE}}
        return KeyFacts(number, str(primary.get("state", "")), tuple(others.items()))

    def account(self, email: str) -> bool:
        """Whether a service account is enabled.

        Raises:
            GoogleAPICallError, GoogleAuthError, OSError: The query failed.
        """
        return not self._ask(IAM, _account(email)).get("disabled", False)

    def rights_on_account(self, email: str, wanted: Sequence[str]) -> frozenset[str]:
        """Which of the given permissions the caller has on a service account.

        Raises:
            GoogleAPICallError, GoogleAuthError, OSError: The query failed.
        """
        told = self._ask(IAM, f"{_account(email)}:testIamPermissions", {"permissions": list(wanted)})
        return frozenset(told.get("permissions", ()))

    def _ask(self, service: str, path: str, body: Mapping[str, object] | None = None) -> Mapping[str, Any]:
        url = f"{self._elsewhere or service}/v1/{path}"
        answer = self._session.request("POST" if body else "GET", url, json=body, timeout=self._timeout_s)
        if not answer.ok:
            raise exceptions.from_http_response(answer)
        found: Mapping[str, Any] = answer.json()
        return found


def _session(elsewhere: str) -> AuthorizedSession:
    from google.auth import default  # noqa: PLC0415  # looks at files, and asks the metadata server
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
    from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415

    return AuthorizedSession(AnonymousCredentials() if elsewhere else default(scopes=[SCOPE])[0])


def _number(name: str) -> str:
    return name.rpartition("/")[2]


def _account(email: str) -> str:
    """The account's full name. If its address does not name the project, IAM may answer 403 for a missing account."""
    return f"projects/{project_of_account(email) or '-'}/serviceAccounts/{email}"
