"""Logging of the control process: as the switch's, with what libraries warn about beside it."""

from __future__ import annotations

import logging

import structlog

from config.settings import Log
from switch.logs import configure_logs


class _Bridge(logging.Handler):
    """Warnings of uvicorn, SQLAlchemy and the loop, in the same form and place as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        report = structlog.get_logger(record.name)
        details = {"exc_info": record.exc_info} if record.exc_info else {}
        report.log(record.levelno, record.getMessage(), **details)


def configure(log: Log) -> None:
    """Set up logging once, before the first line."""
    configure_logs(log)
    logging.basicConfig(level=logging.WARNING, handlers=[_Bridge()], force=True)
