"""The images' files, as far as they can be judged without building: what goes in, who runs it, what is left out."""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.h5ad.read.filters import PLUGINS
from tests.images.locks import ROOT

DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
EVERY = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)


def instructions(path: Path) -> list[tuple[str, str]]:
    """Name and argument of every instruction, comments gone and lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def test_there_are_three_images() -> None:
    assert {path.stem for path in DOCKERFILES} == {"functions", "pytorch", "pytorch-cuda"}


@EVERY
def test_an_image_runs_as_a_user_by_number_and_not_as_root(path: Path) -> None:
    users = [rest for name, rest in instructions(path) if name == "USER"]
    assert [re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) is not None for user in users] == [True]


@EVERY
def test_nothing_comes_from_elsewhere_but_the_base_and_what_is_locked(path: Path) -> None:
    found = instructions(path)
    assert "ADD" not in {name for name, _ in found}
    assert [rest.split()[0] for name, rest in found if name == "FROM"] == ["${BASE}", "${BASE}"]
    runs = " && ".join(rest for name, rest in found if name == "RUN")
    assert "latest" not in path.read_text()
    assert not re.search(r"\b(curl|wget|git)\b|https?://", runs)
    for command in re.findall(r"\bpip [^&]* install [^&]*", runs):
        assert "--no-deps" in command
        assert ("--require-hashes" in command) != ("--editable ." in command)


@EVERY
def test_the_last_stage_only_takes_over_what_the_first_has_made(path: Path) -> None:
    found = instructions(path)
    last = found[max(index for index, (name, _) in enumerate(found) if name == "FROM") :]
    assert [rest for name, rest in last if name == "COPY" and not rest.startswith("--from=build ")] == []
    assert not any(re.search(r"\bpip |apt-get", rest) for name, rest in last if name == "RUN")


@EVERY
def test_an_image_is_labelled(path: Path) -> None:
    labels = " ".join(rest for name, rest in instructions(path) if name == "LABEL")
    for label in ("title", "description", "licenses", "source", "revision", "version", "base.name"):
        assert f"org.opencontainers.image.{label}=" in labels


def sent_to_a_build() -> Iterator[str]:
    """The files of this repository that .dockerignore lets through, by the rules of its lines."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in [
        *listed.splitlines(),
        ".git/config",
        ".env",
        "shared/.env",
        "shared/data/h5ad/a.h5ad",
        "a/__pycache__/b.pyc",
    ]:
        kept = True
        for rule in rules:
            pattern = rule.removeprefix("!")
            if any(_fits(part, pattern) for part in _and_parents(name)):
                kept = rule.startswith("!")
        if kept:
            yield name


def _and_parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.rpartition("/")[2], pattern.removeprefix("**/"))
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def test_only_code_goes_into_a_build() -> None:
    sent = set(sent_to_a_build())
    assert {name.partition("/")[0] for name in sent} == {
        *("pyproject.toml", "README.md", "docker", "cli", "functions", "jobs", "shared", "tools"),
    }
    assert [name for name in sent if name.startswith("tools/")] == ["tools/build-native"]
    assert {"docker/functions.lock", "shared/h5ad/read/filters.py", "functions/status/assets/page.css"} <= sent
    assert [name for name in sent if name.endswith((".env", ".h5ad", ".pyc", ".so"))] == []


def test_the_filters_that_are_kept_are_those_that_a_file_may_use() -> None:
    script = (ROOT / "docker" / "prune").read_text()
    kept = re.search(r"^\s+((?:\w+\.so(?: \| )?)+)\) ;;$", script, re.MULTILINE)
    assert kept is not None
    names = sorted(PLUGINS.values())
    assert [name.removesuffix(".so") for name in kept[1].split(" | ")] == names
    assert f'built="{", ".join(repr(name) for name in names)}"' in script


# --- The scripts ---


def run(script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(
        [ROOT / "docker" / script, *arguments], env=env, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("arguments", [(), ("nothing",), ("ingest", "dispatch"), ("--help",)])
def test_serve_wants_one_of_four(arguments: tuple[str, ...]) -> None:
    done = run("serve", *arguments)
    assert done.returncode == 64
    assert "expected one of: ingest dispatch status reconcile" in done.stderr


@pytest.mark.parametrize("name", ["ingest", "dispatch", "status", "reconcile"])
def test_serve_starts_the_function_that_it_is_told(name: str, tmp_path: Path) -> None:
    framework = tmp_path / "functions-framework"
    framework.write_text('#!/bin/sh\necho "$@"\n')
    framework.chmod(0o755)
    done = run("serve", name, PATH=f"{tmp_path}:{os.environ['PATH']}", PORT="1234")
    assert done.stdout.split() == [
        *("--target", name, "--source", f"/app/functions/{name}/main.py", "--signature-type", "http"),
        *("--host", "0.0.0.0", "--port", "1234"),
    ]
    assert (ROOT / "functions" / name / "main.py").is_file()


@pytest.mark.parametrize(
    ("types", "names"),
    [
        ("standard", ["celldrop-functions", "celldrop-inference"]),
        ("cuda", ["celldrop-inference-cuda"]),
        ("both", ["celldrop-functions", "celldrop-inference", "celldrop-inference-cuda"]),
    ],
)
def test_build_makes_the_images_of_a_type_and_pushes_them_where_it_is_told(types: str, names: list[str]) -> None:
    built = run("build", types, "v1", BUILD="echo build", PUSH="echo push")
    assert re.findall(r"-t (\S+)", built.stdout) == [f"{name}:v1" for name in names]
    assert "push" not in built.stdout
    pushed = run("build", types, "v1", "example.test/repo", BUILD="echo build", PUSH="echo push")
    sent = re.findall(r"^push (\S+)$", pushed.stdout, re.MULTILINE)
    assert sent == [f"example.test/repo/{name}:v1" for name in names]


def test_build_hands_on_the_base_and_the_source() -> None:
    base = "docker.io/library/python:3.11-slim@sha256:" + "0" * 64
    done = run("build", "cuda", "v1", BUILD="echo", BASE=base, SOURCE="https://example.test/celldrop")
    assert f"--build-arg BASE={base}" in done.stdout
    assert "--build-arg SOURCE=https://example.test/celldrop" in done.stdout
    assert re.search(r"--build-arg REVISION=([0-9a-f]{40}|unknown) --build-arg VERSION=\d", done.stdout)


@pytest.mark.parametrize("arguments", [(), ("standard",), ("all", "v1"), ("cuda", "v1", "repo", "more")])
def test_build_refuses_what_it_does_not_know(arguments: tuple[str, ...]) -> None:
    done = run("build", *arguments, BUILD="echo built", PUSH="echo pushed")
    assert (done.returncode, done.stdout) == (64, "")
    assert "expected: standard|cuda|both TAG [REPOSITORY]" in done.stderr
