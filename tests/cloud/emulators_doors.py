"""Ways into an emulator: through our own clients, and past them."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest
from google.cloud.firestore import Client as FirestoreClient
from google.cloud.storage import Client as StorageClient  # type: ignore[import-untyped]  # it ships no types

from shared.adapters.gcp.clients import firestore_client, storage_client
from tests.cloud.emulators import FIRESTORE_VARIABLE, STORAGE_VARIABLE

PROJECT = "celldrop-test"


@contextmanager
def firestore_at(host: str, project: str) -> Iterator[FirestoreClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FIRESTORE_VARIABLE, host)
        client = firestore_client(project, "(default)")
    yield client
    client.close()


@dataclass(frozen=True, slots=True)
class StorageDoor:
    """A Cloud Storage, or what passes for one, and the back door to it."""

    url: str

    @contextmanager
    def client(self) -> Iterator[StorageClient]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(STORAGE_VARIABLE, self.url)
            client = storage_client(PROJECT)
        with client:
            yield client

    def new_bucket(self) -> str:
        name = f"celldrop-{uuid4().hex}"
        self.ask("POST", f"/storage/v1/b?project={PROJECT}", json.dumps({"name": name}).encode(), "application/json")
        return name

    def get(self, bucket: str, name: str) -> bytes | None:
        """An object's bytes."""
        status, body = self.ask("GET", f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media")
        return body if status == 200 else None

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Make an object."""
        query = urllib.parse.urlencode({"uploadType": "media", "name": name})
        status, body = self.ask("POST", f"/upload/storage/v1/b/{bucket}/o?{query}", data, "application/octet-stream")
        assert status == 200, body

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
        headers = {"Content-Type": kind} if kind else {}
        request = urllib.request.Request(f"{self.url}{path}", body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
