"""The status function over fakes, behind the real functions-framework's app."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask.testing
import functions_framework
import pytest
from werkzeug.test import Client

from cli.serving import loopback_app
from tests.status.world import World

MAIN = Path(__file__).resolve().parents[2] / "functions/status/main.py"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def client(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[flask.testing.FlaskClient]:
    monkeypatch.setattr("functions.status.dependencies.status_service", lambda: world.service)
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules: dict[str, Any] = sys.modules
    monkeypatch.setitem(modules, "main", None)
    app: flask.Flask = functions_framework.create_app(target="status", source=str(MAIN))  # type: ignore[no-untyped-call]  # the framework has no types
    with app.test_client() as found:
        yield found


@pytest.fixture
def bare(world: World) -> Client:
    """The embedded server's application: no framework's router before ours."""
    return Client(loopback_app(world.service))
