"""What the images install is what pyproject.toml asks for, in the versions that were tested, each by its hash."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.images.locks import ROOT, constraints, needed, read_lock

FUNCTIONS = (("functions",), ("functions", "gcp"))
PYTORCH = (("pytorch", "torch-cpu"), ("inference", "gcp", "cli"))
CUDA = (("pytorch-cuda",), ("inference", "gcp", "cli"))
IMAGES = pytest.mark.parametrize(("files", "extras"), [FUNCTIONS, PYTORCH, CUDA], ids=["functions", "pytorch", "cuda"])


@IMAGES
def test_all_that_the_extras_ask_for_is_locked(files: tuple[str, ...], extras: tuple[str, ...]) -> None:
    lock = read_lock(*files)
    for requirement in needed(*extras):
        assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)].version), requirement


@IMAGES
def test_every_entry_has_its_hashes(files: tuple[str, ...], extras: tuple[str, ...]) -> None:
    lock = read_lock(*files)
    assert len(lock) > len(needed(*extras))
    assert [name for name, entry in lock.items() if not entry.n_hashes] == []
    for file in files:
        lines = (ROOT / "docker" / f"{file}.lock").read_text().splitlines()
        assert [
            line for line in lines if not line.strip().startswith(("#", "--hash=sha256:")) and "==" not in line
        ] == []


@IMAGES
def test_the_versions_are_those_that_the_tests_run_with(files: tuple[str, ...], extras: tuple[str, ...]) -> None:
    tested = constraints()
    lock = read_lock(*files)
    assert {
        name: entry.version for name, entry in lock.items() if tested.get(name, entry.version) != entry.version
    } == {}
    assert sum(name in tested for name in lock) > len(needed(*extras))


@IMAGES
def test_what_a_locked_package_needs_is_locked_too(files: tuple[str, ...], extras: tuple[str, ...]) -> None:
    lock = read_lock(*files)
    assert extras
    for name, entry in lock.items():
        for requirement in _needs(name, entry.version):
            assert canonicalize_name(requirement.name) in lock, f"{name} needs {requirement}"


def _needs(name: str, version: Version) -> list[Requirement]:
    """By the metadata of what is installed here, if it is the same version; the build asks pip about all of them."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return []
    if Version(found.version) != version:
        return []
    requirements = [Requirement(line) for line in found.requires or ()]
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]


def test_the_functions_have_no_torch_and_nothing_of_its_kind() -> None:
    assert read_lock("functions").keys() & {"torch", "pyarrow", "scipy", "scikit-learn", "anndata", "pandas"} == set()


def test_the_cpu_image_has_nothing_for_a_gpu() -> None:
    lock = read_lock("pytorch", "torch-cpu")
    assert lock["torch"].version.local == "cpu"
    assert [name for name in lock if name.startswith(("nvidia-", "cuda-", "triton"))] == []


def test_the_gpu_image_is_for_cuda_12_throughout() -> None:
    lock = read_lock("pytorch-cuda")
    assert lock["torch"].version.release[:2] == (2, 10)
    nvidia = [name for name in lock if name.startswith("nvidia-")]
    assert len(nvidia) > 10
    assert [name for name in nvidia if not name.endswith("-cu12")] == []
    assert lock["nvidia-cuda-runtime-cu12"].version.major == 12


def test_no_lock_names_a_place_to_fetch_from() -> None:
    for path in (ROOT / "docker").glob("*.lock"):
        assert "://" not in path.read_text()
        assert "--find-links" not in path.read_text()
