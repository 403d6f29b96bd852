"""Stands in for gcloud, terraform and the interpreter of the later steps: writes down its words, answers as they do.

A program of its own; the scenario is a JSON file that FAKE_SCENARIO names:
``fails`` and ``hangs`` are regular expressions of command lines, ``times`` how often the first fails, ``left`` what
lists show after the tear-down.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

TOKEN = "ya29.a0-this-is-an-access-token"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl"
ACCOUNT = "someone@example.org"
STARTED, ENDED = "2026-11-29T01:00:05.000000Z", "2026-11-29T01:01:35.000000Z"


def main() -> None:
    scenario = json.loads(Path(os.environ["FAKE_SCENARIO"]).read_text())
    folder = Path(os.environ["FAKE_SCENARIO"]).parent
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    line = " ".join(words)
    _note(folder, line)
    if scenario.get("hangs") and re.search(scenario["hangs"], line):
        _hang(folder, line)
    if scenario.get("fails") and re.search(scenario["fails"], line) and _within(folder, scenario.get("times", 1000)):
        sys.exit(f"Error: googleapi: Error 400: refused, {ACCOUNT} has {TOKEN}")
    answer = {"gcloud": _gcloud, "terraform": _terraform, "python": _python}[words[0]](words[1:], folder, scenario)
    sys.stdout.write(answer if isinstance(answer, str) else json.dumps(answer))


def _note(folder: Path, line: str) -> None:
    with (folder / "lines").open("a") as file:
        file.write(f"{line}\n")


def _within(folder: Path, times: int) -> bool:
    with (folder / "failures").open("a+") as file:
        file.write("x")
        file.flush()
        return file.tell() <= times


def _hang(folder: Path, line: str) -> None:
    try:
        (folder / "hanging").touch()
        time.sleep(120)
    except KeyboardInterrupt:
        _note(folder, f"interrupted {line}")
        sys.exit(130)


def _gcloud(words: list[str], folder: Path, scenario: dict[str, Any]) -> Any:
    line = " ".join(words)
    answers = {
        "version": {"Google Cloud SDK": "528.0.0"},
        "auth list": [{"account": ACCOUNT, "status": "ACTIVE"}],
        "auth application-default": f"{TOKEN}\n",
        "projects describe": {"lifecycleState": "ACTIVE", "projectNumber": "12345", "projectId": "lab-7"},
        "projects get-iam-policy": {"bindings": scenario.get("bindings", [])},
        "billing": {"billingEnabled": scenario.get("billing", True)},
        "services list": [
            {"config": {"name": f"{name}.googleapis.com"}} for name in ("cloudresourcemanager", "storage", "pubsub")
        ],
        "artifacts": {"image_summary": {"digest": "sha256:0123", "fully_qualified_digest": "x@sha256:0123"}},
        "run jobs executions list": [_execution()],
        "logging read": [_request("ingest", 204), _request("ingest", 204), _request("dispatch", 503)],
        "storage cp": "",
    }
    listed = scenario.get("before" if not (folder / "destroyed").exists() else "left", {})
    found = next((answer for start, answer in answers.items() if line.startswith(start)), None)
    return found if found is not None else next((listed[start] for start in listed if line.startswith(start)), [])


def _execution() -> dict[str, Any]:
    return {
        "metadata": {"name": "cpu-abcde", "creationTimestamp": "2026-11-29T01:00:00.000000Z"},
        "spec": {"taskCount": 2},
        "status": {"startTime": STARTED, "completionTime": ENDED, "succeededCount": 2},
    }


def _request(part: str, status: int) -> dict[str, Any]:
    return {
        "httpRequest": {"status": status, "latency": "0.250s", "userAgent": "APIs-Google; (+https://developers)"},
        "resource": {"labels": {"service_name": f"prove-1129-0130-ab12-{part}"}},
        "insertId": JWT,
    }


def _terraform(words: list[str], folder: Path, scenario: dict[str, Any]) -> Any:
    match words[0]:
        case "version":
            return {"terraform_version": "1.11.4", "provider_selections": {"registry/hashicorp/google": "6.50.0"}}
        case "show":
            kinds = [("google_storage_bucket", ["create"]), ("google_pubsub_topic", scenario.get("action", ["create"]))]
            changes = [{"address": f"{kind}.x", "type": kind, "change": {"actions": done}} for kind, done in kinds]
            return {"resource_changes": changes}
        case "output":
            return _outputs()
        case "destroy":
            (folder / "destroyed").touch()
            return ""
        case _:
            return ""


def _outputs() -> dict[str, Any]:
    names = {"PROJECT": "lab-7", "REGION": "us-central1", "CPU_JOB": "p-cpu", "MODELS_BUCKET": "p-models-lab-7"}
    values = {
        "environment": {f"CELLDROP_{name}": value for name, value in names.items()},
        "status_url": "https://p-status-abc.a.run.app",
        "subscriptions": {"events": "p-events", "requests_dead": "p-requests-dead"},
        "images": {"functions": "host/lab-7/r/celldrop-functions:abc"},
    }
    return {name: {"sensitive": False, "value": value} for name, value in values.items()}


def _python(words: list[str], _: Path, scenario: dict[str, Any]) -> Any:
    if "doctor" in words:
        found = f"not there; asked with Bearer {JWT}"
        health = scenario.get("doctor", "ok")
        return {"checks": [{"name": "bucket x", "health": health, "found": found}]}
    if "tests.prove.faults" in words:
        Path(words[-1]).write_text(json.dumps({"ended": True, "faults": [_fault(scenario)]}))
        return ""
    xml = next(word for word in words if word.startswith("--junitxml=")).partition("=")[2]
    fault = '<failure message="it did not hold">x</failure>' if scenario.get("suite") else ""
    Path(xml).write_text(
        f'<testsuites><testsuite><testcase name="t" time="1">{fault}</testcase></testsuite></testsuites>'
    )
    return ""


def _fault(scenario: dict[str, Any]) -> dict[str, Any]:
    result = scenario.get("fault", "as documented")
    facts = {"answer": TOKEN, "quota": os.environ["GOOGLE_CLOUD_QUOTA_PROJECT"]}
    words = {"expected": "`REJECTED`", "found": "REJECTED", "seconds": 3.0}
    return {"fault": "customer-key", "result": result, "rows": ["An object"], "facts": facts, **words}


if __name__ == "__main__":
    main()
