"""The deployed function: built from settings alone, light to start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeAlias

import functions_framework
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from functions.status.dependencies import status_service
from shared.access.identity import anyone, callers, google_verifier
from shared.domain.errors import SettingsError, UnavailableError
from shared.wiring.ports import deployed_settings
from tests.identity.tokens import AUDIENCE, Issuer
from tests.status.world import World

MAIN = Path(__file__).resolve().parents[2] / "functions/status/main.py"
HEAVY = (
    "torch",
    "anndata",
    "h5py",
    "pyarrow",
    "numpy",
    "google.api_core",
    "google.cloud.storage",
    "google.cloud.firestore",
)


def test_importing_the_function_loads_nothing_heavy() -> None:
    code = f"import sys, functions.status.main; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=MAIN.parents[2])
    assert done.stdout.split() == []


def test_the_function_answers_from_settings_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLDROP_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "main", sys)
    status_service.cache_clear()
    deployed_settings.cache_clear()
    app = functions_framework.create_app(  # type: ignore[no-untyped-call]  # the framework has no types
        target="status", source=str(MAIN)
    )
    with app.test_client() as client:
        assert client.get("/v1/submissions").get_json() == {"schema_version": 1, "submissions": [], "more": False}
        assert client.get("/v1/submissions/" + "0" * 32).status_code == 404
    status_service.cache_clear()
    deployed_settings.cache_clear()


def test_the_door_is_thin() -> None:
    assert len(MAIN.read_text().splitlines()) <= 40


def test_where_tokens_are_checked_only_those_named_may_look(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    issuer = Issuer()
    guard = callers(google_verifier(AUDIENCE, issuer), ["@lab.example"])
    monkeypatch.setattr("functions.status.dependencies.caller_check", lambda: guard.check)
    monkeypatch.setattr("functions.status.dependencies.status_service", lambda: world.service)
    monkeypatch.setitem(sys.modules, "main", sys)
    app = functions_framework.create_app(  # type: ignore[no-untyped-call]  # the framework has no types
        target="status", source=str(MAIN)
    )
    with app.test_client() as client:

        def look(token: str | None, path: str = "/v1/submissions") -> tuple[int, str | None]:
            answer = client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})
            return answer.status_code, (answer.get_json() or {}).get("code")

        assert look(issuer.token(email="ada@lab.example")) == (200, None)
        assert look(issuer.token(email="eve@elsewhere.example")) == (403, "NOT_ALLOWED")
        assert look(None) == (401, "NOT_AUTHENTICATED")
        assert look(None, "/healthz")[0] == 200


Look: TypeAlias = Callable[[str, str, Exception], TestResponse]

BROKEN = [
    (UnavailableError("the metadata server does not answer", where="http://169.254.169.254"), 503, "UNAVAILABLE"),
    (SettingsError("the audience is empty", where="/secret/place"), 500, "INVALID_SETTING"),
    (OSError("/secret/place is missing"), 500, "INTERNAL"),
]


@pytest.mark.parametrize(("fault", "status", "code"), BROKEN, ids=[code for _, _, code in BROKEN])
@pytest.mark.parametrize("part", ["status_service", "caller_check"])
@pytest.mark.parametrize("path", ["/v1/submissions", "/"])
def test_a_service_that_cannot_be_built_answers_as_a_problem(
    look: Look, *, path: str, part: str, fault: Exception, status: int, code: str
) -> None:
    answer = look(path, part, fault)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert (answer.get_json()["code"], "Retry-After" in answer.headers) == (code, status == 503)
    assert "169.254" not in answer.text
    assert "secret" not in answer.text


def test_a_service_that_cannot_be_built_is_not_healthy(look: Look) -> None:
    assert look("/healthz", "status_service", UnavailableError("no answer")).status_code == 503
    assert look("/healthz", "caller_check", UnavailableError("no answer")).status_code == 200


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, world: World) -> Look:
    """Makes one request to a function of which a part cannot be built."""

    def looked(path: str, part: str, fault: Exception) -> TestResponse:
        def fail() -> NoReturn:
            raise fault

        monkeypatch.setattr("functions.status.dependencies.status_service", lambda: world.service)
        monkeypatch.setattr("functions.status.dependencies.caller_check", lambda: anyone)
        monkeypatch.setattr(f"functions.status.dependencies.{part}", fail)
        monkeypatch.setitem(sys.modules, "main", sys)
        app: Flask = functions_framework.create_app("status", str(MAIN))  # type: ignore[no-untyped-call]  # likewise
        return app.test_client().get(path)

    return looked
