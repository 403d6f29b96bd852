"""Prints the digest of every source file of celldrop in an image, as JSON; read by a Python inside."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

APP = Path("/app")

if __name__ == "__main__":
    files = [path for path in APP.rglob("*") if path.is_file() and path.suffix != ".pyc" and path.parent != APP]
    digests = {str(path.relative_to(APP)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    sys.stdout.write(json.dumps(digests))
