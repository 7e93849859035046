"""Phones register, are rung through a number, and are forgotten in time."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from config.settings import Limits, Listener, Registrar, Settings
from switch.engine import Engine
from switch.outputs import Flow, Send
from switch.registrations import Registration
from switch.snapshot import Client, Delta, Key, SipUser, Snapshot
from switch.wire.headers import CONTACT, MIN_EXPIRES, ROUTE
from switch.wire.message import parse_message
from tests.fakes.carrier import with_
from tests.fakes.inbound_calls import DID, InboundWorld, customer_records, did_records
from tests.fakes.inbound_calls import USER as TO_USER
from tests.fakes.phone import Phone, hash_of
from tests.fakes.world import SWITCH, Caller

HASHES = {"ha1_md5": hash_of("MD5"), "ha1_sha256": hash_of("SHA-256")}
RECORDS = with_(did_records(destinations=(TO_USER,)), SipUser, 1, **HASHES)
NAT = ("203.0.113.7", 40_001)
NAT_2 = ("203.0.113.7", 40_002)
PRIVATE = "<sip:alice@192.168.1.20:5060>"


class Phones(InboundWorld):
    def __init__(
        self, folder: Path, *, registrar: Registrar | None = None, limits: Limits | None = None, **arguments: object
    ) -> None:
        settings = Settings(registrar=registrar or Registrar(), limits=limits or Limits())
        super().__init__(folder, arguments.pop("records", RECORDS), settings=settings, **arguments)  # type: ignore[arg-type]
        self.phone = Phone(self, NAT, PRIVATE)
        self.written: list[Registration] = []

    def _collect(self) -> None:
        if hasattr(self, "written"):
            self.written += self.engine.board.registrations
        super()._collect()

    def restart(self) -> None:
        """Kill and start again, with the contacts as their file has them."""
        self.crash()
        last = {(each.user_id, each.uri): each for each in self.written}
        self.engine.restore_registrations([each for each in last.values() if each.expires_ms], self.now)


@pytest.fixture
def world(tmp_path: Path) -> Phones:
    return Phones(tmp_path)


def test_a_phone_behind_a_nat_registers_and_is_rung_where_it_speaks_from(world: Phones) -> None:
    assert world.phone.log_in() == 200
    assert world.phone.statuses("REGISTER") == [401, 200]
    assert world.phone.bound() == ["<sip:alice@192.168.1.20:5060>;expires=3600;q=1.000"]
    cdr = world.talk_inbound(30)
    (invite,) = world.phone.invites
    assert invite.uri == b"sip:alice@192.168.1.20:5060"
    assert (cdr.cause, cdr.sip_user_id, cdr.endpoint_id) == ("normal", 1, None)
    assert cdr.attempts[0].destination == "sip_user 1 sip:alice@192.168.1.20:5060"
    assert {p.target for p in world.log if p.target[0] in (NAT[0], "192.168.1.20")} == {NAT}
    assert "ACK" in world.names_to(NAT)
    assert "BYE" in world.names_to(NAT)


@pytest.mark.parametrize(
    ("algorithm", "extra"), [("MD5", []), ("MD5", ["X-Room: 12345"]), ("SHA-256", ["X-Room: 12345"])]
)
def test_a_challenge_is_no_longer_than_the_question_and_offers_what_fits(
    world: Phones, algorithm: str, extra: list[str]
) -> None:
    world.phone.algorithms = (algorithm,)
    asked = world.phone.register(extra=extra)
    world.run_for(0.1)
    answered = [p.data for p in world.log if p.target == NAT]
    assert len(answered) == 1
    assert len(answered[0]) <= len(asked)
    assert world.phone.log_in() == 200


def test_an_account_without_md5_is_offered_what_it_takes(tmp_path: Path) -> None:
    world = Phones(tmp_path, records=with_(RECORDS, SipUser, 1, ha1_md5=""))
    assert world.phone.log_in() == 200


def test_a_wrong_password_another_users_address_and_a_copy_get_nothing(world: Phones) -> None:
    world.phone.password = "wrong"
    assert world.phone.log_in() == 401
    world.phone.password = "secret"
    assert world.phone.log_in(to="<sip:bob@192.0.2.1>") == 403
    assert world.engine.board.bindings.count == 0
    world.phone.log_in()
    data = world.log[-2].data
    thief = Phone(world, ("203.0.113.99", 5060))
    thief.send(data.replace(b"branch=z9hG4bK", b"branch=z9hG4bKx").replace(b"192.168.1.20", b"203.0.113.99"))
    world.run_for(0.1)
    assert 200 not in thief.statuses("REGISTER")
    assert [each.flow.address for each in world.engine.board.bindings.by_user[1]] == [NAT]


def test_without_users_or_switched_off_there_is_no_registrar(tmp_path: Path) -> None:
    world = Phones(tmp_path, registrar=Registrar(enabled=False))
    world.phone.register()
    world.run_for(0.1)
    assert world.phone.statuses("REGISTER") == [405]


def test_contacts_end_by_time_by_zero_and_by_a_star(world: Phones) -> None:
    assert world.phone.log_in(expires=60) == 200
    world.run_for(61)
    assert world.engine.list_registrations(1, world.now) == []
    assert world.engine.board.bindings.count == 0
    world.phone.nonce = ""
    world.phone.log_in(["<sip:a@10.0.0.1>", "<sip:b@10.0.0.1>;q=0.5", "<sip:c@10.0.0.1>;expires=90"])
    assert world.phone.bound() == [
        "<sip:a@10.0.0.1>;expires=3600;q=1.000",
        "<sip:b@10.0.0.1>;expires=3600;q=0.500",
        "<sip:c@10.0.0.1>;expires=90;q=1.000",
    ]
    world.phone.log_in(["<sip:a@10.0.0.1>;expires=0"])
    assert len(world.phone.bound()) == 2
    assert world.phone.log_in(["*"], expires=60) == 400
    assert world.phone.log_in(["*", "<sip:b@10.0.0.1>"], expires=0) == 400
    assert world.phone.log_in([], expires=None) == 200, "a question"
    assert len(world.phone.bound()) == 2
    assert world.phone.log_in(["*"], expires=0) == 200
    assert world.engine.board.bindings.count == 0
    assert [each.expires_ms for each in world.written[-2:]] == [0, 0]


def test_too_short_an_interval_is_423_and_too_long_a_one_is_cut(world: Phones) -> None:
    assert world.phone.log_in(expires=30) == 423
    assert world.phone.last(423).first(MIN_EXPIRES) == b"60"
    assert world.phone.log_in(expires=90_000) == 200
    assert world.phone.bound()[0].endswith("expires=7200;q=1.000")
    assert world.phone.log_in(expires=None) == 200
    assert "expires=3600" in world.phone.bound()[0]


@pytest.mark.parametrize(
    "contact",
    ["<tel:+4420>", "<mailto:a@b>", "<sips:alice@10.0.0.1>", "<sip:" + "a" * 600 + "@10.0.0.1>", "<sip:a@10.0.0.1"],
)
def test_a_contact_that_cannot_be_used_changes_nothing(world: Phones, contact: str) -> None:
    world.phone.log_in()
    assert world.phone.log_in(["<sip:new@10.0.0.1>", contact]) == 400
    assert [each.contact for each in world.engine.list_registrations(1, world.now)] == ["sip:alice@192.168.1.20:5060"]


def test_an_overtaken_request_changes_nothing(world: Phones) -> None:
    world.phone.log_in()
    world.phone.register(expires=0, cseq=1)
    world.run_for(0.1)
    assert world.phone.statuses("REGISTER")[-1] == 500
    assert world.engine.board.bindings.count == 1


def test_a_copy_of_an_accepted_register_gets_the_same_answer(world: Phones) -> None:
    world.phone.log_in()
    data = next(p.data for p in reversed(world.log) if p.source == NAT and b"REGISTER sip" in p.data)
    answers = [p.data for p in world.log if p.target == NAT and b" 200 " in p.data[:12]]
    world.phone.send(data)
    world.run_for(0.1)
    again = [p.data for p in world.log if p.target == NAT and b" 200 " in p.data[:12]]
    assert again == [*answers, answers[-1]]


def test_contacts_are_rung_one_after_another_by_their_q(world: Phones) -> None:
    first, second = Phone(world, NAT, "<sip:desk@10.0.0.1>;q=0.4"), Phone(world, NAT_2, "<sip:cell@10.0.0.2>;q=0.9")
    first.log_in()
    second.log_in()
    second.behaviour = (100, 180, 486)
    cdr = world.talk_inbound(5)
    assert [attempt.destination for attempt in cdr.attempts] == [
        "sip_user 1 sip:cell@10.0.0.2",
        "sip_user 1 sip:desk@10.0.0.1",
    ]
    assert len(world.engine.list_registrations(1, world.now)) == 2


def test_a_phone_that_moved_is_the_same_phone_by_its_instance(world: Phones) -> None:
    mark = ';reg-id=1;+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"'
    world.phone.log_in([f"<sip:alice@10.0.0.1:5060>{mark}"])
    moved = Phone(world, NAT_2)
    moved.log_in([f"<sip:alice@10.0.0.1:6060>{mark}"])
    rows = world.engine.list_registrations(1, world.now)
    assert [(row.contact, row.source) for row in rows] == [("sip:alice@10.0.0.1:6060", f"{NAT_2[0]}:{NAT_2[1]}")]


def test_one_contact_more_takes_the_place_of_the_oldest_and_a_full_registrar_refuses(tmp_path: Path) -> None:
    world = Phones(tmp_path, registrar=Registrar(contacts_per_user=2, contacts_max=3))
    for name in ("a", "b", "c"):
        assert world.phone.log_in([f"<sip:{name}@10.0.0.1>"]) == 200
    assert [value[5] for value in world.phone.bound()] == ["b", "c"]
    assert world.phone.log_in([f"<sip:{name}@10.0.0.1>" for name in "xyz"]) == 403
    world.engine.registrar.settings = msgspec.structs.replace(world.engine.registrar.settings, contacts_max=2)
    assert world.phone.log_in(["<sip:d@10.0.0.1>"]) == 503
    assert len(world.engine.list_registrations(1, world.now)) == 2


def test_contacts_survive_a_restart_and_are_rung_after_it(world: Phones) -> None:
    world.phone.log_in(expires=600)
    other = Phone(world, NAT_2, "<sip:gone@10.0.0.2>")
    other.log_in()
    other.log_in(expires=0)
    world.restart()
    (row,) = world.engine.list_registrations(1, world.now)
    assert (row.contact, row.source) == ("sip:alice@192.168.1.20:5060", f"{NAT[0]}:{NAT[1]}")
    assert 590_000 < row.expires_ms - world.engine.board.now_ms(world.now) < 600_000
    world.ring()
    assert len(world.phone.invites) == 1
    world.carrier.cancel()
    world.run_for(620)
    assert world.engine.list_registrations(1, world.now) == []


def test_a_registration_of_nobody_or_of_another_listener_is_not_brought_back(world: Phones) -> None:
    world.phone.log_in()
    written = world.written[-1]
    world.crash()
    for changes in ({"user_id": 99}, {"transport": "tcp"}, {"expires_ms": 5}):
        world.engine.restore_registrations([msgspec.structs.replace(written, **changes)], world.now)
        assert world.engine.board.bindings.count == 0


def test_pings_keep_the_way_open_and_a_phone_that_stops_answering_them_is_passed_over(world: Phones) -> None:
    world.phone.log_in(expires=3_600)
    world.run_for(95)
    pings = world.phone.requests("OPTIONS")
    assert 2 <= len(pings) <= 4
    assert pings[0].uri == b"sip:alice@192.168.1.20:5060"
    (row,) = world.engine.list_registrations(1, world.now)
    assert row.answered_ms is not None
    world.phone.answers_pings = False
    world.run_for(130)
    (row,) = world.engine.list_registrations(1, world.now)
    assert not row.is_reachable
    world.ring()
    assert world.carrier.statuses() == [480]
    assert world.phone.invites == []
    world.phone.nonce = ""
    world.phone.log_in()
    world.ring()
    assert len(world.phone.invites) == 1


def test_a_phone_that_never_answers_pings_is_rung_until_it_expires(world: Phones) -> None:
    world.phone.answers_pings = False
    world.phone.log_in()
    world.run_for(300)
    world.ring()
    assert len(world.phone.invites) == 1


def test_nothing_is_left_when_all_contacts_are_over(world: Phones) -> None:
    world.phone.log_in(expires=120)
    world.run_for(240)
    world.assert_idle()
    assert world.engine.board.bindings.by_user == {}


def test_a_path_is_the_way_back_and_is_told_again(world: Phones) -> None:
    world.phone.log_in(extra=["Path: <sip:edge@10.9.9.9;lr>", "Supported: path"])
    assert b"Path: <sip:edge@10.9.9.9;lr>" in world.phone.last(200).lines
    world.ring()
    (invite,) = world.phone.invites
    assert invite.all(ROUTE) == [b"<sip:edge@10.9.9.9;lr>"]
    assert {p.target for p in world.log if p.target[0] in ("10.9.9.9", NAT[0])} == {NAT}


def test_unknown_requirements_and_foreign_domains_are_refused(world: Phones) -> None:
    assert world.phone.log_in(extra=["Require: gruu"]) == 420
    world.phone.nonce = ""
    world.phone.register(uri="sip:elsewhere.example")
    world.run_for(0.1)
    assert world.phone.statuses("REGISTER")[-1] == 404


@pytest.mark.parametrize(
    ("status", "client", "answer"),
    [("active", "suspended", 200), ("penalty", None, 200), ("inactive", None, 403), ("active", "inactive", 403)],
)
def test_whose_phones_ring_may_register(tmp_path: Path, status: str, client: str | None, answer: int) -> None:
    records = did_records(
        customer_records(status=status, client_id=None if client is None else 7), destinations=(TO_USER,)
    )
    records = with_(records, SipUser, 1, **HASHES)
    if client is not None:
        records = (*records, Client(id=7, name="Tenant", status=client))  # type: ignore[arg-type]
    world = Phones(tmp_path, records=records)
    assert world.phone.log_in() == answer


def test_a_user_that_is_bound_to_a_transport_registers_over_no_other(tmp_path: Path) -> None:
    world = Phones(tmp_path, records=with_(RECORDS, SipUser, 1, transport="tls"))
    assert world.phone.log_in() == 403


def test_who_loses_account_or_password_is_not_rung_any_more(world: Phones) -> None:
    world.phone.log_in()
    user = world.engine.tables.users[1]
    world.engine.apply(Delta(version=2, put=(msgspec.structs.replace(user, channels=3),)))
    assert world.engine.board.bindings.count == 1
    world.engine.apply(Delta(version=3, put=(msgspec.structs.replace(user, ha1_md5=hash_of("MD5", "new")),)))
    assert world.engine.board.bindings.count == 0
    world.phone.password, world.phone.nonce = "new", ""
    assert world.phone.log_in() == 200
    world.engine.apply(Delta(version=4, remove=(Key("sip_user", 1),)))
    assert world.engine.board.bindings.count == 0


def test_an_operator_sees_contacts_and_ends_one(world: Phones) -> None:
    world.phone.log_in(["<sip:a@10.0.0.1>", "<sip:b@10.0.0.1>"])
    first, second = world.engine.list_registrations(1, world.now)
    assert (first.user_agent, first.transport, first.q) == ("Phone of the tests 1.0", "udp", 1_000)
    assert first.id != second.id
    assert world.engine.remove_registration(1, first.id, world.now)
    assert not world.engine.remove_registration(1, first.id, world.now)
    assert [row.id for row in world.engine.list_registrations(1, world.now)] == [second.id]


def test_headers_in_a_contacts_uri_are_not_put_into_its_calls(world: Phones) -> None:
    world.phone.log_in(["<sip:alice@10.0.0.1;transport=udp?Route=%3Csip:evil%3E>"])
    world.ring()
    assert world.phone.invites[0].uri == b"sip:alice@10.0.0.1;transport=udp"
    assert world.phone.invites[0].first(CONTACT) is not None


def test_a_flood_of_registers_without_passwords_leaves_nothing(world: Phones) -> None:
    stranger = Phone(world, ("203.0.113.66", 5060), user="nobody")
    for number in range(200):
        stranger.call_id = f"flood{number}"
        stranger.register()
    world.run_for(1)
    assert set(stranger.statuses("REGISTER")) == {401}
    world.assert_idle()


def test_a_phone_that_changes_its_contact_all_the_time_leaves_no_more_than_it_has(
    world: Phones,
) -> None:
    world.phone.log_in()
    for port in range(2_000, 4_000):
        world.phone.register([f"<sip:alice@10.0.0.1:{port}>"])
        world.run_for(0.01)
    world.run_for(2)
    assert world.phone.statuses("REGISTER")[-1] == 200
    pings = world.engine.registrar.pings
    assert world.engine.board.bindings.count == 10
    assert len(pings._ends) <= 1_100
    assert len(pings._due) <= 1_100
    world.phone.register(["*"], expires=0)
    world.run_for(60)
    world.assert_idle()


def test_registers_leave_room_for_calls(tmp_path: Path) -> None:
    world = Phones(tmp_path, limits=Limits(transactions_max=20))
    world.phone.log_in()
    for _ in range(30):
        world.phone.register()
    world.run_for(0.1)
    assert world.phone.statuses("REGISTER")[-1] == 503
    world.ring()
    assert len(world.phone.invites) == 1


@pytest.mark.parametrize(
    "contacts",
    [
        ["<sip:alice@10.0.0.1>"] * 3,
        [f'<sip:alice@10.0.0.{n}>;+sip.instance="<urn:uuid:1>";reg-id=1' for n in (3, 2, 1)],
        ["<sip:alice@10.0.0.1>;expires=0", "<sip:alice@10.0.0.1>"],
    ],
)
def test_a_contact_that_is_named_twice_is_one(world: Phones, contacts: list[str]) -> None:
    assert world.phone.log_in(["<sip:alice@10.0.0.1>"]) == 200
    assert world.phone.log_in(contacts) == 200
    assert [row.contact for row in world.engine.list_registrations(1, world.now)] == ["sip:alice@10.0.0.1"]
    assert [each.partition(">")[0] for each in world.phone.bound()] == ["<sip:alice@10.0.0.1"]
    world.restart()
    assert [row.contact for row in world.engine.list_registrations(1, world.now)] == ["sip:alice@10.0.0.1"]


def test_a_phone_that_comes_to_anothers_uri_takes_its_place(world: Phones) -> None:
    world.phone.log_in([f'<sip:alice@10.0.0.{n}>;+sip.instance="<urn:uuid:{n}>";reg-id=1' for n in (1, 2)])
    world.phone.log_in(['<sip:alice@10.0.0.2>;+sip.instance="<urn:uuid:1>";reg-id=1'])
    assert [row.contact for row in world.engine.list_registrations(1, world.now)] == ["sip:alice@10.0.0.2"]
    world.restart()
    assert [row.contact for row in world.engine.list_registrations(1, world.now)] == ["sip:alice@10.0.0.2"]


class StreamPhone:
    """A phone on a TCP connection to a switch that listens on UDP and TCP."""

    def __init__(self, folder: Path, contact: str) -> None:
        self.world = Phones(folder)
        self.phone = Phone(self.world, NAT, contact)
        listeners = (Listener(transport="udp", host=SWITCH[0]), Listener(transport="tcp", host=SWITCH[0]))
        self.engine = Engine(Settings(), listeners, Random(1), self.world.wall_offset_s, folder, now=1_000.0)
        self.engine.load(Snapshot(version=1, records=RECORDS, balances={}))
        self.engine.take_outputs()
        for _ in range(2):
            self.say(self.phone.register())

    def say(self, data: bytes) -> None:
        self.engine.receive(data, 1, NAT, 1_000.0, 7)
        for send in self.engine.take_outputs().sends:
            assert isinstance(send, Send)
            self.phone.on_message(parse_message(send.data))

    def rung_at(self, serial: int) -> Flow | None:
        """Where a call to its number goes; None: nowhere."""
        carrier = Caller(self.world, ("198.51.100.9", 5060))
        carrier.serial = serial
        self.engine.receive(carrier.invite(DID), 0, carrier.address, 1_000.0)
        sends = [send for send in self.engine.take_outputs().sends if isinstance(send, Send)]
        return next((send.flow for send in sends if send.data.startswith(b"INVITE")), None)


def test_a_phone_on_a_stream_is_reached_through_its_connection_and_ends_with_it(tmp_path: Path) -> None:
    stream = StreamPhone(tmp_path, "<sip:alice@192.168.1.20:5060;transport=tcp>")
    assert stream.phone.statuses("REGISTER") == [401, 200]
    assert stream.rung_at(1) == Flow(1, NAT, 7)
    stream.engine.connection_closed(1, 7, 1_000.0)
    assert stream.engine.list_registrations(1, 1_000.0) == []
    assert stream.rung_at(2) is None


def test_one_that_can_be_connected_to_outlives_its_connection(tmp_path: Path) -> None:
    stream = StreamPhone(tmp_path, f"<sip:alice@{NAT[0]}:5062;transport=tcp>")
    stream.engine.connection_closed(1, 7, 1_000.0)
    assert stream.rung_at(1) == Flow(1, (NAT[0], 5_062))


def test_no_contact_leads_inside(tmp_path: Path) -> None:
    """Not by Contact, Path, Route or `maddr`, and not after its connection has gone either."""
    for number, host in enumerate(("127.0.0.1", SWITCH[0], "10.0.0.5", "0.0.0.0", "localhost")):
        folder = tmp_path / str(number)
        folder.mkdir()
        stream = StreamPhone(folder, f"<sip:alice@{host}:5061;transport=tcp;maddr={host}>")
        found = stream.rung_at(1)
        assert found == Flow(1, NAT, 7)
        stream.engine.connection_closed(1, 7, 1_000.0)
        assert stream.rung_at(2) is None


PIECES = [
    *"<>a@:;=*,?%é",
    "sip:",
    "sips:",
    "tel:",
    "10.0.0.1",
    "[::1]",
    "q",
    ".5",
    "expires",
    "reg-id",
    "+sip.instance",
    "%00",
]
WORDS = st.lists(st.sampled_from([*PIECES, '"', " ", "9" * 30]), max_size=12).map("".join)


@hypothesis_settings(max_examples=150, deadline=None)
@given(contacts=st.lists(WORDS, min_size=1, max_size=3), expires=st.sampled_from([None, 0, 60, 3_600]))
def test_whatever_stands_in_contact_is_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, contacts: list[str], expires: int | None
) -> None:
    if not ONE_WORLD:
        ONE_WORLD.append(Phones(tmp_path_factory.mktemp("any")))
    world = ONE_WORLD[0]
    before = len(world.phone.statuses("REGISTER"))
    world.phone.log_in(contacts, expires=expires)
    assert len(world.phone.statuses("REGISTER")) > before
    assert world.phone.statuses("REGISTER")[-1] in (200, 400, 403, 423, 500)
    world.ring()
    world.carrier.cancel()
    world.run_for(0.1)


ONE_WORLD: list[Phones] = []
