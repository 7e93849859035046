"""The order of admission: every cause that policy can give, and what a plan holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.rows import RateRow
from switch.policy.causes import Cause
from switch.policy.decide import decide
from switch.policy.live import CUSTOMER, ENDPOINT, INSTANCE_KEY, ROUTE, USER, Live, layer_key
from switch.policy.verdicts import Facts, Plan, Reject
from switch.snapshot import Client, CliRule, Customer, Endpoint, IngressRoute, Provider, RateCard, Record, SipUser
from switch.wire.sdp import offer_of
from tests.fakes.carrier import CENT, CHEAP, DEAR, DEFAULT_RECORDS, NOW_MS, SELL, carrier, invite, with_


def change(kind: type, record_id: int, **changes: object) -> tuple[Record, ...]:
    return with_(DEFAULT_RECORDS, kind, record_id, **changes)


def fill(live: Live, layer: int, record_id: int, calls: int) -> Live:
    for call in range(calls):
        live.enter(layer_key(layer, record_id), call)
    return live


def rejected(verdict: Plan | Reject) -> Reject:
    assert isinstance(verdict, Reject)
    return verdict


def planned(verdict: Plan | Reject) -> Plan:
    assert isinstance(verdict, Plan), (verdict.cause, verdict.detail)
    return verdict


def offering(*codecs: str) -> Facts:
    facts = invite()
    facts.sdp = offer_of(codecs)
    return facts


DENY = CliRule(id=1, customer_id=1, match="15551230001", action="deny")
CLIENT = Client(id=1, name="Tenant", status="suspended")

REFUSALS: list[tuple[Cause, tuple[Record, ...], Facts, Callable[[], Live]]] = [
    (Cause.SOURCE_UNKNOWN, DEFAULT_RECORDS, invite(source_ip="192.0.2.11"), Live),
    (Cause.SOURCE_UNKNOWN, change(Endpoint, 1, enabled=False), invite(), Live),
    (Cause.SOURCE_UNKNOWN, change(Endpoint, 1, direction="ingress"), invite(), Live),
    (Cause.SOURCE_UNKNOWN, change(Endpoint, 1, transport="tls"), invite(), Live),
    (Cause.SOURCE_UNKNOWN, change(Endpoint, 1, tech_prefix="77"), invite(), Live),
    (Cause.CUSTOMER_INACTIVE, change(Customer, 1, status="inactive"), invite(), Live),
    (Cause.CUSTOMER_PENDING, change(Customer, 1, status="pending_approval"), invite(), Live),
    (Cause.CUSTOMER_PENALTY, change(Customer, 1, status="penalty", penalty_until_ms=NOW_MS + 1), invite(), Live),
    (Cause.CLIENT_SUSPENDED, (CLIENT, *change(Customer, 1, client_id=1)), invite(), Live),
    (Cause.CLIENT_NOT_ACTIVE, change(Customer, 1, client_id=1), invite(), Live),
    (Cause.CPS_EXCEEDED, change(Endpoint, 1, flow_speed_cps=0.0), invite(), Live),
    (Cause.CPS_EXCEEDED, change(Customer, 1, flow_speed_cps=0.0), invite(), Live),
    (Cause.CPS_EXCEEDED, change(IngressRoute, 1, flow_speed_cps=0.0), invite(), Live),
    (Cause.CPS_EXCEEDED, DEFAULT_RECORDS, invite(), lambda: Live(cps_max=0.0)),
    (Cause.CHANNELS_EXCEEDED, change(Endpoint, 1, channels=2), invite(), lambda: fill(Live(), ENDPOINT, 1, 2)),
    (Cause.CHANNELS_EXCEEDED, change(Customer, 1, channels=2), invite(), lambda: fill(Live(), CUSTOMER, 1, 3)),
    (Cause.CHANNELS_EXCEEDED, change(IngressRoute, 1, channels=1), invite(), lambda: fill(Live(), ROUTE, 1, 1)),
    (Cause.CHANNELS_EXCEEDED, DEFAULT_RECORDS, invite(), lambda: Live(calls_max=0)),
    (Cause.CODECS_REFUSED, change(Endpoint, 1, codecs=("GSM",)), offering("PCMA", "telephone-event"), Live),
    (Cause.BANDWIDTH_EXCEEDED, change(Endpoint, 1, bandwidth_kbps=80), invite(kbps=87), Live),
    (Cause.BANDWIDTH_EXCEEDED, change(Endpoint, 1, bandwidth_kbps=79), offering("PCMA", "G729"), Live),
    (Cause.NUMBER_INVALID, DEFAULT_RECORDS, invite("4420"), Live),
    (Cause.NUMBER_INVALID, DEFAULT_RECORDS, invite("02079460000"), Live),
    (Cause.NUMBER_INVALID, DEFAULT_RECORDS, invite("alice"), Live),
    (Cause.NUMBER_INVALID, DEFAULT_RECORDS, invite(""), Live),
    (Cause.NUMBER_INVALID, change(Endpoint, 1, dial_pattern="33X."), invite(), Live),
    (Cause.NUMBER_INVALID, change(Endpoint, 1, strip_digits=20), invite(), Live),
    (Cause.NO_INGRESS_ROUTE, change(IngressRoute, 1, enabled=False), invite(), Live),
    (Cause.NO_INGRESS_ROUTE, change(IngressRoute, 1, dial_strings=("33",)), invite(), Live),
    (Cause.NO_INGRESS_ROUTE, change(IngressRoute, 1, tech_prefix="9"), invite(), Live),
    (Cause.NO_SELL_RATE, DEFAULT_RECORDS, invite("33123456789"), Live),
    (Cause.NO_SELL_RATE, change(RateCard, SELL, enabled=False), invite(), Live),
    (Cause.NO_SELL_RATE, change(RateCard, SELL, revisions=()), invite(), Live),
    (Cause.NO_SELL_RATE, change(IngressRoute, 1, rate_card_id=CHEAP), invite(), Live),
    (Cause.NO_SELL_RATE, change(IngressRoute, 1, rate_card_id=99), invite(), Live),
    (Cause.NO_SELL_RATE, change(Customer, 1, currency="EUR"), invite(), Live),
    (Cause.DESTINATION_BLOCKED, DEFAULT_RECORDS, invite("449001234567"), Live),
    (Cause.DESTINATION_BLOCKED, change(IngressRoute, 1, capped_rate_nanos=5 * CENT - 1), invite(), Live),
    (Cause.CLI_REFUSED, (DENY, *DEFAULT_RECORDS), invite(), Live),
    (Cause.NO_VENDOR, change(RateCard, SELL, vendor_card_ids=()), invite(), Live),
    (Cause.NO_VENDOR, change(IngressRoute, 1, exclude_cards=(CHEAP, DEAR)), invite(), Live),
    (Cause.NO_MARGIN, change(IngressRoute, 1, profit_mode="rate", exclude_cards=(CHEAP,)), invite("4470000000"), Live),
]


@pytest.mark.parametrize(("cause", "records", "facts", "live"), REFUSALS)
def test_each_cause_has_its_occasion(
    tmp_path: Path, cause: Cause, records: tuple[Record, ...], facts: Facts, live: Callable[[], Live]
) -> None:
    decks = {"dear": (RateRow("44", "UK", 3 * CENT), RateRow("447", "UK mobile", 6 * CENT))}
    reject = rejected(decide(carrier(tmp_path, records, decks), live(), facts))
    assert reject.cause is cause
    assert reject.steps == []
    assert (reject.customer_id is None) is (cause is Cause.SOURCE_UNKNOWN)
    # A simulation of the same call says the same, and why.
    simulated = rejected(decide(carrier(tmp_path, records, decks), live(), facts, is_simulated=True))
    assert simulated.cause is cause
    assert simulated.steps[-1].startswith(f"refused: {cause.value}")


def test_every_cause_that_policy_gives_is_tried_here() -> None:
    given_elsewhere = {
        Cause.CREDENTIALS_MISSING,
        Cause.CREDENTIALS_WRONG,
        Cause.CREDENTIALS_THROTTLED,
        Cause.BALANCE_INSUFFICIENT,
        Cause.DAILY_SPEND_REACHED,
        Cause.NUMBER_UNASSIGNED,
        Cause.NO_DESTINATION,
        Cause.VENDORS_EXHAUSTED,
        Cause.OVERLOAD,
        Cause.DRAINING,
        Cause.STORE_FAILED,
    }
    ends = set(list(Cause)[list(Cause).index(Cause.NORMAL) :])
    assert {row[0] for row in REFUSALS} == set(Cause) - given_elsewhere - ends


def test_the_first_of_several_reasons_is_given_in_the_order_of_admission(tmp_path: Path) -> None:
    # Everything is wrong at once; mending one after the other shows the order.
    records = with_(
        (
            Client(id=1, name="t", status="suspended"),
            *change(Customer, 1, status="inactive", client_id=1, flow_speed_cps=0.0, channels=0),
        ),
        IngressRoute,
        1,
        dial_strings=("33",),
        capped_rate_nanos=0,
    )
    records = with_(records, RateCard, SELL, vendor_card_ids=())
    mendings: list[tuple[Cause, type, int, dict[str, object]]] = [
        (Cause.CUSTOMER_INACTIVE, Customer, 1, {"status": "active"}),
        (Cause.CLIENT_SUSPENDED, Client, 1, {"status": "active"}),
        (Cause.CPS_EXCEEDED, Customer, 1, {"flow_speed_cps": None}),
        (Cause.CHANNELS_EXCEEDED, Customer, 1, {"channels": None}),
        (Cause.NUMBER_INVALID, Endpoint, 1, {"strip_digits": 2}),
        (Cause.NO_INGRESS_ROUTE, IngressRoute, 1, {"dial_strings": ()}),
        (Cause.DESTINATION_BLOCKED, IngressRoute, 1, {"capped_rate_nanos": None}),
        (Cause.NO_VENDOR, RateCard, SELL, {"vendor_card_ids": (CHEAP,)}),
    ]
    facts = invite("0a442079460000".replace("a", "1"))
    for cause, kind, record_id, mending in mendings:
        assert rejected(decide(carrier(tmp_path, records), Live(), facts)).cause is cause
        records = with_(records, kind, record_id, **mending)
    planned(decide(carrier(tmp_path, records), Live(), facts))


def test_a_plan_holds_what_the_call_needs(tmp_path: Path) -> None:
    records = with_(
        change(Customer, 1, tax_ppm=200_000, first_reply_ms=1, pdd_ms=2, ring_ms=3), IngressRoute, 1, max_duration_s=60
    )
    plan = planned(decide(carrier(tmp_path, records), Live(), invite()))
    assert (plan.customer.id, plan.client, plan.user, plan.route.id) == (1, None, None, 1)
    assert plan.endpoint is not None
    assert (plan.dialled_out, plan.cli_out) == ("442079460000", "15551230001")
    assert (plan.sell.row.prefix, plan.sell.tax_ppm, plan.sell.card_id, plan.sell.revision_id) == ("44", 200_000, 1, 11)
    assert [option.provider.name for option in plan.options] == ["Cheapline", "Dearline"]
    assert [option.margin_nanos for option in plan.options] == [3 * CENT, 2 * CENT]
    assert [(c.card_id, c.outcome) for c in plan.explanation] == [(CHEAP, "not_reached"), (DEAR, "not_reached")]
    assert plan.max_duration_ms == 60_000
    assert (plan.first_reply_ms, plan.pdd_ms, plan.ring_ms) == (1, 2, 3)
    assert plan.keys == [layer_key(ENDPOINT, 1), layer_key(CUSTOMER, 1), layer_key(ROUTE, 1), INSTANCE_KEY]


def test_a_refusal_says_what_was_known(tmp_path: Path) -> None:
    reject = rejected(decide(carrier(tmp_path), Live(), invite("449001234567")))
    assert (reject.customer_id, reject.endpoint_id, reject.user_id, reject.route_id) == (1, 1, None, 1)
    assert (reject.dialled_out, reject.cli_out) == ("449001234567", "15551230001")
    assert reject.sell is not None
    assert reject.sell.row.prefix == "44900"


SPELLINGS = (
    "442079460000",
    "+442079460000",
    "00442079460000",
    "011442079460000",
    "+44 20 7946-0000",
    "+44(20)79.46.00.00",
    "442079460000;ext=12",
    "tel:+442079460000",
)


@pytest.mark.parametrize("dialled", SPELLINGS)
def test_all_spellings_of_a_number_are_one(tmp_path: Path, dialled: str) -> None:
    assert planned(decide(carrier(tmp_path), Live(), invite(dialled))).dialled_out == "442079460000"
    records = change(Endpoint, 1, tech_prefix="1234#")
    assert planned(decide(carrier(tmp_path, records), Live(), invite("1234#" + dialled))).dialled_out == "442079460000"


@pytest.mark.parametrize("dialled", [spelling.replace("20", "90", 1) for spelling in SPELLINGS])
def test_no_spelling_slips_past_a_blocked_destination(tmp_path: Path, dialled: str) -> None:
    decks = {"sell": (RateRow("44", "UK", 5 * CENT), RateRow("4490", "premium", CENT, is_blocked=True))}
    reject = rejected(decide(carrier(tmp_path, decks=decks), Live(), invite(dialled)))
    assert reject.cause is Cause.DESTINATION_BLOCKED


@pytest.mark.parametrize(
    ("endpoint", "dialled", "out"),
    [
        ({"tech_prefix": "1234"}, "1234442079460000", "442079460000"),
        ({"tech_prefix": "1234"}, "123400442079460000", "442079460000"),
        ({"strip_digits": 1}, "9442079460000", "442079460000"),
        ({"tech_prefix": "12", "strip_digits": 2}, "1299442079460000", "442079460000"),
        ({"dial_pattern": "44X."}, "+442079460000", "442079460000"),
        ({"dial_pattern": "00Z."}, "00442079460000", "442079460000"),
        ({"dial_pattern": "44NX"}, "4420", "4420"),
    ],
)
def test_the_number_pipeline(tmp_path: Path, endpoint: dict[str, object], dialled: str, out: str) -> None:
    plan = planned(decide(carrier(tmp_path, change(Endpoint, 1, **endpoint)), Live(), invite(dialled)))
    assert plan.dialled_out == out


@pytest.mark.parametrize(
    ("endpoint", "cli", "out"),
    [
        ({}, "+15551230001", "+15551230001"),
        ({"cli_prefix": "99"}, "15551230001", "9915551230001"),
        ({"cli_prefix": "99"}, "+15551230001", "9915551230001"),
        ({"cli_prefix": "99"}, "anonymous", "anonymous"),
        ({"cli_prefix": "99"}, "", ""),
        ({"cli_prefix": "99", "force_from": "442000000000"}, "15551230001", "442000000000"),
    ],
)
def test_the_calling_number_pipeline(tmp_path: Path, endpoint: dict[str, object], cli: str, out: str) -> None:
    plan = planned(decide(carrier(tmp_path, change(Endpoint, 1, **endpoint)), Live(), invite(cli=cli)))
    assert plan.cli_out == out


def route(record_id: int, tech_prefix: str = "", priority: int = 0, dial_strings: tuple[str, ...] = ()) -> IngressRoute:
    return IngressRoute(
        id=record_id,
        customer_id=1,
        rate_card_id=SELL,
        tech_prefix=tech_prefix,
        priority=priority,
        dial_strings=dial_strings,
    )


@pytest.mark.parametrize(
    ("routes", "dialled", "route_id", "out"),
    [
        ([route(1), route(2, "8"), route(3, "88")], "88442079460000", 3, "442079460000"),
        ([route(1), route(2, "8"), route(3, "88")], "8442079460000", 2, "442079460000"),
        ([route(1), route(2, "8"), route(3, "88")], "442079460000", 1, "442079460000"),
        ([route(1, priority=5), route(2, priority=1)], "442079460000", 2, "442079460000"),
        ([route(2), route(1)], "442079460000", 1, "442079460000"),
        ([route(1, dial_strings=("33",)), route(2, priority=9)], "442079460000", 2, "442079460000"),
        ([route(1, "44", dial_strings=("33",)), route(2)], "442079460000", 2, "442079460000"),
        ([route(1, "#9", dial_strings=("4420",)), route(2)], "#9+442079460000", 1, "442079460000"),
    ],
)
def test_the_route_has_the_longest_tech_prefix_then_priority_then_the_dial_string(
    tmp_path: Path, routes: list[IngressRoute], dialled: str, route_id: int, out: str
) -> None:
    records = [record for record in DEFAULT_RECORDS if not isinstance(record, IngressRoute)]
    plan = planned(decide(carrier(tmp_path, [*records, *routes]), Live(), invite(dialled)))
    assert (plan.route.id, plan.dialled_out) == (route_id, out)


def test_a_route_with_its_endpoints_own_tech_prefix_takes_nothing_more_off(tmp_path: Path) -> None:
    records = with_(change(Endpoint, 1, tech_prefix="44"), IngressRoute, 1, tech_prefix="44")
    assert planned(decide(carrier(tmp_path, records), Live(), invite("44442079460000"))).dialled_out == "442079460000"


def test_a_tech_prefix_of_another_customer_gives_nothing(tmp_path: Path) -> None:
    records = (
        *DEFAULT_RECORDS,
        Customer(id=2, name="Bolt", status="active"),
        Endpoint(id=2, customer_id=2, direction="egress", host="192.0.2.20", tech_prefix="5678"),
        IngressRoute(id=2, customer_id=2, rate_card_id=SELL, tech_prefix="5678"),
    )
    tables = carrier(tmp_path, records)
    reject = rejected(decide(tables, Live(), invite("5678442079460000")))
    assert reject.customer_id == 1
    assert reject.cause is Cause.NUMBER_INVALID
    found = tables.sources.find("192.0.2.20", "udp", "5678442079460000")
    assert found is not None
    assert found.record_id == 2


def user_records(**changes: object) -> tuple[Record, ...]:
    return change(SipUser, 1, **changes)


def test_a_user_calls_from_anywhere_with_its_own_pipeline(tmp_path: Path) -> None:
    tables = carrier(tmp_path, user_records(strip_digits=1, force_from="4400"))
    plan = planned(decide(tables, Live(), invite("9442079460000", source_ip="203.0.113.9", user=tables.users[1])))
    assert plan.user is tables.users[1]
    assert plan.endpoint is None
    assert (plan.dialled_out, plan.cli_out) == ("442079460000", "4400")
    assert plan.keys[0] == layer_key(USER, 1)


@pytest.mark.parametrize("changes", [{"enabled": False}, {"transport": "tls"}, {"ip_allow_list": ("198.51.100.0/24",)}])
def test_a_user_who_may_not_call_like_this_is_a_stranger(tmp_path: Path, changes: dict[str, object]) -> None:
    tables = carrier(tmp_path, user_records(**changes))
    reject = rejected(decide(tables, Live(), invite(user=tables.users[1])))
    assert reject.cause is Cause.SOURCE_UNKNOWN


def test_a_limit_of_n_channels_gives_n(tmp_path: Path) -> None:
    tables = carrier(tmp_path, change(Customer, 1, channels=10))
    live = Live()
    let_in = 0
    for call in range(50):
        verdict = decide(tables, live, invite())
        if isinstance(verdict, Plan):
            live.enter_all(verdict.keys, call)
            let_in += 1
    assert let_in == 10


def test_a_refusal_by_one_rate_uses_up_no_other(tmp_path: Path) -> None:
    records = with_(change(Customer, 1, flow_speed_cps=10.0), IngressRoute, 1, flow_speed_cps=4.0, dial_strings=("44",))
    records = (*records, route(2, dial_strings=("1",)))
    decks = {"sell": (RateRow("44", "UK", CENT), RateRow("1", "US", CENT)), "cheap": (RateRow("", "all", 0),)}
    decks = {"sell": decks["sell"], "cheap": (RateRow("1", "US", 0), RateRow("44", "UK", 0))}
    tables = carrier(tmp_path, records, decks)
    live = Live()
    first = [decide(tables, live, invite()) for _ in range(50)]
    second = [decide(tables, live, invite("12125550100")) for _ in range(50)]
    assert sum(isinstance(verdict, Plan) for verdict in first) == 4
    assert sum(isinstance(verdict, Plan) for verdict in second) == 6


def test_a_route_with_a_buffer_says_how_long_its_call_may_wait(tmp_path: Path) -> None:
    records = change(IngressRoute, 1, flow_speed_cps=4.0, cps_buffer_s=1)
    tables = carrier(tmp_path, records)
    live = Live()
    for _ in range(4):
        planned(decide(tables, live, invite()))
    reject = rejected(decide(tables, live, invite()))
    assert reject.retry_in_s == 0.25
    planned(decide(tables, live, invite(now_s=1000.25)))
    refused = rejected(decide(carrier(tmp_path, change(Endpoint, 1, flow_speed_cps=0.0)), Live(), invite()))
    assert refused.retry_in_s == 0.0


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_decided_without_an_exception(
    tmp_path_factory: pytest.TempPathFactory, dialled: str, cli: str
) -> None:
    tables = _shared_carrier(tmp_path_factory)
    assert isinstance(decide(tables, Live(), invite(dialled, cli=cli), is_simulated=True), Plan | Reject)


_SHARED: list[object] = []


def _shared_carrier(factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    if not _SHARED:
        _SHARED.append(carrier(factory.mktemp("decks"), change(Endpoint, 1, dial_pattern="!", cli_prefix="9")))
    return _SHARED[0]


OUTCOMES: list[tuple[str, tuple[Record, ...], dict[str, tuple[RateRow, ...]]]] = [
    ("no_rate", DEFAULT_RECORDS, {"dear": (RateRow("33", "France", CENT),)}),
    ("blocked", DEFAULT_RECORDS, {"dear": (RateRow("44", "UK", CENT, is_blocked=True),)}),
    ("capped", change(IngressRoute, 1, vendor_capped_rate_nanos=2 * CENT), {}),
    ("locked_out", change(IngressRoute, 1, lock_cards=(CHEAP,)), {}),
    ("excluded", change(IngressRoute, 1, exclude_cards=(DEAR,)), {}),
    (
        "margin",
        change(IngressRoute, 1, profit_mode="rate"),
        {"dear": (RateRow("44", "UK", 5 * CENT + 1),)},
    ),
    (
        "margin",
        change(IngressRoute, 1, profit_mode="worst_case"),
        {"dear": (RateRow("44", "UK", 3 * CENT, first_s=60, next_s=60),)},
    ),
    (
        "margin",
        change(IngressRoute, 1, profit_mode="expected", durations=((5, 9), (600, 1))),
        {"dear": (RateRow("44", "UK", 3 * CENT, first_s=60, next_s=60),)},
    ),
    (
        "connect_fee",
        change(IngressRoute, 1, block_connect_fee=True),
        {"dear": (RateRow("44", "UK", CENT, connect_fee_nanos=1),)},
    ),
    ("currency", change(RateCard, DEAR, currency="EUR"), {}),
    ("disabled", change(RateCard, DEAR, enabled=False), {}),
    ("disabled", change(RateCard, DEAR, direction="sell"), {}),
    ("disabled", change(RateCard, DEAR, provider_id=None), {}),
    ("disabled", change(Provider, 2, enabled=False), {}),
    ("disabled", tuple(r for r in DEFAULT_RECORDS if not (isinstance(r, RateCard) and r.id == DEAR)), {}),
]


@pytest.mark.parametrize(("outcome", "records", "decks"), OUTCOMES)
def test_each_reason_to_skip_a_vendor_is_explained(
    tmp_path: Path, outcome: str, records: tuple[Record, ...], decks: dict[str, tuple[RateRow, ...]]
) -> None:
    plan = planned(decide(carrier(tmp_path, records, decks), Live(), invite()))
    assert [option.card.id for option in plan.options] == [CHEAP]
    assert [(candidate.card_id, candidate.outcome) for candidate in plan.explanation] == [
        (CHEAP, "not_reached"),
        (DEAR, outcome),
    ]


def test_a_margin_of_nothing_is_no_loss(tmp_path: Path) -> None:
    for mode in ("rate", "worst_case", "expected"):
        records = change(IngressRoute, 1, profit_mode=mode)
        tables = carrier(tmp_path, records, {"dear": (RateRow("44", "UK", 5 * CENT),)})
        assert len(planned(decide(tables, Live(), invite())).options) == 2


def test_expected_sells_what_the_routes_own_lengths_bear(tmp_path: Path) -> None:
    # Bought by whole minutes: five seconds lose, ten minutes earn.
    decks = {"dear": (RateRow("44", "UK", 3 * CENT, first_s=60, next_s=60),)}
    for durations, options in (((), 1), (((5, 9), (600, 1)), 1), (((5, 1), (600, 9)), 2)):
        records = change(IngressRoute, 1, profit_mode="expected", durations=durations)
        plan = planned(decide(carrier(tmp_path, records, decks), Live(), invite()))
        assert len(plan.options) == options
    # With too few calls to judge by, what is refused is what the worst case refuses.
    worst = planned(
        decide(carrier(tmp_path, change(IngressRoute, 1, profit_mode="worst_case"), decks), Live(), invite())
    )
    none = planned(decide(carrier(tmp_path, change(IngressRoute, 1, profit_mode="expected"), decks), Live(), invite()))
    assert [c.margin_nanos for c in none.explanation] == [c.margin_nanos for c in worst.explanation]
    # Ten minutes that the route cuts at five seconds are five seconds.
    records = change(IngressRoute, 1, profit_mode="expected", durations=((600, 10),), max_duration_s=5)
    assert len(planned(decide(carrier(tmp_path, records, decks), Live(), invite())).options) == 1


def test_without_a_profit_mode_a_loss_is_sold(tmp_path: Path) -> None:
    tables = carrier(tmp_path, decks={"dear": (RateRow("44", "UK", 50 * CENT),)})
    plan = planned(decide(tables, Live(), invite()))
    assert [option.margin_nanos for option in plan.options] == [3 * CENT, -45 * CENT]


def test_the_worst_case_reaches_to_the_routes_limit_only(tmp_path: Path) -> None:
    # The vendor's second tier makes calls of over a minute a loss.
    decks = {"dear": (RateRow("44", "UK", 3 * CENT, tiers=((60, 90 * CENT),)),)}
    for max_duration_s, options in ((60, 2), (120, 1)):
        records = change(IngressRoute, 1, profit_mode="worst_case", max_duration_s=max_duration_s)
        assert len(planned(decide(carrier(tmp_path, records, decks), Live(), invite())).options) == options
    records = change(IngressRoute, 1, profit_mode="worst_case")
    facts = invite(max_duration_s=30)
    assert len(planned(decide(carrier(tmp_path, records, decks), Live(), facts)).options) == 2


def test_rates_follow_time_of_week_windows(tmp_path: Path) -> None:
    day = 24 * 60
    decks = {"sell": (RateRow("44", "UK", 5 * CENT, windows=((0, 7 * day, CENT),)),)}
    plan = planned(decide(carrier(tmp_path, decks=decks), Live(), invite()))
    assert plan.sell.rate_nanos == CENT
    assert plan.options[0].margin_nanos == -CENT
