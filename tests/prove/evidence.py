"""Reads what Google says of a proof's executions and of the requests that its functions answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any


def executions_found(executions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many, how they ended, and how long they waited for a container."""
    statuses = [one.get("status", {}) for one in executions]
    waits = [
        seconds_between(one["metadata"]["creationTimestamp"], one["status"]["startTime"])
        for one in executions
        if one.get("status", {}).get("startTime")
    ]
    counts = {
        kind: sum(int(status.get(f"{kind}Count", 0)) for status in statuses)
        for kind in ("succeeded", "failed", "cancelled", "retried")
    }
    found: dict[str, Any] = {"executions": len(executions), "tasks": counts}
    if waits:
        found["seconds_from_creation_to_start"] = {"median": round(median(waits), 1), "most": round(max(waits), 1)}
    return found


def doors(requests: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """How often each function answered what, to whom, and how long it took."""
    latencies: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for entry in requests:
        request = entry.get("httpRequest", {})
        agent = request.get("userAgent", "").partition("/")[0].partition(";")[0][:40]
        key = (entry["resource"]["labels"]["service_name"], str(request.get("status", "")), agent)
        latencies[key].append(float(request.get("latency", "0s").rstrip("s")))
    return [
        {
            "service": service,
            "status": status,
            "caller": agent,
            "requests": str(len(found)),
            "median s": f"{median(found):.2f}",
            "most s": f"{max(found):.2f}",
        }
        for (service, status, agent), found in sorted(latencies.items())
    ]


def seconds_between(earlier: str, later: str) -> float:
    """Of two times in ISO 8601."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
