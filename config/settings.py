"""Settings of one installation, as frozen structs: every field has a unit, a default and a reason.

`load_settings` reads TOML; an unknown key, a wrong type or a bad value raises `SettingsError`
that names the file and the path of the key. `config/example/tandem.toml` shows all of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec


class SettingsError(ValueError):
    """The settings file cannot be used; the text names the file, the key and the reason."""


class Listener(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One socket that SIP arrives on."""

    transport: Literal["udp", "tcp", "tls"]
    host: str
    """Address literal, IPv4 or IPv6 without brackets."""
    port: int = 5060
    advertised_host: str = ""
    """What Via and Record-Route say, where it is not `host` (behind a 1:1 NAT)."""
    advertised_port: int = 0


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    certificate: str = ""
    """PEM chain; read again on SIGHUP and when the file changes."""
    private_key: str = ""
    ca_file: str = ""
    """PEM roots that vendor certificates are checked against; empty: the system's."""
    handshakes_open_max: int = 64
    """Handshakes under way at once; more are closed, so that stalled ones starve nobody."""
    handshake_timeout_s: float = 5.0


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    datagram_bytes_max: int = 65_507
    """Largest payload that UDP over IPv4 can carry."""
    header_bytes_max: int = 65_536
    header_lines_max: int = 256
    line_bytes_max: int = 8_192
    vias_max: int = 70
    body_bytes_max: int = 262_144
    stream_header_time_s: float = 10.0
    """A stream peer that has begun a message must finish its header section in this time."""
    stream_idle_s: float = 600.0
    stream_connections_max: int = 4_096
    transactions_max: int = 400_000
    calls_max: int = 50_000
    udp_request_bytes_max: int = 1_300
    """Larger requests go by TCP where the gateway takes it (RFC 3261 §18.1.1)."""


class Timers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """RFC 3261 §17 timers, in milliseconds."""

    t1_ms: int = 500
    t2_ms: int = 4_000
    t4_ms: int = 5_000
    trying_delay_ms: int = 150
    """100 Trying goes out by itself unless something better does first; RFC 3261 §17.2.1 allows 200."""
    first_reply_ms: int = 5_000
    """No response at all from a vendor: next one. Customer and provider may say less or more."""
    pdd_ms: int = 15_000
    """No 18x: next vendor."""
    ring_ms: int = 120_000
    """No answer: the attempt ends (timer C of RFC 3261 §16.6 wants over 3 minutes of a plain proxy)."""
    max_duration_s: int = 14_400
    """A call that nobody ends, ends here."""


class Sip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    listeners: tuple[Listener, ...] = (
        Listener(transport="udp", host="127.0.0.1"),
        Listener(transport="tcp", host="127.0.0.1"),
    )
    realm: str = "tandem"
    unknown_source: Literal["refuse", "silence"] = "refuse"
    allow_loopback: bool = False
    """Trust loopback addresses and our own for address authentication over UDP."""
    nonce_lifetime_s: int = 300
    auth_failures_max: int = 20
    """Wrong answers of one address, or for one user, before it is throttled."""
    auth_throttle_s: int = 300
    server_name: str = ""
    """Server and User-Agent header of our own messages; empty: none is sent."""


class Journal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sync: Literal["group", "always", "os"] = "group"
    group_ms: int = 20
    segment_bytes: int = 67_108_864


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str = ""
    """SQLAlchemy URL; empty: SQLite at `tandem.db` in the data folder."""


class Api(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: int = 8080


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: str = "data"
    """Folder of everything that is kept: store, journal, decks, admin key. Relative to the file."""
    drain_s: float = 30.0
    """After SIGTERM calls may run on this long."""
    sip: Sip = Sip()
    tls: Tls = Tls()
    timers: Timers = Timers()
    limits: Limits = Limits()
    journal: Journal = Journal()
    store: Store = Store()
    api: Api = Api()
    log: Log = Log()


def load_settings(path: Path) -> Settings:
    """Read one TOML file.

    Raises:
        SettingsError: unreadable file, bad TOML, unknown key, or a value of the wrong type.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    try:
        settings = msgspec.toml.decode(text, type=Settings)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path}: {error}") from error
    return settings


def data_folder(settings: Settings, beside: Path) -> Path:
    """The data folder as a path; a relative one is taken from the folder of the settings file."""
    return (beside.parent / settings.data).resolve()
