"""Findings of a verdict as text: the code, what was found, and what to do."""

from __future__ import annotations

from cli.console import Output
from shared.domain.verdict import Finding, Severity


def say_finding(finding: Finding, output: Output, *, wrapped: bool = False) -> None:
    """Print a warning or refusal, and what to do about it if anything is; ``wrapped`` as ``Output.prose`` does."""
    say = output.prose if wrapped else output.say
    style = "red" if finding.severity is Severity.REFUSAL else "" if finding.is_calm else "yellow"
    say(f"  {finding.severity} {finding.code}: {finding.message}", style=style)
    if finding.hint and finding.hint != "Nothing to do.":
        say(f"    {finding.hint}")
