"""Logs as events with fields: JSON lines for Cloud Logging, one readable line at a terminal."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from shared.domain.words import spelt_out

_LAYOUT = "\n\t"
"""What a traceback is laid out with."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def event(logger: logging.Logger, name: str, /, *, level: int = logging.INFO, **fields: object) -> None:
    """Log something that happened, with its fields (submission, epoch, task, trace …)."""
    logger.log(level, name, extra=fields)


def configure(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Set the process's logging up; called once by an entry point."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class _JsonFormatter(logging.Formatter):
    """One JSON object a line, with the names that Cloud Logging knows."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "severity": record.levelname,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "message": record.getMessage(),
            "logger": record.name,
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class _TextFormatter(logging.Formatter):
    """``12:00:01 INFO dispatched submission=… epoch=1``."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        text = spelt_out(f"{time} {record.levelname} {record.getMessage()}{fields}")
        if not record.exc_info:
            return text
        return f"{text}\n{spelt_out(self.formatException(record.exc_info), but=_LAYOUT)}"
