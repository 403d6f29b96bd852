"""Google's clients for the stores, as the environment says: real, or an emulator's where its variable is set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from google.auth.exceptions import DefaultCredentialsError

from shared.domain.errors import SettingsError, UnavailableError

if TYPE_CHECKING:
    from google.cloud.firestore import Client as FirestoreClient
    from google.cloud.storage import Client as StorageClient  # type: ignore[import-untyped]  # ships no types

ON_CLOUD_RUN = ("K_SERVICE", "CLOUD_RUN_JOB")
"""Variables that Cloud Run sets, for services and functions, and for jobs."""

CONNECTIONS = 32
"""Kept open to Cloud Storage. The client keeps 10 and then throws away what a second reader opened, with a warning."""


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
    if not project:
        raise SettingsError("the credentials name no project", hint="Set CELLDROP_PROJECT.")
    return project


def storage_client(project: str) -> StorageClient:
    """A client of Cloud Storage; STORAGE_EMULATOR_HOST (with scheme) leads it elsewhere.

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
    # For traces that nobody collects it asks, in a thread of its own, for the metadata of every bucket: a request that
    # nobody wants, and a right (storage.buckets.get) that nobody here has (3.17; off by a variable otherwise).
    client._bucket_metadata_cache = None  # noqa: SLF001
    return client


def firestore_client(project: str, database: str) -> FirestoreClient:
    """A client of one Firestore database; FIRESTORE_EMULATOR_HOST leads it elsewhere.

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
    """What to say where Google's libraries find no credentials.

    On Cloud Run there always is a service account; that it cannot be found is trouble with the metadata server.
    """
    where = str(error).split("\n", maxsplit=1)[0]
    on_cloud_run = any(name in os.environ for name in ON_CLOUD_RUN)
    if on_cloud_run and "GOOGLE_APPLICATION_CREDENTIALS" not in os.environ:
        return UnavailableError("the metadata server does not answer", where=where, hint="Try again.")
    return SettingsError(
        "there are no Google credentials in this environment",
        hint="Run `gcloud auth application-default login`, or run where a service account is attached.",
        where=where,
    )
