"""Inspects the credentials of this environment: their kind and owner, and whether a token can be obtained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

from shared.adapters.gcp.clients import no_credentials
from shared.adapters.gcp.errors import is_refused_login
from shared.ports.survey import Caller, Silence

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

SCOPE = "https://www.googleapis.com/auth/cloud-platform"

_KINDS = {
    "google.oauth2.credentials": "a person's, from gcloud",
    "google.oauth2.service_account": "a service account's key file",
    "google.auth.compute_engine.credentials": "the attached service account",
    "google.auth.impersonated_credentials": "an impersonated service account",
    "google.auth.identity_pool": "workload identity federation",
    "google.auth.aws": "workload identity federation",
    "google.auth.pluggable": "workload identity federation",
    "google.auth.external_account_authorized_user": "a person's, from workforce federation",
}
_OF_PEOPLE = frozenset({"google.oauth2.credentials", "google.auth.external_account_authorized_user"})


def look_at_caller() -> Caller:
    """Find the credentials, as Google's libraries do.

    Raises:
        SettingsError: There are none.
        UnavailableError: The metadata server does not answer.
    """
    from google.auth import default  # noqa: PLC0415  # looks at files, and asks the metadata server

    try:
        credentials, project = default(scopes=[SCOPE])
    except DefaultCredentialsError as error:
        raise no_credentials(error) from error
    trouble = _trouble(credentials)
    kind = type(credentials).__module__
    return Caller(
        kind=_KINDS.get(kind, type(credentials).__name__),
        email=_email(credentials),
        is_user=kind in _OF_PEOPLE,
        project=project or "",
        quota_project=credentials.quota_project_id or "",
        trouble=trouble,
    )


def _trouble(credentials: Credentials) -> Silence | None:
    """Request a token. Only this shows that the credentials are valid, and fills in an attached account's address."""
    from google.auth.transport.requests import Request  # noqa: PLC0415

    try:
        credentials.refresh(Request())
    except (GoogleAuthError, OSError) as error:
        return Silence.DENIED if is_refused_login(error) else Silence.UNREACHABLE
    return None


def _email(credentials: Credentials) -> str:
    for name in ("service_account_email", "account"):
        found = getattr(credentials, name, None)
        if isinstance(found, str) and "@" in found:
            return found
    return ""
