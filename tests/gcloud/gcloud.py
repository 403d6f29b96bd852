"""The real gcloud: what it says of a command, and a command of it led to an emulator."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.cloud.pubsub_emulator import EmulatorMissingError, sdk_root
from tests.cloud.pubsub_session import INSISTING

PARSER = Path(__file__).with_name("gcloud_arguments.py")
_INNER = re.compile(r"\$\((gcloud (?:[^()]|\([^()]*\))*)\)")


def gcloud_root() -> Path:
    """Where the SDK lies; a test that needs it is skipped without, but not in CI."""
    try:
        return sdk_root()
    except EmulatorMissingError as error:
        if any(name in os.environ for name in INSISTING):
            pytest.fail(str(error))
        pytest.skip(str(error))


def commands_in(line: str) -> list[str]:
    """The gcloud command of a line, and those that stand in its words."""
    return [line, *_INNER.findall(line)]


def refusals(lines: Iterable[str], folder: Path) -> dict[str, str]:
    """What gcloud's own parser says against commands, by command."""
    root = gcloud_root()
    commands = sorted({command for line in lines for command in commands_in(line)})
    bundled = root / "platform" / "bundledpythonunix" / "bin" / "python3"
    python = str(bundled) if bundled.exists() else str(shutil.which("python3"))
    done = subprocess.run(
        [python, "-E", str(PARSER), str(root)],
        input=json.dumps([shlex.split(command)[1:] for command in commands]),
        env={**os.environ, "CLOUDSDK_CONFIG": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    said: list[str] = json.loads(done.stdout.splitlines()[-1])
    return {command: words for command, words in zip(commands, said, strict=True) if words}


def run_led_elsewhere(line: str, folder: Path, endpoints: Mapping[str, str]) -> None:
    """Run a command against emulators, without credentials.

    Args:
        endpoints: The address of each API, by the name that gcloud has for it.
    """
    led = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": url for api, url in endpoints.items()}
    quiet = {"CLOUDSDK_CONFIG": str(folder), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    env = {**os.environ, **led, **quiet, "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}
    done = subprocess.run(["bash", "-c", line], env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
