"""Snapshots and deltas: what calls see is the state before or the state after."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.decks import compile_deck
from rating.rows import RateRow
from switch.policy.decide import decide
from switch.policy.live import Live
from switch.policy.tables import StaleDelta, Tables
from switch.policy.verdicts import Plan, Reject
from switch.snapshot import (
    Client,
    Customer,
    Delta,
    Did,
    Endpoint,
    Gateway,
    IngressRoute,
    Key,
    Provider,
    RateCard,
    Record,
    Revision,
    SipUser,
    Snapshot,
)
from tests.fakes.carrier import CENT, DEFAULT_RECORDS, NOW_MS, carrier, invite, with_


def put(tables: Tables, *records: Record, remove: tuple[Key, ...] = ()) -> None:
    tables.apply(Delta(version=tables.version + 1, put=records, remove=remove))


def called_by(tables: Tables, source_ip: str, dialled: str) -> Endpoint | None:
    """The endpoint that this address calls as."""
    caller = tables.sources.find(source_ip, "udp", dialled)
    return None if caller is None else caller.endpoint


def view(tables: Tables) -> object:
    """Everything that calls are decided by, in a form that can be compared."""
    return (
        tables.version,
        tables.customers,
        tables.clients,
        tables.endpoints,
        tables.users,
        tables.routes,
        tables.providers,
        tables.gateways,
        {card_id: (card.record, card.provider, card.error) for card_id, card in tables.cards.items()},
        tables.users_by_name,
        tables.dids,
        tables.dids_by_number,
        tables.problems,
        {cid: [route.record for route in routes] for cid, routes in tables.routes_by_customer.items() if routes},
        {pid: gateways for pid, gateways in tables.gateways_by_provider.items() if gateways},
        {
            eid: (caller.account.customer, caller.account.client, caller.endpoint)
            for eid, caller in tables.endpoint_callers.items()
        },
        {
            uid: (caller.account.customer, caller.account.client, caller.user)
            for uid, caller in tables.user_callers.items()
        },
        [
            called_by(tables, source_ip, dialled)
            for source_ip in ("192.0.2.1", "192.0.2.2", "192.0.2.77")
            for dialled in ("1", "2")
        ],
    )


RECORDS = st.one_of(
    st.builds(
        Customer,
        id=st.integers(1, 2),
        name=st.just("c"),
        status=st.sampled_from(["active", "inactive"]),
        client_id=st.sampled_from([None, 1, 2]),
    ),
    st.builds(Client, id=st.integers(1, 2), name=st.just("x"), status=st.sampled_from(["active", "suspended"])),
    st.builds(
        Endpoint,
        id=st.integers(1, 3),
        customer_id=st.integers(1, 2),
        direction=st.sampled_from(["egress", "ingress"]),
        host=st.sampled_from(["192.0.2.1", "192.0.2.0/24", "192.0.2.2", "not an address"]),
        tech_prefix=st.sampled_from(["", "2"]),
        enabled=st.booleans(),
        dial_pattern=st.sampled_from(["", "X.", "?"]),
    ),
    st.builds(
        SipUser,
        id=st.integers(1, 3),
        customer_id=st.integers(1, 2),
        username=st.sampled_from(["a", "b", "c"]),
        realm=st.just("r"),
    ),
    st.builds(
        IngressRoute,
        id=st.integers(1, 3),
        customer_id=st.integers(1, 2),
        rate_card_id=st.just(1),
        enabled=st.booleans(),
        dial_strings=st.sampled_from([(), ("44",), ("(",)]),
        priority=st.integers(0, 2),
    ),
    st.builds(Provider, id=st.integers(1, 2), name=st.just("p")),
    st.builds(Gateway, id=st.integers(1, 3), provider_id=st.integers(1, 2), host=st.just("203.0.113.1")),
    st.builds(
        RateCard,
        id=st.integers(1, 2),
        name=st.just("k"),
        direction=st.just("buy"),
        provider_id=st.sampled_from([None, 1, 2]),
    ),
    st.builds(Did, id=st.integers(1, 3), number=st.sampled_from(["441", "442"])),
)
KINDS = ("customer", "client", "endpoint", "sip_user", "ingress_route", "provider", "gateway", "rate_card", "did")
CHANGES = st.lists(
    st.tuples(
        st.lists(RECORDS, max_size=4, unique_by=lambda record: (type(record), record.id)),
        st.lists(st.builds(Key, kind=st.sampled_from(KINDS), id=st.integers(1, 3)), max_size=3),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(CHANGES)
def test_deltas_lead_to_what_a_snapshot_of_their_result_is(changes: list[tuple[list[Record], list[Key]]]) -> None:
    tables = Tables(None)
    tables.load(Snapshot(version=1))
    held: dict[tuple[str, int], Record] = {}
    for records, removals in changes:
        put(tables, *records, remove=tuple(removals))
        for key in removals:
            held.pop((key.kind, key.id), None)
        for record in records:
            held[record.__struct_config__.tag, record.id] = record  # type: ignore[index]
    fresh = Tables(None)
    fresh.load(Snapshot(version=tables.version, records=tuple(held.values())))
    assert view(tables) == view(fresh)


@pytest.mark.parametrize("version", [0, 1, 3, 99])
def test_a_delta_that_does_not_follow_changes_nothing(tmp_path: Path, version: int) -> None:
    tables = carrier(tmp_path)
    before = view(tables)
    with pytest.raises(StaleDelta):
        tables.apply(Delta(version=version, remove=(Key("customer", 1),)))
    assert view(tables) == before


def test_two_users_may_swap_their_names_in_one_delta() -> None:
    tables = Tables(None)
    users = [SipUser(id=n, customer_id=1, username=name, realm="r") for n, name in ((1, "a"), (2, "b"))]
    tables.load(Snapshot(version=1, records=(Customer(id=1, name="c", status="active"), *users)))
    put(tables, *[SipUser(id=n, customer_id=1, username=name, realm="r") for n, name in ((1, "b"), (2, "a"))])
    assert tables.users_by_name["a", "r"].id == 2
    assert tables.users_by_name["b", "r"].id == 1


def test_of_two_records_with_one_id_the_later_counts() -> None:
    tables = Tables(None)
    twice = [
        Endpoint(id=1, customer_id=1, direction="egress", host=host) for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3")
    ]
    tables.load(Snapshot(version=1, records=(Customer(id=1, name="c", status="active"), *twice)))
    assert [bool(called_by(tables, f"192.0.2.{n}", "1")) for n in (1, 2, 3)] == [False, False, True]
    put(tables, *reversed(twice))
    assert [bool(called_by(tables, f"192.0.2.{n}", "1")) for n in (1, 2, 3)] == [True, False, False]


def test_a_second_user_of_one_name_is_left_out_with_a_reason() -> None:
    tables = Tables(None)
    users = [SipUser(id=n, customer_id=1, username="a", realm="r") for n in (1, 2)]
    tables.load(Snapshot(version=1, records=tuple(users)))
    assert tables.users_by_name["a", "r"].id == 1
    assert tables.problems["sip_user", 2] == "user 1 has the same name and realm"
    put(tables, remove=(Key("sip_user", 1),))
    assert tables.users_by_name["a", "r"].id == 2
    assert not tables.problems


def test_two_dids_may_swap_their_numbers_in_one_delta_and_a_second_of_one_number_is_left_out() -> None:
    tables = Tables(None)
    tables.load(Snapshot(version=1, records=(Did(id=1, number="441"), Did(id=2, number="442"))))
    put(tables, Did(id=1, number="442"), Did(id=2, number="441"))
    assert [tables.dids_by_number[number].id for number in ("441", "442")] == [2, 1]
    put(tables, Did(id=3, number="441"))
    assert tables.dids_by_number["441"].id == 2
    assert tables.problems == {("did", 3): "DID 2 has the same number"}
    put(tables, remove=(Key("did", 2),))
    assert tables.dids_by_number["441"].id == 3
    assert not tables.problems


def test_a_bad_dial_string_is_left_out_and_the_others_work(tmp_path: Path) -> None:
    tables = carrier(tmp_path, with_(DEFAULT_RECORDS, IngressRoute, 1, dial_strings=("44", "(")))
    assert isinstance(decide(tables, Live(), invite()), Plan)
    assert "missing )" in tables.problems["ingress_route", 1]


def test_a_route_whose_dial_strings_are_all_bad_takes_nothing(tmp_path: Path) -> None:
    tables = carrier(tmp_path, with_(DEFAULT_RECORDS, IngressRoute, 1, dial_strings=("(",)))
    verdict = decide(tables, Live(), invite())
    assert isinstance(verdict, Reject)
    assert verdict.cause == "no_ingress_route"
    put(tables, *[record for record in DEFAULT_RECORDS if isinstance(record, IngressRoute)])
    assert isinstance(decide(tables, Live(), invite()), Plan)
    assert not tables.problems


def test_a_card_without_its_deck_refuses_calls_and_says_why(tmp_path: Path) -> None:
    records = with_(DEFAULT_RECORDS, RateCard, 1, revisions=(Revision(id=9, path="gone"),))
    tables = carrier(tmp_path, records)
    verdict = decide(tables, Live(), invite())
    assert isinstance(verdict, Reject)
    assert verdict.cause == "no_sell_rate"
    assert "gone" in tables.cards[1].error
    assert "gone" in tables.problems["rate_card", 1]
    compile_deck([RateRow("44", "UK", 5 * CENT)], tmp_path / "gone")
    put(tables, tables.cards[1].record)
    assert isinstance(decide(tables, Live(), invite()), Plan)
    assert not tables.problems


def test_a_card_with_an_unknown_time_zone_is_named_and_breaks_nothing_else(tmp_path: Path) -> None:
    tables = carrier(tmp_path, with_(DEFAULT_RECORDS, RateCard, 3, time_zone="Mars/Olympus"))
    assert "Mars/Olympus" in tables.problems["rate_card", 3]
    assert isinstance(decide(tables, Live(), invite()), Plan)


def test_revisions_take_over_at_their_time_and_none_stands_in_for_one_that_is_missing(tmp_path: Path) -> None:
    compile_deck([RateRow("44", "later", 7 * CENT)], tmp_path / "later")
    revisions = (
        Revision(id=3, path="gone", active_from_ms=NOW_MS + 2000),
        Revision(id=1, path="sell", active_from_ms=NOW_MS - 1),
        Revision(id=2, path="later", active_from_ms=NOW_MS + 1000),
    )
    tables = carrier(tmp_path, with_(DEFAULT_RECORDS, RateCard, 1, revisions=revisions))
    card = tables.cards[1]
    found = [card.revision_at(NOW_MS + at_ms) for at_ms in (-2, -1, 999, 1000, 2000)]
    assert [revision and revision.revision_id for revision in found] == [None, 1, 1, 2, 3]
    assert card.deck_at(NOW_MS) is not None
    assert card.deck_at(NOW_MS + 2000) is None


def test_open_decks_are_kept_over_deltas_and_snapshots(tmp_path: Path) -> None:
    tables = carrier(tmp_path)
    deck = tables.cards[1].deck_at(NOW_MS)
    put(tables, *[card.record for card in tables.cards.values()])
    assert tables.cards[1].deck_at(NOW_MS) is deck
    tables.load(Snapshot(version=9, records=DEFAULT_RECORDS))
    assert tables.cards[1].deck_at(NOW_MS) is deck
    assert tables.version == 9


def test_changing_a_customer_or_client_reaches_endpoints_that_were_not_sent_again(tmp_path: Path) -> None:
    tables = carrier(tmp_path)
    put(tables, Client(id=4, name="x", status="suspended"), Customer(id=1, name="a", status="active", client_id=4))
    verdict = decide(tables, Live(), invite())
    assert isinstance(verdict, Reject)
    assert verdict.cause == "client_suspended"
    put(tables, Client(id=4, name="x", status="active"))
    assert isinstance(decide(tables, Live(), invite()), Plan)
    put(tables, remove=(Key("customer", 1),))
    assert called_by(tables, "192.0.2.10", "44") is None


def test_a_user_is_found_by_name_and_realm_or_by_a_name_that_is_in_one_realm_only() -> None:
    tables = Tables(None)
    users = [
        SipUser(id=n, customer_id=1, username=name, realm=realm)
        for n, (name, realm) in enumerate([("a", "r"), ("a", "s"), ("b", "r")], 1)
    ]
    tables.load(Snapshot(version=1, records=tuple(users)))
    found = [tables.find_user(name) for name in ("a", "a@s", "b", "b@s", "c", "")]
    assert [user and user.id for user in found] == [None, 2, 3, None, None, None]
