"""Who vendors are told is calling: rules about the number, P-Asserted-Identity, privacy, headers of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from switch.snapshot import CliRule, Record
from switch.wire.headers import FROM
from switch.wire.message import Request
from tests.fakes.carrier import DEFAULT_RECORDS
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
