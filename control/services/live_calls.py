"""Live calls as the switch has them now, and the decision that a call would meet."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from control.services.context import Context
from control.services.customers import CUSTOMERS
from control.services.errors import NotFound, invalid
from control.services.fields import Codecs, Id, Label, Moment, Transport, moment_ms, moment_or_none, ms_moment
from control.services.hosts import address_text
from control.services.pages import Page, make_cursor, read_cursor
from control.services.past_decisions import simulate_past
from rating.money import format_amount
from switch.frames import CallFacts, LiveCall, Simulate, Simulated, SimulatedCandidate

CALLS_MAX: Final = 1_000

_CDR_ID: Final = re.compile(r"[0-9a-f]{32}")


class CallShown(CallFacts, frozen=True, kw_only=True):
    invited: Moment
    answered: Moment | None
    held: str
    spent: str


_Found = Annotated[Label, Meta(description="Part of a number, of the Call-ID or of the source address.")]
_State = Literal["trying", "ringing", "answered", "ending"]
_Rows = Annotated[int, Meta(ge=1, le=CALLS_MAX, description="Calls on a page.")]
_Cursor = Annotated[str, Meta(max_length=500, description="`next_cursor` of the page before.")]


class CallQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Annotated[Id | None, Meta(description="Of this customer.")] = None
    state: Annotated[_State | None, Meta(description="In this state.")] = None
    search: _Found = ""
    limit: _Rows = 200
    cursor: _Cursor = ""


class CustomerCallQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same below a customer."""

    state: Annotated[_State | None, Meta(description="In this state.")] = None
    search: _Found = ""
    limit: _Rows = 200
    cursor: _Cursor = ""


async def page(ctx: Context, query: CallQuery) -> Page[CallShown]:
    """Calls that are up, the youngest first."""
    calls = await ctx.switch.list_calls(query.customer_id)
    found = [call for call in calls if _is_wanted(call, query)]
    if query.cursor:
        cdr_id, invited_ms = read_cursor(query.cursor, "-invited", str)
        found = [call for call in found if (call.invited_ms, call.cdr_id) < (invited_ms, str(cdr_id))]
    found.sort(key=lambda call: (call.invited_ms, call.cdr_id), reverse=True)
    next_cursor = None
    if len(found) > query.limit:
        found = found[: query.limit]
        next_cursor = make_cursor("-invited", found[-1].cdr_id, found[-1].invited_ms)
    return Page(items=[_call_shown(call) for call in found], next_cursor=next_cursor)


async def page_of(ctx: Context, customer_id: int, query: CustomerCallQuery) -> Page[CallShown]:
    """Those of one customer.

    Raises:
        NotFound: there is no such customer.
    """
    await CUSTOMERS.get(ctx, customer_id)
    return await page(ctx, CallQuery(customer_id=customer_id, **msgspec.structs.asdict(query)))


async def end_call(ctx: Context, cdr_id: str) -> None:
    """BYE both ways, audited whether or not it is still up by then.

    Raises:
        NotFound: no such call is up.
    """
    if not is_cdr_id(cdr_id):
        raise NotFound("call", cdr_id)
    before = await ctx.switch.read_call(cdr_id)
    if before is None or not await ctx.switch.end_call(cdr_id, ctx.actor.name):
        raise NotFound("call", cdr_id)
    async with ctx.change() as change:
        await change.audit("end", "call", cdr_id, before=_call_shown(before.call))


def is_cdr_id(text: str) -> bool:
    return _CDR_ID.fullmatch(text) is not None


class SimulationNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dialled: Annotated[str, Meta(min_length=1, max_length=128)]
    """As it would stand in the Request-URI, tech prefix included."""
    cli: Annotated[str, Meta(max_length=128)] = ""
    pai: Annotated[str, Meta(max_length=128)] = ""
    """The number in P-Asserted-Identity, where rules about calling numbers ask for it."""
    is_private: bool = False
    """The caller asks not to be shown (`Privacy: id`)."""
    codecs: Codecs = ()
    """Those offered; none: nothing is said about codecs."""
    source_ip: Annotated[str, Meta(max_length=64)] = ""
    username: Annotated[str, Meta(max_length=64)] = ""
    """Of a SIP user, instead of `source_ip`."""
    transport: Transport = "udp"
    at: Moment | None = None
    """Any time, past or future; now where it is left out. The past is decided without the switch: by the
    prices of then and the configuration of now, with nobody else calling."""


class CandidatePriced(msgspec.Struct, frozen=True, kw_only=True):
    card_id: int
    card_name: str
    provider_id: int
    provider_name: str
    outcome: str
    detail: str
    prefix: str
    rate: str
    connect_fee: str
    first_s: int
    next_s: int
    margin: str
    dialled_out: str
    gateway_id: int | None


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    is_admitted: bool
    status: int
    cause: str
    steps: list[str]
    customer_id: int | None
    endpoint_id: int | None
    sip_user_id: int | None
    route_id: int | None
    dialled_out: str
    cli_out: str
    sell_card_id: int | None
    sell_revision_id: int | None
    sell_prefix: str
    sell_rate: str
    destination: str
    candidates: list[CandidatePriced]


async def simulate(ctx: Context, asked: SimulationNew) -> Simulation:
    """What the switch would do with such an INVITE; nothing leaves, nothing is counted."""
    if bool(asked.source_ip) == bool(asked.username):
        raise invalid("source_ip", "needed, unless username is given; not both")
    source_ip = address_text("source_ip", asked.source_ip) if asked.source_ip else ""
    at_ms = None if asked.at is None else moment_ms("at", asked.at)
    call: dict[str, Any] = {**msgspec.structs.asdict(asked), "source_ip": source_ip, "at_ms": at_ms}
    del call["at"]
    if at_ms is not None and at_ms < ctx.now_ms():
        return _simulation(await simulate_past(ctx, Simulate(id=0, **call), at_ms))
    return _simulation(await ctx.switch.simulate(**call))


def _is_wanted(call: LiveCall, query: CallQuery) -> bool:
    if query.state is not None and call.state != query.state:
        return False
    text = query.search
    return not text or any(text in field for field in (call.cli, call.dialled, call.call_id, call.source))


def _call_shown(call: LiveCall) -> CallShown:
    fields = _fields(call, CallShown, ("held", "spent"))
    invited = ms_moment(call.invited_ms)
    answered = moment_or_none(call.answered_ms)
    return CallShown(**fields, invited=invited, answered=answered)


def _simulation(found: Simulated) -> Simulation:
    fields = _fields(found, Simulation, ("sell_rate",))
    fields["candidates"] = [_candidate(candidate) for candidate in found.candidates]
    return Simulation(**fields)


def _candidate(candidate: SimulatedCandidate) -> CandidatePriced:
    return CandidatePriced(**_fields(candidate, CandidatePriced, ("rate", "connect_fee", "margin")))


def _fields(source: msgspec.Struct, kind: type[msgspec.Struct], amounts: tuple[str, ...]) -> dict[str, Any]:
    """What both structs have by the same name, and the amounts as text."""
    same = {name: getattr(source, name) for name in source.__struct_fields__ if name in kind.__struct_fields__}
    return {**same, **{name: format_amount(getattr(source, f"{name}_nanos")) for name in amounts}}
