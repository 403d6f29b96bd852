"""`celldrop run` where the disk is too small for the results: said before anything is computed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.pipeline.conftest import Celldrop


def test_a_file_whose_copy_would_not_fit_is_refused_with_what_is_free(
    celldrop: Celldrop, data_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "large.h5ad"
    small = data_dir / "h5ad" / "cas_test_adata.h5ad"
    shutil.copy(small, file)
    os.truncate(file, shutil.disk_usage(tmp_path).free + 2**30)  # It takes no room: the file system leaves holes.
    refused = celldrop("run", file, "--json", CELLDROP_MAX_INPUT_BYTES=str(2**50))
    assert (refused.status, refused.json["code"]) == (2, "DISK_FULL")
    assert "MB are free" in refused.json["message"]
    assert "--out" in refused.json["hint"]
    assert celldrop("run", small, "--json", "--set", "map=off").status == 0
