"""Proves a deployment: plan, apply, test, provoke faults, tear down, report (docs/how-to/prove-a-deployment.md)."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.prove.google import GooglePlace
from tests.prove.options import Options, options_of
from tests.prove.programs import Programs
from tests.prove.redaction import Redactor
from tests.prove.report import Report
from tests.prove.walk import Place, say, tear_down, walk
from tests.prove.watch import Watch

PAUSE = "CELLDROP_PROVE_PAUSE_S"
"""Between two tries; a test of this very program has none to lose."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 where everything passed and nothing is left, 1 where not."""
    options = options_of(arguments, datetime.now(UTC), secrets.token_hex(2))
    again = options.folder.exists()
    logs = options.folder / ("logs-tear-down" if again else "logs")
    logs.mkdir(parents=True, exist_ok=again)
    redact = Redactor()
    report = Report(options, redact, name="tear-down" if again else "report")
    programs = Programs(logs, redact)
    report.programs = programs.done
    if not again:
        options.save()
    place = _place(options, programs, report, again=again)
    with Watch(options.limit_minutes * 60, f"the tear-down goes on; by hand: {place.advice}") as watch:
        if again:
            tear_down(place, report)
        else:
            walk(place, report, watch)
    say(f"{report.path}: {'everything passed' if report.proved else 'not everything passed'}")
    return 0 if report.proved else 1


def _place(options: Options, programs: Programs, report: Report, *, again: bool) -> Place:
    if options.local:
        from tests.prove.local import LocalPlace  # noqa: PLC0415  # emulators and clients that a project needs none of

        return LocalPlace(options, programs, report)
    return GooglePlace(options, programs, report, float(os.environ.get(PAUSE, "60")), had_begun=again)


if __name__ == "__main__":
    sys.exit(main())
