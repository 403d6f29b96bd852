"""What every suite shares."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.platform.observed import RowSays, rows_of

# A busy machine is no fault of the code: nothing here is judged by the time it takes.
settings.register_profile("patient", deadline=None)
# Where only whether a test fails is asked: for tools/mutation.
settings.register_profile("unshrunk", deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
settings.load_profile("patient")

# A thousand processes are started here, and each would compile all of its modules where the caller keeps no bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Models that whoever runs the tests has added are none of theirs.
os.environ["XDG_DATA_HOME"] = str(Path(tempfile.gettempdir()) / "celldrop-tests-without-data")

# Several workers share few cores: a thread that waits for another sleeps instead of keeping a core busy.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Thousands of tests are collected, and all of them are kept: looking for garbage meanwhile takes a third of the time.
gc.disable()

# Whoever imports them first, and that need not be a test of theirs.
pytest.register_assert_rewrite(
    "tests.cloud.pipeline_cloud",
    "tests.cloud.pipeline_contract",
    "tests.contracts.blob_contract",
    "tests.contracts.blob_machine",
    "tests.contracts.bus_contract",
    "tests.contracts.job_contract",
    "tests.contracts.status_contract",
    "tests.contracts.status_machine",
    "tests.contracts.unreadable_contract",
)

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but not among what was collected."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def row_says(request: pytest.FixtureRequest) -> RowSays:
    """Compares an outcome with the rows of docs/reference/faults.md that the running test proves."""
    return rows_of(request.node.originalname)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real files; a test that needs it is skipped where it is absent, but not in CI."""
    if not DATA.is_dir():
        reason = f"no real files at {DATA}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return DATA
