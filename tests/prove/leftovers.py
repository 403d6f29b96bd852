"""Finds what a proof has left in a project, by the prefix in its name."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from tests.prove.gcloud_commands import KINDS, Kind, policy
from tests.prove.options import Options
from tests.prove.programs import ProgramError, Programs
from tests.prove.report import Entry

ANY_PROOF = re.compile(r"\bprove-\d{4}-\d{4}-[0-9a-f]{4}")

Left = dict[str, str]


def leftovers(
    programs: Programs, options: Options, wanted: re.Pattern[str], services: Collection[str] | None, entry: Entry
) -> list[Left]:
    """Everything whose name has the prefix, with the command that removes it.

    Args:
        services: The enabled APIs; None where that is not known. What is not enabled has made nothing.
        entry: Learns what could not be looked for.
    """
    found: list[Left] = []
    for kind in KINDS:
        if services is not None and f"{kind.service}.googleapis.com" not in services:
            continue
        try:
            listed = programs.run(kind.listed(options)).json or []
        except ProgramError as error:
            _not_looked(kind, error, entry)
            continue
        found += [_left(kind, options, item) for item in listed if wanted.search(json.dumps(item))]
    return [*found, *_bindings(programs, options, wanted, entry)]


def _not_looked(kind: Kind, error: ProgramError, entry: Entry) -> None:
    words = f"could not look for leftovers of the kind {kind.name}: {error}"
    if kind.listing[0] == "alpha":  # A component that not everybody has installed.
        entry.notes.append(words)
    else:
        entry.fail(words)


def _left(kind: Kind, options: Options, item: dict[str, Any]) -> Left:
    value: Any = item
    for key in kind.key.partition(",")[0].split("."):
        value = value.get(key, {})
    name = str(value).rpartition("/")[2].partition("@")[0]
    return {"kind": kind.name, "name": item.get("displayName", name), "remove": kind.remove(options, name)}


def _bindings(programs: Programs, options: Options, wanted: re.Pattern[str], entry: Entry) -> Iterator[Left]:
    """Rights on the project that an account of ours still has, deleted or not."""
    try:
        bindings = (programs.run(policy(options)).json or {}).get("bindings", [])
    except ProgramError as error:
        entry.fail(f"could not look for rights that are left: {error}")
        return
    for binding in bindings:
        for member in binding.get("members", []):
            if wanted.search(member):
                remove = binding_removal(options, member, binding["role"])
                yield {"kind": "right", "name": f"{member} {binding['role']}", "remove": remove}


def binding_removal(options: Options, member: str, role: str) -> str:
    """The line for a shell that takes a right on the project away, with any condition."""
    who = f"--member={member} --role={role}"
    return f"gcloud projects remove-iam-policy-binding {options.project} {who} --all --quiet"
