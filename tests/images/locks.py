"""The lock files of the images, read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

_ENTRY = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?P<rest>(?:[ \\\n]+--hash=sha256:[0-9a-f]{64})*)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Locked:
    """One entry of a lock."""

    version: Version
    n_hashes: int


def read_lock(*names: str) -> Mapping[str, Locked]:
    """The entries of one or several files of docker/, by the normal form of the package's name."""
    text = "\n".join((ROOT / "docker" / f"{name}.lock").read_text() for name in names)
    return {
        canonicalize_name(found["name"]): Locked(Version(found["version"]), found["rest"].count("sha256:"))
        for found in _ENTRY.finditer(text)
    }


def needed(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for: the core, and these extras."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(line) for lines in lists for line in lines]


def constraints() -> Mapping[str, Version]:
    """What the tests run with."""
    lines = (ROOT / "tools" / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): Version(version) for name, version in pairs}
