"""That the parties, cards and destinations of a DID belong together."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Table, select
from sqlalchemy.engine import RowMapping

from control.services.context import Change
from control.services.did_fields import Destination, DidNew
from control.services.errors import FieldError, gathered, invalid
from control.services.fields import amount_nanos
from control.services.memos import recalled
from control.services.owners import require
from control.store import tables
from rating.numbers import normalise_e164
from switch.wire.errors import ParseError
from switch.wire.uri import parse_uri

_OWNED: Final[dict[str, tuple[Table, str]]] = {
    "endpoint": (tables.endpoints, "endpoint"),
    "sip_user": (tables.sip_users, "SIP user"),
}


async def check_parties(change: Change, new: DidNew, found: list[FieldError]) -> None:
    """Provider, customer and their cards; what is wrong is added to `found`."""
    provider = customer = bought = sold = None
    if new.provider_id is not None:
        with gathered(found):
            provider = await _require(change, tables.providers, "provider_id", "provider", new.provider_id)
    if new.customer_id is not None:
        with gathered(found):
            customer = await _require(change, tables.customers, "customer_id", "customer", new.customer_id)
    if new.provider_card_id is not None:
        with gathered(found):
            bought = await _provider_card(change, new, new.provider_card_id)
    if new.customer_card_id is not None:
        with gathered(found):
            sold = await _customer_card(change, new.customer_card_id, new.customer_id, customer)
    with gathered(found):
        _check_currencies(new, provider, customer, bought, sold)


async def check_client(change: Change, customer_id: int) -> None:
    """A customer whose client has left takes no numbers: they would be charged to nobody, and never cool off."""
    clients, customers = tables.clients.c, tables.customers.c
    query = select(clients.status).join(tables.customers, customers.client_id == clients.id)

    async def read() -> str | None:
        status: str | None = (await change.tx.execute(query.where(customers.id == customer_id))).scalar_one_or_none()
        return status

    if await recalled(change, ("status of the client of", customer_id), read) == "inactive":
        raise invalid("customer_id", "its client is inactive, and has no numbers any more")


async def check_destinations(
    change: Change, new: DidNew, number: str | None, found: list[FieldError]
) -> list[dict[str, Any]]:
    """Destinations as they are stored; what is wrong with them is added to `found`."""
    customer_id = new.customer_id
    if customer_id is None:
        if new.destinations:
            found.append(FieldError("destinations", "a number that nobody has rings nowhere: needs a customer"))
        return []
    checked: list[dict[str, Any]] = []
    for place, each in enumerate(new.destinations):
        path = f"destinations[{place}]"
        with gathered(found):
            one = await _destination(change, path, each, customer_id, number)
            if one in checked:
                raise invalid(path, "given twice")
            checked.append(one)
    return checked


async def _provider_card(change: Change, new: DidNew, card_id: int) -> RowMapping:
    path = "provider_card_id"
    card = await _require(change, tables.rate_cards, path, "rate card", card_id)
    if card["direction"] != "buy":
        raise invalid(path, "a sell card: what calls cost us stands in a buy card")
    if new.provider_id is None:
        raise invalid(path, "needs the provider_id whose card it is")
    if card["provider_id"] != new.provider_id:
        raise invalid(path, f"the card of provider {card['provider_id']}")
    return card


async def _customer_card(
    change: Change, card_id: int, customer_id: int | None, customer: RowMapping | None
) -> RowMapping:
    path = "customer_card_id"
    card = await _require(change, tables.rate_cards, path, "rate card", card_id)
    if card["direction"] != "sell":
        raise invalid(path, "a buy card: calls are sold by sell cards")
    if customer_id is None:
        raise invalid(path, "needs a customer")
    if customer is not None and card["currency"] != customer["currency"]:
        raise invalid(path, f"priced in {card['currency']}, the customer pays {customer['currency']}")
    return card


def _check_currencies(
    new: DidNew,
    provider: RowMapping | None,
    customer: RowMapping | None,
    bought: RowMapping | None,
    sold: RowMapping | None,
) -> None:
    """Nothing is converted: what a number costs and what it earns is counted in one currency."""
    if bought is not None and sold is not None and bought["currency"] != sold["currency"]:
        reason = f"priced in {bought['currency']}, the customer's card in {sold['currency']}"
        raise invalid("provider_card_id", reason)
    if provider is None or customer is None or provider["currency"] == customer["currency"]:
        return
    if bought is not None or amount_nanos("cost", new.cost) or amount_nanos("setup_cost", new.setup_cost):
        reason = f"paid in {provider['currency']}, the customer pays {customer['currency']}"
        raise invalid("provider_id", reason)


async def _destination(
    change: Change, path: str, each: Destination, customer_id: int, number: str | None
) -> dict[str, Any]:
    if each.kind in _OWNED:
        if each.value:
            raise invalid(f"{path}.value", "only of a URI or a number")
        if each.id is None:
            raise invalid(f"{path}.id", "needed")
        await _check_own(change, f"{path}.id", each.kind, each.id, customer_id)
        return {"kind": each.kind, "id": each.id, "value": ""}
    if each.id is not None:
        raise invalid(f"{path}.id", "only of an endpoint or a SIP user")
    value = _uri(f"{path}.value", each.value) if each.kind == "uri" else _number(f"{path}.value", each.value, number)
    return {"kind": each.kind, "id": None, "value": value}


async def _check_own(change: Change, path: str, kind: str, row_id: int, customer_id: int) -> None:
    table, noun = _OWNED[kind]
    query = select(table).where(table.c.id == row_id, table.c.archived_ms.is_(None), table.c.customer_id == customer_id)

    async def read() -> RowMapping | None:
        return (await change.tx.execute(query)).mappings().first()

    row = await recalled(change, (noun, row_id, customer_id), read)
    if row is None:
        raise invalid(path, f"the customer has no {noun} {row_id}")
    if kind == "endpoint" and row["direction"] != "ingress":
        raise invalid(path, f"endpoint {row_id} only sends calls; one of direction ingress receives them")


async def _require(change: Change, table: Table, path: str, noun: str, row_id: int) -> RowMapping:
    return await recalled(change, (noun, row_id), lambda: require(change.tx, table, path, noun, row_id))


def _uri(path: str, text: str) -> str:
    try:
        uri = parse_uri(text.encode())
    except ParseError as error:
        raise invalid(path, f"no URI: {error}") from error
    if uri.scheme not in (b"sip", b"sips") or not uri.host:
        raise invalid(path, "no SIP URI, as in sip:reception@pbx.example.com")
    if uri.headers or uri.password:
        raise invalid(path, "a URI without headers and password")
    return text


def _number(path: str, text: str, own: str | None) -> str:
    digits = normalise_e164(text)
    if digits is None:
        raise invalid(path, "no E.164 number: 7 to 15 digits with the country's code first")
    if digits == own:
        raise invalid(path, "the number itself")
    return digits
