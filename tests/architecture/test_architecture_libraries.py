"""Each package uses the libraries that it is listed with, and no others; one that is not listed uses none."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("functions", "jobs", "shared", "cli")
CLOUD = ("google.cloud.firestore", "google.cloud.firestore_admin_v1", "google.cloud.run_v2", "google.cloud.storage")
LIBRARIES = {
    "cli": {"anndata", "rich", "typer", "typing_extensions", "werkzeug"},
    "functions.dispatch": {"flask", "functions_framework"},
    "functions.ingest": {"flask", "functions_framework", "pydantic"},
    "functions.reconcile": {"flask", "functions_framework"},
    "functions.status": {"functions_framework", "jinja2", "pydantic", "werkzeug"},
    "jobs.engine": {"numpy", "torch"},
    "jobs.engine.kinds": {"torch"},
    "jobs.inference": {"google_crc32c", "pydantic", "pydantic_settings"},
    "jobs.inference.annotated": {"h5py", "numpy", "pyarrow"},
    "jobs.inference.merge": {"graspologic_native", "numpy", "pyarrow", "threadpoolctl"},
    "jobs.inference.outputs": {"numpy", "pyarrow", "pydantic"},
    "jobs.inference.parts": {"google_crc32c", "numpy", "pyarrow"},
    "jobs.inference.report": {"jinja2", "numpy", "sklearn", "threadpoolctl", "typing_extensions"},
    "jobs.inference.task": {"h5py", "numpy", "pyarrow", "safetensors", "torch"},
    "jobs.modeling": {"h5py", "numpy", "pydantic", "requests", "safetensors", "scipy", "torch"},
    "jobs.modeling.kinds": {"numpy", "sklearn", "torch"},
    "shared": {"pydantic", "pydantic_settings"},
    "shared.access": {"cachecontrol", "google.auth", "google.oauth2", "pydantic", "pydantic_core", "requests"},
    "shared.adapters.gcp": {
        *CLOUD,
        "google.api_core",
        "google.auth",
        "google.protobuf",
        "google.pubsub_v1",
        "google_crc32c",
        "requests",
        "typing_extensions",
    },
    "shared.adapters.local": {"google_crc32c", "typing_extensions"},
    "shared.bundles": {"pydantic"},
    "shared.h5ad.inspect": {"h5py", "numpy", "pydantic"},
    "shared.h5ad.read": {"deflate", "h5py", "hdf5plugin", "numpy"},
    "shared.h5ad.values": {"numpy"},
    "shared.records": {"pydantic"},
}
OURS = {*PACKAGES, "_typeshed"}


def test_a_package_uses_the_libraries_it_is_listed_with() -> None:
    used: dict[str, set[str]] = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        found = set(_libraries(path))
        if found:
            used.setdefault(".".join(path.relative_to(ROOT).parts[:-1]), set()).update(found)
    assert used == LIBRARIES


def _libraries(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        for name in names:
            parts = name.split(".")
            if parts[0] not in sys.stdlib_module_names and parts[0] not in OURS:
                yield ".".join(parts[: _depth(parts)])


def _depth(parts: list[str]) -> int:
    """Google's packages share a namespace."""
    if parts[0] != "google":
        return 1
    return 3 if parts[1] == "cloud" else 2
