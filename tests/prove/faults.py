"""Provokes every fault, one after another, and writes down what became of each: ``python -m tests.prove.faults``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.prove import faults_of_objects, faults_of_requests, faults_of_runs
from tests.prove.fault import Fault
from tests.prove.faults_of_objects import FIRST_DROP
from tests.prove.gcloud_commands import identity_token
from tests.prove.hands import SHARE, Hands, NotProvokedError, hands
from tests.prove.reached import reached

FAULTS = (*faults_of_objects.FAULTS, *faults_of_requests.FAULTS, *faults_of_runs.FAULTS)
TOKEN = "CELLDROP_SYSTEM_TOKEN"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; 0 where each became what the docs say, or could not be provoked."""
    parser = argparse.ArgumentParser(prog="python -m tests.prove.faults", description=__doc__)
    parser.add_argument("folder", type=Path, help="of a proof, whose deployment stands")
    parser.add_argument("--only", action="append", help="the name of a fault; several are allowed")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file, written anew after every fault")
    given = parser.parse_args(arguments)
    deployment = reached(given.folder)
    names = given.only or [name for name in os.environ.get(SHARE, "").split(";") if name]
    wanted = [fault for fault in (FIRST_DROP, *FAULTS) if fault.name in names] if names else list(FAULTS)
    found: list[dict[str, Any]] = []
    with hands(deployment, _token()) as own:
        for fault in wanted:
            sys.stdout.write(f"{fault.name} …\n")
            sys.stdout.flush()
            found.append(_provoked(fault, own))
            _write(given.out, found, ended=len(found) == len(wanted))
    return int(any(one["result"] in {"differs", "broken"} for one in found))


def _token() -> str:
    """An identity token of whoever is logged in."""
    return os.environ.get(TOKEN) or subprocess.check_output(identity_token().argv, text=True).strip()


def _write(out: Path, found: list[dict[str, Any]], *, ended: bool) -> None:
    out.write_text(json.dumps({"ended": ended, "faults": found}, indent=1, default=str) + "\n")


def _provoked(fault: Fault, own: Hands) -> dict[str, Any]:
    if fault.only_at_google and own.reached.local:
        return _row(fault, 0.0, "not provoked", "no stand-in on this machine has it", {})
    started = time.monotonic()
    facts: dict[str, Any] = {}
    try:
        found = fault.provoke(own)
        result, words, facts = "as documented" if found.agrees else "differs", found.words, found.facts
    except NotProvokedError as error:
        result, words = "not provoked", str(error)
    except pytest.fail.Exception as error:  # What was waited for did not come.
        result, words = "differs", f"nothing in {own.cloud.timeout_s:g} s: {str(error)[:300]}"
    except Exception as error:  # noqa: BLE001  # the others have their turn
        result, words, facts = "broken", f"{type(error).__name__}: {error}", {"where": traceback.format_exc(limit=-4)}
    return _row(fault, time.monotonic() - started, result, words, facts)


def _row(fault: Fault, seconds: float, result: str, words: str, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "fault": fault.name,
        "result": result,
        "seconds": round(seconds, 1),
        "expected": fault.expected,
        "found": words,
        "rows": list(fault.rows),
        "facts": facts,
    }


if __name__ == "__main__":
    sys.exit(main())
