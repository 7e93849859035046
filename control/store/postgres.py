"""PostgreSQL as the store: two pools over one database, and its errors in the words that the rest knows.

Writers take turns (`Store.turn`), so one connection is enough for them, and no crowd of readers keeps
the ingest waiting for one. Readers see one state from their first statement on, as on SQLite.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

READERS_MAX: Final = 8
"""Connections that read; who finds none free waits for one."""
CONNECT_TIMEOUT_S: Final = 10.0
COMMAND_TIMEOUT_S: Final = 120.0
"""A server that went without a word is noticed after so long; nothing that we ask takes it half of that."""
OPTIONS: Final = frozenset(
    ("host", "port", "passfile", "ssl", "direct_tls", "target_session_attrs", "prepared_statement_cache_size")
)
"""What may stand behind the question mark of `store.url`; `sslmode`, as others call it, is `ssl`."""

# SQLSTATE classes and codes of a server that is away, full, read-only or in recovery, or that broke off a
# transaction which may be begun again.
_FAILED: Final = ("08", "25006", "28", "3D", "40", "53", "55P03", "57", "58")
_BAD_DATA: Final = "22"


def postgres_url(url: URL) -> URL:
    """As the driver takes it.

    Raises:
        ValueError: an option that nobody knows.
    """
    query = {"ssl" if name == "sslmode" else name: value for name, value in url.query.items()}
    for name in query:
        if name not in OPTIONS:
            raise ValueError(f"store.url: PostgreSQL has no option {name}; there are {', '.join(sorted(OPTIONS))}")
    return url.set(query=query)


def writing_engine(url: URL, **options: Any) -> AsyncEngine:
    """One connection. It waits for the disk whatever the server's default: the switch drops what we say is stored."""
    wanted: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "isolation_level": "READ COMMITTED"}
    return make_engine(url, {"synchronous_commit": "on"}, **wanted, **options)


def reading_engine(url: URL, **options: Any) -> AsyncEngine:
    wanted: dict[str, Any] = {"pool_size": READERS_MAX, "max_overflow": 0, "isolation_level": "REPEATABLE READ"}
    return make_engine(url, {"default_transaction_read_only": "on"}, **wanted, **options)


def make_engine(
    url: URL, settings: dict[str, str], *, command_timeout_s: float | None = COMMAND_TIMEOUT_S, **options: Any
) -> AsyncEngine:
    """Any engine over this database; `settings` are the server's, for each connection."""
    engine = create_async_engine(
        url,
        hide_parameters=True,
        # A connection that died while nobody used it costs no request.
        pool_pre_ping=True,
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": command_timeout_s,
            "server_settings": {"application_name": "tandem", **settings},
        },
        **options,
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "handle_error", _name_error)
    return engine


async def check_encoding(tx: AsyncConnection) -> None:
    """Raises ValueError: a database that cannot hold every text."""
    encoding = (await tx.exec_driver_sql("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise ValueError(f"store.url: the database has the encoding {encoding}; it must be UTF8")


def _connect(dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    """A server that does not answer is a failure of the store like any other."""
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:
        reason = str(error) or "it does not answer"
        raise dialect.loaded_dbapi.OperationalError(f"no connection to PostgreSQL: {reason}") from error


def _name_error(context: ExceptionContext) -> Exception | None:
    """The driver has one class for most errors; here they get those that SQLite's have."""
    error = context.original_exception
    state = str(getattr(error, "sqlstate", None) or "")
    statement = context.statement
    if isinstance(context.sqlalchemy_exception, OperationalError | DataError):
        return None
    # The driver's own DataError: a value that its type cannot hold never leaves for the server.
    if state.startswith(_BAD_DATA) or _is_unfit(context):
        return DataError(statement, None, error, hide_parameters=True)
    if context.is_disconnect or state.startswith(_FAILED) or isinstance(error, OSError):
        # The pool looks at this when it tries a connection before use, and replaces one that is dead.
        is_dead = context.is_disconnect
        return OperationalError(statement, None, error, hide_parameters=True, connection_invalidated=is_dead)
    return None


def _is_unfit(context: ExceptionContext) -> bool:
    """Whether the driver could not put a value into its type."""
    dbapi: Any = context.dialect.loaded_dbapi
    return isinstance(context.original_exception.__cause__, dbapi.asyncpg.exceptions.DataError)


def is_absent(error: OperationalError) -> bool:
    """Whether the server could not be reached, or said that it starts or ends: it may be there in a while."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return not state or state.startswith(("08", "57P"))


def shown(url: str) -> str:
    """Where the store is, for logs: without what opens it."""
    parsed = make_url(url)
    return URL.create(parsed.drivername, None, None, parsed.host, parsed.port, parsed.database).render_as_string()
