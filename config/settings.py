"""Settings of one installation, as frozen structs: every field has a unit, a default and a reason.

`load_settings` reads TOML; an unknown key, a wrong type or a bad value raises `SettingsError`
that names the file and the path of the key. `config/example/tandem.toml` shows all of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
"""0: a free one, named on the "ready" line."""
Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=604_800.0)]


class SettingsError(ValueError):
    """The settings file cannot be used; the text names the file, the key and the reason."""


class Listener(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One socket that SIP arrives on."""

    transport: Literal["udp", "tcp", "tls"]
    host: str
    """Address literal, IPv4 or IPv6 without brackets."""
    port: Port = 5060
    advertised_host: str = ""
    """What Via and Record-Route say, where it is not `host` (behind a 1:1 NAT)."""
    advertised_port: Port = 0


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    certificate: str = ""
    """PEM chain; read again on SIGHUP and when the file changes."""
    private_key: str = ""
    ca_file: str = ""
    """PEM roots that vendor certificates are checked against; empty: the system's."""
    handshakes_open_max: Positive = 256
    """Handshakes under way at once; more are closed, so that stalled ones starve nobody."""
    handshake_timeout_s: Seconds = 5.0


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    datagram_bytes_max: Positive = 65_507
    """Largest payload that UDP over IPv4 can carry."""
    header_bytes_max: Positive = 65_536
    header_lines_max: Positive = 256
    line_bytes_max: Positive = 8_192
    vias_max: Positive = 70
    body_bytes_max: Positive = 262_144
    stream_header_time_s: Seconds = 10.0
    """A stream peer that has begun a message must finish its header section in this time."""
    stream_idle_s: Seconds = 600.0
    stream_connections_max: Positive = 4_096
    transactions_max: Positive = 400_000
    calls_max: Positive = 50_000
    calls_per_second_max: NotNegative = 0
    """New calls a second that the whole switch lets in; 0: as many as come."""
    udp_request_bytes_max: Positive = 1_300
    """Larger requests go by TCP where the gateway takes it (RFC 3261 §18.1.1)."""


class Timers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """RFC 3261 §17 timers, in milliseconds."""

    t1_ms: Positive = 500
    t2_ms: Positive = 4_000
    t4_ms: Positive = 5_000
    first_reply_ms: Positive = 5_000
    """No response at all from a vendor: next one. Customer and provider may say less or more."""
    pdd_ms: Positive = 15_000
    """No 18x: next vendor."""
    ring_ms: Positive = 120_000
    """No answer: the attempt ends (timer C of RFC 3261 §16.6 wants over 3 minutes of a plain proxy)."""
    max_duration_s: Positive = 14_400
    """A call that nobody ends, ends here."""


class Sip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    listeners: tuple[Listener, ...] = (
        Listener(transport="udp", host="127.0.0.1"),
        Listener(transport="tcp", host="127.0.0.1"),
    )
    realm: str = "tandem"
    domains: tuple[str, ...] = ()
    """Host names in a Request-URI that mean us, beside the listeners' addresses and the realm."""
    unknown_source: Literal["refuse", "silence"] = "refuse"
    allow_loopback: bool = False
    """Trust loopback addresses and our own for address authentication over UDP."""
    digest_algorithms: tuple[Literal["SHA-512-256", "SHA-256", "MD5"], ...] = ("SHA-512-256", "SHA-256", "MD5")
    """Offered and taken. Some older phones give up at the first one that they do not know."""
    nonce_lifetime_s: Positive = 300
    auth_failures_max: Positive = 20
    """Wrong answers of one address, or for one user, before it is throttled."""
    auth_throttle_s: Positive = 300
    server_name: str = ""
    """Server and User-Agent header of our own messages; empty: none is sent."""


class Journal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sync: Literal["group", "always", "os"] = "group"
    group_ms: Positive = 20
    segment_bytes: Positive = 67_108_864


