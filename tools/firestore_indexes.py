"""Writes deploy/firestore.indexes.json, from what the status store searches for; a test fails where it lags behind."""

from __future__ import annotations

import json
from pathlib import Path

from shared.adapters.gcp.documents import indexes

FILE = Path(__file__).resolve().parent.parent / "deploy" / "firestore.indexes.json"


def content() -> str:
    """As Terraform and the Firebase tools read it."""
    return json.dumps(indexes(), indent=2) + "\n"


def main() -> None:
    """Write the file."""
    FILE.write_text(content())
    print(FILE)


if __name__ == "__main__":
    main()
