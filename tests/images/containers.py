"""The images as they run: commands in containers, by the tools of ../shared/tools/images-offline."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cloud.local_cloud import Function
from tests.images.locks import ROOT

TOOLS = ROOT.parent / "shared" / "tools" / "images-offline"
SOURCES = Path(__file__).with_name("probe_sources.py")
INSISTING = "CELLDROP_REQUIRE_IMAGES"
FUNCTIONS = "celldrop-functions"
INFERENCE = "celldrop-inference"
CUDA = "celldrop-inference-cuda"
DOCKERFILES = {FUNCTIONS: "functions", INFERENCE: "pytorch", CUDA: "pytorch-cuda"}

_HANDED_ON = (
    "CELLDROP_*",
    "CLOUD_RUN_*",
    "PUBSUB_EMULATOR_HOST",
    "FIRESTORE_EMULATOR_HOST",
    "STORAGE_EMULATOR_HOST",
    "GOOGLE_CLOUD_PROJECT",
    "OMP_NUM_THREADS",
)


class Containers:
    """Containers of one test session, each with a read-only root and nothing to write in but /tmp.

    Args:
        session: A label, by which those that are left can be found.
    """

    def __init__(self, session: str) -> None:
        self._label = f"celldrop-tests={session}"
        self._used = False

    def command(self, image: str, *command: str, options: Sequence[str] = ()) -> list[str]:
        """The command that runs an image, with those variables of its caller that the pipeline knows."""
        self._used = True
        handed_on = [part for name in _HANDED_ON for part in ("--env", name)]
        fixed = ["--read-only", "--interactive", "--label", self._label, *handed_on]
        return [str(TOOLS / "run"), *fixed, *options, image, *command]

    def task(self) -> list[str]:
        """What Cloud Run runs for a task: the image as it is."""
        return self.command(INFERENCE)

    def serve(self, function: Function, port: int) -> list[str]:
        """What Cloud Run runs for a function: the image with the function's name."""
        return self.command(FUNCTIONS, function.name, options=["--env", f"PORT={port}"])

    def run(
        self, image: str, *command: str, options: Sequence[str] = (), program: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, with ``program`` as its standard input."""
        argv = self.command(image, *command, options=options)
        return subprocess.run(argv, input=program, capture_output=True, text=True, check=False)

    def python(self, image: str, program: Path) -> subprocess.CompletedProcess[str]:
        """Run a Python program of ours in an image."""
        return self.run(image, "-", options=["--entrypoint", "python"], program=program.read_text())

    def remove_all(self) -> None:
        """Remove what is left of this session, running or not; where nothing was run, no engine is needed."""
        if not self._used:
            return
        left = podman("ps", "--all", "--quiet", "--filter", f"label={self._label}").stdout.split()
        if left:
            podman("rm", "--force", "--time", "0", *left)


@contextmanager
def containers() -> Iterator[Containers]:
    """Give the containers of a session, of which nothing is left at its end."""
    made = Containers(uuid4().hex)
    try:
        yield made
    finally:
        made.remove_all()


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The engine itself, for what the tools have no command for."""
    return subprocess.run([TOOLS / "podman-local", *arguments], capture_output=True, text=True, check=False)


def require_image(image: str) -> None:
    """Skip the test where the image cannot be had or is not of this tree; fail it where the environment insists."""
    problem = _problem(image)
    if problem and os.environ.get(INSISTING):
        pytest.fail(problem)
    if problem:
        pytest.skip(problem)


@cache
def _problem(image: str) -> str:
    if not (TOOLS / "run").is_file():
        return f"no tools at {TOOLS}"
    # The tools would install it; that is for who builds images, not for who tests.
    if shutil.which("podman") is None and not os.environ.get(INSISTING):
        return "no podman"
    build = f"{TOOLS / 'build'} -f docker/{DOCKERFILES[image]}.Dockerfile -t {image} ."
    if podman("image", "exists", image).returncode != 0:
        return f"no image {image}: {build}"
    with containers() as engine:
        held = engine.python(image, SOURCES).stdout
    return "" if json.loads(held or "{}") == _sources_for(image) else f"{image} is not of this tree: {build}"


def _sources_for(image: str) -> dict[str, str]:
    """The digests of what this tree would put into it."""
    folders = ("functions", "shared") if image == FUNCTIONS else ("cli", "functions", "jobs", "shared")
    return {
        str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