class Trace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SIP messages of the latest calls, kept in `messages.ring` in the data folder."""

    ring_bytes: Annotated[int, msgspec.Meta(ge=0, le=64 * 2**30)] = 67_108_864
    """Room on disk, taken at the start and used round and round; some 6,000 calls. 0: none are kept."""
    strangers_per_second: NotNegative = 20
    """Of messages that belong to no call, so many a second are kept."""


class Hold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much money a call puts aside ahead of its talk."""

    initial_s: Positive = 60
    """Talk that is held for when a call is let in; less if less is left, down to one increment."""
    max_s: Positive = 300
    """Each extension doubles the one before, up to this."""


class Registrar(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where phones of SIP users say how they are reached (RFC 3261 §10)."""

    enabled: bool = True
    expires_default_s: Positive = 3_600
    """For a REGISTER that names no time."""
    expires_min_s: Positive = 60
    """Shorter ones are refused with 423."""
    expires_max_s: Positive = 7_200
    """Longer ones are cut to this."""
    contacts_per_user: Positive = 10
    """One more takes the place of the one that was heard of longest ago."""
    contacts_max: Positive = 50_000
    """Of all users together; more are refused with 503."""
    ping_s: NotNegative = 30
    """OPTIONS to each contact on UDP that often, so that NATs keep the way open; 0: never."""


class Liveness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How calls are found whose end nobody told us."""

    session_expires_s: NotNegative = 1_800
    """Session timer that we offer where a side supports them (RFC 4028); 0: none is offered."""
    session_min_s: Annotated[int, msgspec.Meta(ge=90)] = 90
    """Shorter ones are refused with 422."""
    keepalive_s: NotNegative = 300
    """OPTIONS inside the dialog to each side, that often; 0: never."""
    keepalive_failures: Positive = 3
    """So many unanswered ones …"""
    keepalive_of: Positive = 4
    """… of the last so many end the call."""
    recovery_probe_s: Seconds = 20.0
    """After a restart, calls that showed no life by then are asked whether they are still up."""
    session_offer: Literal["callers", "all"] = "callers"
    """Offer the session timer to the vendors of callers that know session timers, or of all callers."""


class Store(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str = ""
    """SQLAlchemy URL; empty: SQLite at `tandem.db` in the data folder."""


class Api(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: Port = 8080


class Mail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server that takes our mail: passwords, links, invoices, alerts."""

    host: str = ""
    """Empty: no mail is sent, and what needs one is refused."""
    port: Port = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`none` only where nobody can listen on the way: passwords go by mail."""
    username: str = ""
    password: str = ""
    ca_file: str = ""
    """PEM roots that the server's certificate is checked against; empty: the system's."""
    sender: str = ""
    """Address in From."""
    timeout_s: Seconds = 15.0


class Portal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What customers' contacts log in to."""

    url: str = ""
    """Where they reach it, for links in mails; empty: mails carry the bare token."""
    session_s: Annotated[int, msgspec.Meta(ge=60, le=2_592_000)] = 43_200
    """How long a login lasts."""
    reset_s: Annotated[int, msgspec.Meta(ge=60, le=604_800)] = 3_600
    """How long a mailed link to set a password can be used, once."""


class Events(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is told to others' servers: webhooks, and alerts by SMS."""

    allow_private: bool = False
    """Deliver to loopback, private and link-local addresses too: only where whoever may add webhooks may
    also reach those."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0.0, le=120.0)] = 10.0
    """Of one request, from looking the name up to the end of the answer."""
    ca_file: str = ""
    """PEM roots that receivers' certificates are checked against, beside the system's."""
    sms_url: str = ""
    """Takes a POST of {"to", "text"} for each SMS, signed as webhooks are; empty: none is sent."""
    sms_secret: str = ""


class Billing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who sends the invoices, and what stands on them."""

    seller_name: str = ""
    """Empty: no invoice is issued."""
    seller_address: str = ""
    """Lines as on a letter."""
    seller_tax_id: str = ""
    seller_contact: str = ""
    """E-mail, telephone, website: lines under the address."""
    payment_details: str = ""
    """How it is paid: bank, IBAN, BIC; lines."""
    footer: str = ""
    """Last line of every page: where the company is registered, who manages it."""
    invoice_prefix: str = "INV-"
    credit_note_prefix: str = "CN-"
    number_digits: Annotated[int, msgspec.Meta(ge=1, le=12)] = 6
    """Numbers are filled up with zeros to so many digits."""
    due_days: Annotated[int, msgspec.Meta(ge=0, le=365)] = 14
    """Of customers that have no term of their own."""


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: str = "data"
    """Folder of everything that is kept: store, journal, decks, admin key. Relative to the file."""
    drain_s: Seconds = 30.0
    """After SIGTERM calls may run on this long."""
    drain_calls: Literal["end", "keep"] = "end"
    """What becomes of those that outlive it: `end`, by BYE both ways; `keep`, the next process takes answered
    ones over, and only those being set up are waited for."""
    sip: Sip = Sip()
    tls: Tls = Tls()
    timers: Timers = Timers()
    limits: Limits = Limits()
    journal: Journal = Journal()
    trace: Trace = Trace()
    hold: Hold = Hold()
    liveness: Liveness = Liveness()
    registrar: Registrar = Registrar()
    store: Store = Store()
    api: Api = Api()
    mail: Mail = Mail()
    portal: Portal = Portal()
    billing: Billing = Billing()
    events: Events = Events()
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
    for mistake in _mistakes(settings):
        raise SettingsError(f"{path}: {mistake}")
    return _with_roots(settings, path)


def _with_roots(settings: Settings, path: Path) -> Settings:
    """Files of roots by their whole paths; relative ones are taken from the folder of the settings file.

    Raises:
        SettingsError: one is not there.
    """
    mail, events = (
        msgspec.structs.replace(each, ca_file=str(path.parent.resolve() / each.ca_file)) if each.ca_file else each
        for each in (settings.mail, settings.events)
    )
    for key, each in (("mail", mail), ("events", events)):
        if each.ca_file and not Path(each.ca_file).is_file():
            raise SettingsError(f"{path}: $.{key}.ca_file: {each.ca_file} is not there")
    return msgspec.structs.replace(settings, mail=mail, events=events)


def data_folder(settings: Settings, beside: Path) -> Path:
    """The data folder as a path; a relative one is taken from the folder of the settings file."""
    return (beside.parent / settings.data).resolve()


def _mistakes(settings: Settings) -> Iterator[str]:
    """What the types cannot say, each with the path of its key."""
    taken: set[tuple[bool, str, int]] = set()
    for index, listener in enumerate(settings.sip.listeners):
        place = f"$.sip.listeners[{index}]"
        try:
            ipaddress.ip_address(listener.host)
        except ValueError:
            yield f"{place}.host: {listener.host!r} is not an address literal"
        if listener.transport == "tls" and not (settings.tls.certificate and settings.tls.private_key):
            yield f"{place}: a tls listener needs $.tls.certificate and $.tls.private_key"
        socket = (listener.transport == "udp", listener.host, listener.port)
        if listener.port and socket in taken:
            yield f"{place}: another listener has this transport, host and port"
        taken.add(socket)
    if settings.liveness.keepalive_failures > settings.liveness.keepalive_of:
        yield "$.liveness.keepalive_failures: more than $.liveness.keepalive_of can never be reached"
    registrar = settings.registrar
    if not registrar.expires_min_s <= registrar.expires_default_s <= registrar.expires_max_s:
        yield "$.registrar.expires_default_s: outside expires_min_s to expires_max_s"
    if settings.mail.host and "@" not in settings.mail.sender:
        yield "$.mail.sender: an address is needed to send mail from"
    if settings.portal.url and not settings.portal.url.startswith(("https://", "http://")):
        yield "$.portal.url: an http or https URL"
    if settings.events.sms_url:
        if not settings.events.sms_url.startswith(("https://", "http://")):
            yield "$.events.sms_url: an http or https URL"
        if not settings.events.sms_secret:
            yield "$.events.sms_secret: requests to $.events.sms_url are signed with it"
    if not settings.sip.listeners:
        yield "$.sip.listeners: at least one is needed"
    if not settings.sip.realm or not settings.sip.realm.isprintable() or '"' in settings.sip.realm:
        yield "$.sip.realm: a printable text without quotes"
    if not settings.sip.digest_algorithms:
        yield "$.sip.digest_algorithms: at least one is needed"
