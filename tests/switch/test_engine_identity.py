"""Who vendors are told is calling: rules about the number, P-Asserted-Identity, privacy, headers of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from switch.snapshot import CliRule, Customer, DidDestination, Endpoint, Provider, Record
from switch.wire.headers import CONTACT, FROM, OTHER, P_ASSERTED_IDENTITY, PRIVACY, REMOTE_PARTY_ID, X_HEADER
from switch.wire.message import Request
from tests.fakes.carrier import DEFAULT_RECORDS, with_
from tests.fakes.inbound_calls import InboundWorld, customer_records, did_records
from tests.fakes.world import World


def rule(position: int, action: Any, match: str = "", to: str = "", **more: Any) -> CliRule:
    return CliRule(id=position, customer_id=1, position=position, action=action, match=match, to=to, **more)


def world_of(folder: Path, *records: Record) -> World:
    return World(folder, records=(*DEFAULT_RECORDS, *records))


def sent(world: World) -> Request:
    """The INVITE as the first vendor got it."""
    return world.cheap.invites[0]


def test_a_rewritten_number_leaves_in_from_and_comes_back_as_it_was(tmp_path: Path) -> None:
    world = world_of(tmp_path, rule(1, "rewrite", r"1555(\d+)", r"4420\1"))
    world.caller.invite()
    world.run_for(1.0)
    assert sent(world).from_value() == b"<sip:44207770000@192.0.2.10>;tag=callercall1@"
    assert world.caller.last(200).first(FROM) == b'"15557770000" <sip:15557770000@192.0.2.10>;tag=callercall1@'
    world.caller.ack()
    world.run_for(1.0)
    world.crash()
    world.caller.bye()
    world.run_for(1.0)
    (bye,) = world.cheap.requests("BYE")
    assert bye.from_value() == sent(world).from_value()
    (cdr,) = world.cdrs
    assert (cdr.cli_in, cdr.cli_out) == ("15557770000", "44207770000")
    assert cdr.decision == "CLI rule 1 (rewrite): 15557770000 becomes 44207770000"


def test_a_number_that_no_rule_takes_is_refused_with_403_and_its_cdr_says_why(tmp_path: Path) -> None:
    world = world_of(tmp_path, rule(1, "allow", "44"))
    world.caller.invite()
    world.run_for(1.0)
    assert world.caller.statuses() == [403]
    assert not world.cheap.invites
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.status, cdr.cli_out) == ("cli_refused", 403, "15557770000")
    assert cdr.decision == "none of 1 CLI rules takes 15557770000"
    assert cdr.prefix == "44"


def test_a_rule_may_ask_for_the_asserted_identity_however_its_header_is_written(tmp_path: Path) -> None:
    for number, lines in enumerate(
        (
            [b"P-Asserted-Identity: <sip:+442079460000@pbx.example.com>"],
            [b'P-ASSERTED-IDENTITY : "Acme" <tel:+442079460000>'],
            [b"p-asserted-identity:\r\n <sip:442079460000@a>, <tel:+15550001111>"],
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = world_of(folder, rule(1, "allow", "1555", pai_match="442079"))
        world.caller.invite(extra=lines)
        world.run_for(1.0)
        assert world.caller.statuses()[-1] == 200, lines
        world.caller.invite(extra=[b"P-Asserted-Identity: <sip:15550001111@pbx.example.com>"])
        world.run_for(1.0)
        assert world.caller.statuses()[-1] == 403


PAI = b"P-Asserted-Identity: <sip:+442079460000@pbx.example.com>"


def changed(*, customer: dict[str, Any] | None = None, provider: dict[str, Any] | None = None) -> tuple[Record, ...]:
    records = with_(DEFAULT_RECORDS, Customer, 1, **(customer or {}))
    return with_(records, Provider, 1, **(provider or {}))


def called(folder: Path, records: tuple[Record, ...], *extra: bytes, cli: str = "15557770000") -> World:
    """An answered call with these headers."""
    world = World(folder, records=records)
    world.cheap.extra[200] = [b"P-Asserted-Identity: <sip:answering@vendor>", b"X-Vendor: 7", b"Odd: 1"]
    world.caller.invite(extra=extra, cli=cli)
    world.run_for(1.0)
    world.caller.ack()
    world.run_for(1.0)
    return world


TRUSTED = {"trust_pai": True}


@pytest.mark.parametrize(
    ("customer", "provider", "extra", "identities"),
    [
        ({}, {}, [PAI], []),
        ({}, {"send_pai": "always"}, [PAI], [b"<sip:15557770000@192.0.2.1>"]),
        ({}, {"send_pai": "always", "pai_format": "tel"}, [], [b"<tel:+15557770000>"]),
        (TRUSTED, {}, [PAI], [b"<sip:+442079460000@pbx.example.com>"]),
        (TRUSTED, {}, [PAI, b"P-Asserted-Identity: <tel:+442079460000>"], None),
        (TRUSTED, {}, [], []),
        (TRUSTED, {"send_pai": "never"}, [PAI], []),
        (TRUSTED, {"send_pai": "always", "pai_format": "tel"}, [PAI], [b"<tel:+442079460000>"]),
        (TRUSTED, {"send_pai": "always"}, [], [b"<sip:15557770000@192.0.2.1>"]),
        (TRUSTED, {"privacy": "pass"}, [PAI, b"Privacy: id"], [b"<sip:+442079460000@pbx.example.com>"]),
        (TRUSTED, {"privacy": "honour"}, [PAI, b"Privacy: id"], []),
        ({}, {"send_pai": "always"}, [PAI, b"Privacy: user;id"], []),
        ({}, {"send_pai": "always"}, [PAI, b"Privacy: none"], [b"<sip:15557770000@192.0.2.1>"]),
    ],
)
def test_what_a_vendor_is_told_of_the_identity_is_up_to_both_records(
    tmp_path: Path,
    customer: dict[str, Any],
    provider: dict[str, Any],
    extra: list[bytes],
    identities: list[bytes] | None,
) -> None:
    world = called(tmp_path, changed(customer=customer, provider=provider), *extra)
    told = sent(world).all(P_ASSERTED_IDENTITY)
    if identities is None:
        identities = [b"<sip:+442079460000@pbx.example.com>", b"<tel:+442079460000>"]
    assert told == identities
    # And the customer hears who answered only if it is trusted with it.
    answer = world.caller.last(200)
    assert (P_ASSERTED_IDENTITY in answer.ids) is bool(customer)
    assert X_HEADER not in answer.ids
    assert OTHER in answer.ids


def test_a_changed_number_is_the_one_that_is_asserted(tmp_path: Path) -> None:
    records = changed(customer=TRUSTED)
    forced = with_(records, Endpoint, 1, force_from="442079461111")
    world = called(tmp_path, forced, PAI, b"Remote-Party-ID: <sip:1@x>")
    assert sent(world).from_value().startswith(b"<sip:442079461111@192.0.2.10>")
    assert sent(world).all(P_ASSERTED_IDENTITY) == [b"<sip:442079461111@192.0.2.1>"]
    assert REMOTE_PARTY_ID not in sent(world).ids
    assert sent(world).first(CONTACT) == b"<sip:442079461111@192.0.2.10:5060>"
    assert b"15557770000" not in sent(world).data
    # Not in what it answers inside the dialog either.
    world.cheap.in_dialog("UPDATE", 1)
    world.run_for(0.1)
    world.caller.reply(world.caller.requests("UPDATE")[0], 200)
    world.run_for(0.1)
    answer = world.cheap.last(200)
    assert answer.to_value().startswith(b"<sip:442079461111@192.0.2.10>")
    assert answer.first(CONTACT) == b"<sip:442079461111@192.0.2.10:5060>"


def test_a_prefixed_number_is_asserted_in_the_vendors_form(tmp_path: Path) -> None:
    records = changed(provider={"send_pai": "always", "pai_format": "tel"})
    world = called(tmp_path, with_(records, Endpoint, 1, cli_prefix="4420794600"), cli="71")
    assert sent(world).from_value().startswith(b"<sip:442079460071@192.0.2.10>")
    assert sent(world).all(P_ASSERTED_IDENTITY) == [b"<tel:+442079460071>"]


def test_nobody_is_asserted_where_the_number_is_none(tmp_path: Path) -> None:
    world = called(tmp_path, changed(provider={"send_pai": "always"}), cli="anonymous")
    assert sent(world).all(P_ASSERTED_IDENTITY) == []


@pytest.mark.parametrize("privacy", [b"Privacy: id", b"PRIVACY : user;critical", b"privacy:\r\n header"])
def test_a_caller_who_asks_for_privacy_is_nobody_to_the_vendor_and_himself_to_us(
    tmp_path: Path, privacy: bytes
) -> None:
    world = called(tmp_path, changed(), PAI, privacy)
    invite = sent(world)
    assert invite.from_value() == b'"Anonymous" <sip:anonymous@anonymous.invalid>;tag=callercall1@'
    assert invite.first(CONTACT) == b"<sip:anonymous@192.0.2.10:5060>"
    assert PRIVACY not in invite.ids
    assert b"15557770000" not in invite.data
    assert world.caller.last(200).from_value() == b'"15557770000" <sip:15557770000@192.0.2.10>;tag=callercall1@'
    # Both ways inside the dialog, before a restart of ours and after it.
    for cseq in (2, 3):
        world.caller.in_dialog("INVITE", cseq, extra=[PAI, privacy])
        world.run_for(1.0)
        again = world.cheap.requests("INVITE")[-1]
        assert again.cseq == cseq
        assert b"15557770000" not in again.data
        assert P_ASSERTED_IDENTITY not in again.ids
        world.cheap.reply(again, 200)
        world.run_for(1.0)
        world.caller.in_dialog("ACK", cseq)
        if cseq == 2:
            world.crash()
    world.cheap.in_dialog("BYE", 1)
    world.run_for(1.0)
    assert world.caller.requests("BYE")[0].to_value().startswith(b'"15557770000" <sip:15557770000@192.0.2.10>')
    assert world.cdrs[0].cli_out == "15557770000"


def test_each_vendor_is_told_what_its_own_record_says(tmp_path: Path) -> None:
    records = with_(changed(customer=TRUSTED), Provider, 2, privacy="pass")
    world = World(tmp_path, records=records)
    world.cheap.behaviour = (503,)
    world.caller.invite(extra=[PAI, b"Privacy: id"])
    world.run_for(1.0)
    first, second = world.cheap.invites[0], world.dear.invites[0]
    assert (first.all(P_ASSERTED_IDENTITY), PRIVACY in first.ids) == ([], False)
    assert (second.all(P_ASSERTED_IDENTITY), PRIVACY in second.ids) == ([b"<sip:+442079460000@pbx.example.com>"], True)
    assert first.from_value().startswith(b'"Anonymous"')
    assert second.from_value().startswith(b'"15557770000"')
    assert world.caller.last(200).from_value() == second.from_value()


@pytest.mark.parametrize(
    ("customer", "provider"),
    [({"allowed_headers": ("X-Account", "X-Vendor")}, {}), ({}, {"allowed_headers": ("x-account", "x-vendor")})],
)
def test_headers_of_ones_own_pass_where_one_of_both_allows_them(
    tmp_path: Path, customer: dict[str, Any], provider: dict[str, Any]
) -> None:
    lines = [b"X-ACCOUNT : 7", b"X-Account: 8", b"X-Other: 9"]
    world = called(tmp_path, changed(customer=customer, provider=provider), *lines)
    assert [line for line in sent(world).lines if line[:2] == b"X-"] == lines[:2]
    assert b"X-Vendor: 7" in world.caller.last(200).lines
    world.caller.in_dialog("INFO", 2, extra=lines)
    world.run_for(1.0)
    assert [line for line in world.cheap.requests("INFO")[0].lines if line[:2] == b"X-"] == lines[:2]
    world.crash()
    world.cheap.in_dialog("INFO", 1, extra=[b"X-Vendor: 1", b"X-Other: 2", b"P-Asserted-Identity: <sip:v@v>"])
    world.run_for(1.0)
    got = world.caller.requests("INFO")[0]
    assert [line for line in got.lines if line[:2] == b"X-"] == [b"X-Vendor: 1"]
    assert P_ASSERTED_IDENTITY not in got.ids


@pytest.mark.parametrize("is_trusted", [False, True])
def test_an_inbound_caller_who_wants_privacy_is_nobody_to_a_customer_that_is_not_trusted(
    tmp_path: Path, is_trusted: bool
) -> None:
    world = InboundWorld(tmp_path, customer_records(trust_pai=is_trusted, allowed_headers=("X-Room",)))
    world.ring(extra=[PAI, b"Privacy: id", b"X-Room: 1", b"X-Trunk: 2"], cli="441111111")
    (invite,) = world.pbx.invites
    assert (b"441111111" in invite.from_value(), PRIVACY in invite.ids) == (is_trusted, is_trusted)
    assert (P_ASSERTED_IDENTITY in invite.ids) is is_trusted
    assert [line for line in invite.lines if line[:2] == b"X-"] == [b"X-Room: 1"]
    assert world.carrier.last(200).from_value().startswith(b'"441111111"')
    world.carrier.ack()
    world.run_for(0.1)
    world.crash()
    world.carrier.in_dialog("INFO", 2, extra=[PAI, b"Privacy: id", b"X-Room: 2"])
    world.run_for(0.1)
    info = world.pbx.requests("INFO")[0]
    assert (P_ASSERTED_IDENTITY in info.ids, PRIVACY in info.ids) == (is_trusted, is_trusted)
    assert info.from_value() == invite.from_value()
    assert b"X-Room: 2" in info.lines


def test_an_inbound_call_that_goes_out_again_is_told_to_the_vendor_as_its_record_says(tmp_path: Path) -> None:
    number = DidDestination(kind="number", value="442071110000")
    records = with_(did_records(destinations=(number,)), Provider, 1, send_pai="always", pai_format="tel")
    world = InboundWorld(tmp_path, records)
    world.ring(extra=[PAI], cli="441111111")
    (invite,) = world.cheap.invites
    assert invite.all(P_ASSERTED_IDENTITY) == [b"<tel:+441111111>"]
