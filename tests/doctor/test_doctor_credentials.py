"""Whose credentials these are is told with nothing that is secret, and whether a token can be had for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.auth.compute_engine import Credentials
from google.auth.exceptions import DefaultCredentialsError
from typing_extensions import override

from shared.adapters.gcp.clients import default_project
from shared.adapters.gcp.survey import CloudSurvey
from shared.adapters.gcp.survey_caller import look_at_caller
from shared.domain.errors import CelldropError, SettingsError, UnavailableError
from shared.ports.survey import Caller, Silence, Untold
from tests.cloud.local_cloud_programs import free_port
from tests.doctor.metadata import MetadataServer
from tests.loopback import serving_in_a_thread

ROBOT = "doctor@lab-7.iam.gserviceaccount.com"
TOKEN: dict[str, object] = {"access_token": "ya29.very-secret", "expires_in": 3600, "token_type": "Bearer"}
REFUSAL: dict[str, object] = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}

Answering = Callable[[int, dict[str, object]], str]


class _Tokens(HTTPServer):
    answer: tuple[int, dict[str, object]] = (500, {})


class _Handler(BaseHTTPRequestHandler):
    server: _Tokens

    def do_POST(self) -> None:
        status, body = self.server.answer
        content = json.dumps(body).encode()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def tokens() -> Iterator[Answering]:
    """A token service that answers as told; gives its address."""
    with serving_in_a_thread(_Tokens(("127.0.0.1", 0), _Handler)) as server:

        def answering(status: int, body: dict[str, object]) -> str:
            server.answer = (status, body)
            return f"http://127.0.0.1:{server.server_port}/token"

        yield answering


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def key_file(private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def write(token_uri: str) -> None:
        key = {
            "type": "service_account",
            "project_id": "lab-7",
            "private_key_id": "1",
            "private_key": private_key,
            "client_email": ROBOT,
            "token_uri": token_uri,
        }
        (tmp_path / "key.json").write_text(json.dumps(key))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))

    return write


def test_a_key_file_that_holds_is_told_by_its_address(tokens: Answering, key_file: Callable[[str], None]) -> None:
    key_file(tokens(200, TOKEN))
    assert look_at_caller() == Caller("a service account's key file", ROBOT, project="lab-7")


def test_a_key_that_was_taken_away_is_told(tokens: Answering, key_file: Callable[[str], None]) -> None:
    key_file(tokens(400, REFUSAL))
    caller = look_at_caller()
    assert (caller.email, caller.trouble) == (ROBOT, Silence.DENIED)


def test_a_token_service_that_is_not_there_says_nothing_against_the_key(key_file: Callable[[str], None]) -> None:
    key_file(f"http://127.0.0.1:{free_port()}/token")
    assert look_at_caller().trouble is Silence.UNREACHABLE


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_trouble_with_the_metadata_server_says_nothing_against_the_account(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _seconds: None)
    monkeypatch.setattr("google.auth.transport.requests.Request", lambda: MetadataServer(status))
    monkeypatch.setattr("google.auth.default", lambda **_how: (Credentials(), "lab-7"))
    caller = look_at_caller()
    assert (caller.kind, caller.trouble) == ("the attached service account", Silence.UNREACHABLE)


@pytest.mark.parametrize(("variable", "why"), [("K_SERVICE", Silence.UNREACHABLE), ("NOT_CLOUD_RUN", Silence.NOT_SET)])
def test_credentials_that_are_not_found_are_expected_on_cloud_run(
    variable: str, why: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(**_how: object) -> None:
        raise DefaultCredentialsError("no metadata")

    monkeypatch.setattr("google.auth.default", nothing)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv(variable, "doctor")
    found = CloudSurvey("lab-7", "europe-west1", "(default)").caller()
    assert isinstance(found, Untold)
    assert found.why is why


@pytest.mark.parametrize(("variable", "meant"), [("K_SERVICE", UnavailableError), ("NOT_CLOUD_RUN", SettingsError)])
def test_a_project_that_is_not_named_is_expected_on_cloud_run(
    variable: str, meant: type[CelldropError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("google.auth.default", lambda: (Credentials(), None))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv(variable, "ingest")
    with pytest.raises(meant):
        default_project()


def test_nothing_secret_is_told(tokens: Answering, key_file: Callable[[str], None], private_key: str) -> None:
    key_file(tokens(200, TOKEN))
    told = repr(look_at_caller())
    assert "ya29" not in told
    assert private_key.splitlines()[1] not in told


def test_a_person_is_told_as_one_with_what_is_billed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login = {
        "type": "authorized_user",
        "client_id": "x",
        "client_secret": "hunter2",
        "refresh_token": "1//secret",
        "quota_project_id": "lab-7",
    }
    (tmp_path / "login.json").write_text(json.dumps(login))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "login.json"))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")  # Nobody out there is asked.
    caller = look_at_caller()
    assert (caller.is_user, caller.quota_project) == (True, "lab-7")
    assert "secret" not in repr(caller)
