"""Findings of a verdict as text: the code, what was found, and what to do."""

from __future__ import annotations

from cli.console import Output
from shared.domain.verdict import Finding, Severity


def say_finding(finding: Finding, output: Output) -> None:
    """Print a warning or refusal, and what to do about it if anything is."""
    style = "red" if finding.severity is Severity.REFUSAL else "" if finding.is_calm else "yellow"
    output.say(f"  {finding.severity} {finding.code}: {finding.message}", style=style)
    if finding.hint and finding.hint != "Nothing to do.":
        output.say(f"    {finding.hint}")
