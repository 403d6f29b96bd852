"""Google's clients for the stores: for the real services, or for an emulator if its variable is set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from google.auth.exceptions import DefaultCredentialsError

from shared.domain.errors import SettingsError, UnavailableError

if TYPE_CHECKING:
    from google.cloud.firestore import Client as FirestoreClient
    from google.cloud.storage import Client as StorageClient  # type: ignore[import-untyped]  # ships no types

ON_CLOUD_RUN = ("K_SERVICE", "CLOUD_RUN_JOB")
"""Environment variables that Cloud Run sets: the first for services and functions, the second for jobs."""

CONNECTIONS = 32
"""The size of the connection pool to Cloud Storage. The client's own 10 are too few for two readers, and it warns."""


def default_project() -> str:
    """The project that the credentials of this environment belong to.

    Raises:
        SettingsError: No credentials, or none that name a project.
        UnavailableError: The metadata server does not answer.
    """
    from google.auth import default  # noqa: PLC0415  # looks at files, and asks the metadata server

    try:
        project: str | None = default()[1]
    except DefaultCredentialsError as error:
        raise no_credentials(error) from error
    if not project and _is_attached():
        raise UnavailableError(
            "the metadata server does not name the project", hint="Try again, or set CELLDROP_PROJECT."
        )
    if not project:
        raise SettingsError("the credentials name no project", hint="Set CELLDROP_PROJECT.")
    return project


def storage_client(project: str) -> StorageClient:
    """Make a client of Cloud Storage, or of an emulator if STORAGE_EMULATOR_HOST (with scheme) is set.

    Raises:
        SettingsError: No credentials.
        UnavailableError: The metadata server does not answer.
    """
    from google.cloud.storage import Client  # noqa: PLC0415  # half a second; whoever keeps no objects is spared it
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    try:
        client = Client(project=project)
    except DefaultCredentialsError as error:
        raise no_credentials(error) from error
    # There is no public way to either.
    client._http.mount("https://", HTTPAdapter(pool_maxsize=CONNECTIONS))  # noqa: SLF001
    # For tracing, the client requests every bucket's metadata in a thread (since 3.17). We do not use traces, and our
    # accounts lack the permission (storage.buckets.get).
    client._bucket_metadata_cache = None  # noqa: SLF001
    return client


def firestore_client(project: str, database: str) -> FirestoreClient:
    """Make a client of one Firestore database, or of an emulator if FIRESTORE_EMULATOR_HOST is set.

    Raises:
        SettingsError: No credentials.
        UnavailableError: The metadata server does not answer.
    """
    from google.cloud.firestore import Client  # noqa: PLC0415  # as above

    try:
        return Client(project=project, database=database)
    except DefaultCredentialsError as error:
        raise no_credentials(error) from error


def no_credentials(error: DefaultCredentialsError) -> SettingsError | UnavailableError:
    """The error to raise if Google's libraries find no credentials.

    On Cloud Run there is always a service account. If it cannot be found, the metadata server has failed.
    """
    where = str(error).split("\n", maxsplit=1)[0]
    if _is_attached():
        return UnavailableError("the metadata server does not answer", where=where, hint="Try again.")
    return SettingsError(
        "there are no Google credentials in this environment",
        hint="Run `gcloud auth application-default login`, or run where a service account is attached.",
        where=where,
    )


def _is_attached() -> bool:
    """Whether Cloud Run attaches a service account, which only the metadata server can describe."""
    on_cloud_run = any(name in os.environ for name in ON_CLOUD_RUN)
    return on_cloud_run and "GOOGLE_APPLICATION_CREDENTIALS" not in os.environ
