"""The deployed function: built from settings alone, light to start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import functions_framework
import pytest

from functions.status.dependencies import status_service

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
    app = functions_framework.create_app(  # type: ignore[no-untyped-call]  # the framework has no types
        target="status", source=str(MAIN)
    )
    with app.test_client() as client:
        assert client.get("/v1/submissions").get_json() == {"schema_version": 1, "submissions": [], "more": False}
        assert client.get("/v1/submissions/" + "0" * 32).status_code == 404
    status_service.cache_clear()


def test_the_door_is_thin() -> None:
    assert len(MAIN.read_text().splitlines()) <= 40
