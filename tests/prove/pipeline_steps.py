"""The steps that are the same in a project and on this machine: the doctor, the system suite, the faults."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.prove.options import ROOT, Options
from tests.prove.programs import Command, Programs
from tests.prove.reached import Reached
from tests.prove.report import Entry
from tests.prove.walk import Step, StepFailedError

SUITE_LIMIT_S = 1500.0
FAULTS_LIMIT_S = 2400.0
SUITE = "suite.xml"
FAULTS = "faults.json"
FIRST_DROP = "first drop"
READY_LIMIT_S = 900.0


class PipelineSteps:
    """Run programs of this repository against what stands.

    Args:
        environment: Beside what the deployment itself says: where the emulators are, a token.
    """

    def __init__(self, options: Options, programs: Programs, environment: Mapping[str, str]) -> None:
        self._options = options
        self._programs = programs
        self._environment = {**environment, "PYTHONPATH": str(ROOT)}

    def steps(self, reached: Callable[[], Reached]) -> tuple[Step, ...]:
        """From the doctor on, once something is deployed; a fault of the deployment ends none but the first drop."""
        return (
            Step("doctor", "celldrop doctor", 180, lambda entry: self.doctor(reached(), entry), needed=False),
            Step("ready", "drops until one arrives", READY_LIMIT_S, lambda entry: self.ready(reached(), entry)),
            Step("suite", "the system suite", SUITE_LIMIT_S, lambda entry: self.suite(reached(), entry), needed=False),
            Step(
                "faults",
                "faults without privilege",
                FAULTS_LIMIT_S,
                lambda entry: self.faults(reached(), entry),
                needed=False,
            ),
        )

    def doctor(self, deployment: Reached, entry: Entry) -> None:
        """`celldrop doctor`: nothing is wrong."""
        environment = {**self._environment, **deployment.variables}
        words = ("-m", "cli.main", "doctor", "--json")
        command = self._python(*words, limit_s=120, cwd=self._options.folder, env=environment)
        checks = self._programs.run(command, may_fail=True).json
        if not checks:
            raise StepFailedError("The doctor said nothing; look at its log.")
        rows = [{name: str(check.get(name, "")) for name in ("name", "health", "found")} for check in checks["checks"]]
        entry.checks = [row for row in rows if row["health"] != "ok"]
        entry.found = {"checks": len(rows), "ok": len(rows) - len(entry.checks)}
        for row in entry.checks:
            if row["health"] == "wrong":
                entry.fail(f"{row['name']}: {row['found']}")

    def suite(self, deployment: Reached, entry: Entry) -> None:
        """The end-to-end tests, as a deployment is tested at any time."""
        xml = self._options.folder / SUITE
        environment = {**self._environment, **deployment.suite_environment(self._options.folder)}
        words = (
            "-m",
            "pytest",
            "-m",
            "system",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            "tests/system",
            f"--junitxml={xml}",
        )
        command = self._python(*words, limit_s=SUITE_LIMIT_S, cwd=ROOT, env=environment)
        ran = self._programs.run(command, may_fail=True)
        if not xml.is_file():
            raise StepFailedError(f"The suite wrote no results (status {ran.status}); look at its log.")
        self._programs.clean(xml)
        _read_suite(xml, entry)

    def ready(self, deployment: Reached, entry: Entry) -> None:
        """Wait until drops arrive: an event that comes before its trigger is ready is lost."""
        self._provoke(deployment, entry, "ready.json", "--only", FIRST_DROP)

    def faults(self, deployment: Reached, entry: Entry) -> None:
        """Each fault is provoked, and what became of it compared with docs/reference/faults.md."""
        self._provoke(deployment, entry, FAULTS)

    def _provoke(self, deployment: Reached, entry: Entry, name: str, *more: str) -> None:
        out = self._options.folder / name
        words = ("-m", "tests.prove.faults", str(self._options.folder), *more, "--out", str(out))
        environment = {**self._environment, **deployment.variables}
        try:
            self._programs.run(self._python(*words, limit_s=FAULTS_LIMIT_S, cwd=ROOT, env=environment), may_fail=True)
        finally:
            if out.is_file():
                self._programs.clean(out)
                _read_faults(json.loads(out.read_text()), entry)
        if not out.is_file():
            raise StepFailedError("The faults wrote no results; look at their log.")

    def _python(self, *words: str, limit_s: float, cwd: Path, env: Mapping[str, str]) -> Command:
        return Command((self._options.python, *words), limit_s=limit_s, cwd=cwd, env=env)


def _read_suite(xml: Path, entry: Entry) -> None:
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for case in ET.parse(xml).iter("testcase"):
        found = {child.tag: child for child in case}
        fault = found.get("failure", found.get("error"))
        result = "failed" if fault is not None else "skipped" if "skipped" in found else "passed"
        counts[result] += 1
        row = {"test": case.get("name", ""), "result": result, "seconds": f"{float(case.get('time', 0)):.0f}"}
        entry.checks.append(row)
        if fault is not None:
            entry.fail(f"{row['test']}: {(fault.get('message') or fault.text or '')[:600]}")
        if "skipped" in found:
            entry.notes.append(f"{row['test']} was skipped: {found['skipped'].get('message', '')[:200]}")
    entry.found.update(counts)
    if not counts["passed"]:
        entry.fail("No test of the suite passed.")


def _read_faults(document: dict[str, Any], entry: Entry) -> None:
    for fault in document["faults"]:
        row = {name: str(fault[name]) for name in ("fault", "result", "seconds", "expected", "found")}
        entry.checks.append({**row, "rows of faults.md": " · ".join(fault["rows"])})
        if fault["facts"]:
            entry.found[fault["fault"]] = fault["facts"]
        if fault["result"] in {"differs", "broken"}:
            entry.fail(f"{fault['fault']} {fault['result']}: expected {fault['expected']}; found {fault['found']}")
    if not document["ended"]:
        entry.fail("The faults were stopped before the last of them.")
