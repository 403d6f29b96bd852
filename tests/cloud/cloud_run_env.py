"""What the Cloud Run API takes of a container's variables, in a template and in a start's overrides alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from google.cloud.run_v2 import EnvVar

from tests.cloud.cloud_run_refusals import invalid

MAX_VARIABLES = 1000
"""https://cloud.google.com/run/docs/configuring/jobs/environment-variables"""
MAX_VALUE_BYTES = 32 * 1024
MAX_NAME_CHARS = 32 * 1024
"""https://cloud.google.com/run/docs/reference/rest/v2/Container#EnvVar"""
RESERVED = re.compile(r"CLOUD_RUN_.*|X_GOOGLE_.*|PORT|K_.*")
"""https://cloud.google.com/run/docs/container-contract#env-vars"""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_env(field: str, env: Sequence[EnvVar]) -> None:
    """Check one container's variables.

    Raises:
        RefusedError: The API would not take them.
    """
    names = [variable.name for variable in env]
    if len(names) > MAX_VARIABLES or len(set(names)) != len(names):
        raise invalid(f"{field}: at most {MAX_VARIABLES}, each name once.")
    for variable in env:
        if not VARIABLE.fullmatch(variable.name) or len(variable.name) > MAX_NAME_CHARS:
            raise invalid(f"{field}.name: {variable.name[:100]!r} is no name of a variable.")
        if RESERVED.fullmatch(variable.name):
            raise invalid(f"{field}.name: {variable.name} is reserved.")
        if len(variable.value.encode()) > MAX_VALUE_BYTES:
            raise invalid(f"{field}.value: {variable.name} is too long.")
