"""miniwdl as a command: the engine that can be had here, over the podman of ../shared/tools/images-offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.images.containers import TOOLS
from tests.images.locks import ROOT

WORKFLOW = ROOT / "deploy" / "cromwell" / "celldrop.wdl"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a workflow ended.

    Attributes:
        answer: The outputs, or what failed.
        log: What miniwdl said, the tasks' standard error included.
    """

    status: int
    answer: dict[str, Any]
    log: str

    def output(self, name: str) -> Path | None:
        """A file that the workflow gave, if it did."""
        path = self.answer["outputs"][f"celldrop.{name}"]
        return Path(path) if path else None


def check(workflow: Path) -> subprocess.CompletedProcess[str]:
    """Parse a workflow and find fault with it; its commands too, where shellcheck is installed."""
    return _miniwdl("check", "--strict", str(workflow))


def run(folder: Path, inputs: Mapping[str, object]) -> Ran:
    """Run the workflow in a new folder, with the inference image's own user in the containers."""
    given = folder / "inputs.json"
    given.write_text(json.dumps({f"celldrop.{name}": value for name, value in inputs.items()}))
    # `--dir X/.` is X itself, not a dated folder in it.
    done = _miniwdl(
        "run", str(WORKFLOW), "--input", str(given), "--dir", f"{folder}/ran/.", "--error-json", "--verbose"
    )
    return Ran(done.returncode, json.loads(done.stdout), done.stderr)


def _miniwdl(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MINIWDL__SCHEDULER__CONTAINER_BACKEND": "podman",
        "MINIWDL__PODMAN__EXE": json.dumps([str(TOOLS / "podman-local")]),
    }
    argv = [sys.executable, "-m", "WDL", *arguments]
    # Cromwell lets everybody write in a task's folder, for images whose user is not root; here the umask does.
    return subprocess.run(argv, env=env, umask=0, capture_output=True, text=True, check=False)
