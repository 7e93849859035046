"""CLI rules: what matches, what decides, and what becomes of the number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.numbers import PatternError
from switch.policy.causes import Cause
from switch.policy.cli_rules import CliRules, CompiledRule, parse_template
from switch.policy.decide import decide
from switch.policy.live import Live
from switch.policy.tables import Tables
from switch.policy.verdicts import Plan, Reject
from switch.snapshot import CliRule, Delta, Endpoint, Key
from tests.fakes.carrier import DEFAULT_RECORDS, carrier, invite, with_


def rule(position: int, action: Any, match: str = "", to: str = "", **more: Any) -> CliRule:
    return CliRule(id=position, customer_id=1, position=position, action=action, match=match, to=to, **more)


def judged(rules: list[CliRule], cli: str, pai: str = "", dialled: str = "442079460000") -> str | None:
    return CliRules([CompiledRule(record) for record in rules]).judge(cli, pai, dialled).cli


@pytest.mark.parametrize(
    ("match", "cli", "passes"),
    [
        ("4420", "442079460000", True),
        ("4420", "+442079460000", True),
        ("4420", "00442079460000", True),
        ("+4420", "tel:+44-20-7946-0000", True),
        ("4420", "14420794600", False),
        ("", "anonymous", True),
        ("^4420[0-9]{8}$", "442079460000", True),
        ("^4420[0-9]{8}$", "4420794600001", False),
        ("20", "442079460000", False),
        (".*0000$", "442079460000", True),
        ("anonymous|restricted", "anonymous", True),
        ("2..", "201", True),
        ("(a+)+$", "a" * 60 + "!", False),
    ],
)
def test_digits_are_a_prefix_of_any_spelling_and_others_an_expression(match: str, cli: str, passes: bool) -> None:
    assert (judged([rule(1, "allow", match)], cli) is not None) is passes


def test_what_no_rule_matches_is_refused_and_the_first_match_decides() -> None:
    rules = [rule(1, "deny", "442079"), rule(2, "allow", "44"), rule(3, "deny", "4420")]
    assert judged(rules, "442079460000") is None
    assert judged(rules, "442012340000") == "442012340000"
    assert judged(rules, "15551230001") is None
    assert judged(list(reversed([rule(3, "deny", "44"), rule(1, "allow", "44")])), "447700900000") == "447700900000"


def test_a_number_that_passes_keeps_the_spelling_that_it_came_in() -> None:
    assert judged([rule(1, "allow", "44")], "+44 20 7946 0000") == "+44 20 7946 0000"


@pytest.mark.parametrize(
    ("match", "to", "cli", "becomes"),
    [
        (r"^0(\d+)$", r"44\1", "02079460000", "442079460000"),
        (r"^(44)(\d+)$", "+$1$2", "0044 2079460000", "+442079460000"),
        ("2..", r"4420794600\0", "201", "4420794600201"),
        ("4420", "442079460000", "442012345678", "442079460000"),
        ("(44)?.*", r"9\1", "15551230001", "9"),
        ("201", r"44\\", "201", "44\\"),
    ],
)
def test_a_rewrite_puts_groups_into_the_new_number(match: str, to: str, cli: str, becomes: str) -> None:
    assert judged([rule(1, "rewrite", match, to)], cli) == becomes


def test_a_rewrite_to_nothing_refuses() -> None:
    assert judged([rule(1, "rewrite", "(44)?.*", r"\1")], "15551230001") is None


def test_the_first_force_is_used_where_nothing_else_matched_and_never_before() -> None:
    rules = [rule(1, "force", to="442079460001"), rule(2, "force", to="442079460002"), rule(3, "allow", "44")]
    assert judged(rules, "447700900000") == "447700900000"
    assert judged(rules, "anonymous") == "442079460001"
    assert judged([*rules, rule(4, "deny", "anonymous")], "anonymous") is None


def test_a_force_with_digits_alone_sends_them_and_with_conditions_heeds_them() -> None:
    assert judged([rule(1, "force", "442079460001")], "anonymous") == "442079460001"
    rules = [rule(1, "force", to="442079460001", dialled_match="33"), rule(2, "force", to="15551230000")]
    assert judged(rules, "anonymous", dialled="33142000001") == "442079460001"
    assert judged(rules, "anonymous", dialled="442079460000") == "15551230000"


def test_all_three_conditions_of_a_rule_must_hold() -> None:
    rules = [rule(1, "allow", "44", pai_match="4420", dialled_match="33")]
    assert judged(rules, "447700900000", "+442079460000", "33142000001")
    assert not judged(rules, "447700900000", "", "33142000001")
    assert not judged(rules, "447700900000", "442079460000", "442079460000")
    assert not judged(rules, "15551230001", "442079460000", "33142000001")


def test_a_number_too_long_for_anybody_is_refused() -> None:
    assert judged([rule(1, "allow")], "4" * 65) is None


@pytest.mark.parametrize(
    ("record", "field"),
    [
        (rule(1, "allow", "("), "match"),
        (rule(1, "allow", pai_match="[z-a]"), "pai_match"),
        (rule(1, "allow", dialled_match=r"(\pL{1,30}){1,30}"), "dialled_match"),
        (rule(1, "allow", "(?=44)"), "match"),
        (rule(1, "rewrite", "44"), "to"),
        (rule(1, "rewrite", "(44)", r"\2"), "to"),
        (rule(1, "rewrite", "44", r"\1"), "to"),
        (rule(1, "rewrite", "44", "\\x"), "to"),
        (rule(1, "force", "^44"), "to"),
        (rule(1, "deny", "44", "1"), "to"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_field(record: CliRule, field: str) -> None:
    with pytest.raises(PatternError, match=f"^{field}: "):
        CompiledRule(record)


@given(st.text(max_size=20), st.integers(0, 9))
def test_any_text_is_a_template_or_a_pattern_error(text: str, groups: int) -> None:
    try:
        parts = parse_template(text, groups)
    except PatternError:
        return
    assert len(parts) % 2 == 1
    assert all(int(group) <= groups for group in parts[1::2])


@given(st.text(max_size=100), st.text(max_size=100))
def test_no_calling_number_breaks_the_rules(cli: str, pai: str) -> None:
    rules = [
        rule(1, "deny", r"(\d)\D+", pai_match=r".*\d$"),
        rule(2, "rewrite", "(.)(.*)", r"\2\1"),
        rule(3, "force", "1"),
    ]
    judged(rules, cli, pai)


def planned(tables: Tables, **facts: Any) -> Plan | Reject:
    return decide(tables, Live(), invite(**facts), is_simulated=True)


def test_rules_come_and_go_with_deltas_and_the_last_broken_one_opens_nothing(tmp_path: Path) -> None:
    tables = carrier(tmp_path)
    assert isinstance(planned(tables), Plan)
    tables.apply(Delta(version=2, put=(rule(1, "rewrite", "1555", "442079460001"), rule(2, "deny"))))
    verdict = planned(tables)
    assert isinstance(verdict, Plan)
    assert verdict.cli_out == "442079460001"
    assert verdict.decision == "CLI rule 1 (rewrite): 15551230001 becomes 442079460001"
    assert verdict.decision in verdict.steps
    tables.apply(Delta(version=3, put=(rule(1, "rewrite", "1555", "1", enabled=False),)))
    assert isinstance(planned(tables), Reject)
    tables.apply(Delta(version=4, put=(rule(2, "allow", "("),)))
    verdict = planned(tables)
    assert isinstance(verdict, Reject)
    assert verdict.cause is Cause.CLI_REFUSED
    assert ("cli_rule", 2) in tables.problems
    tables.apply(Delta(version=5, remove=(Key("cli_rule", 2), Key("cli_rule", 1))))
    assert isinstance(planned(tables), Plan)
    assert not tables.problems


def test_rules_see_the_number_as_prefix_and_force_from_have_left_it(tmp_path: Path) -> None:
    records = with_(DEFAULT_RECORDS, Endpoint, 1, cli_prefix="4420794600")
    tables = carrier(tmp_path, (*records, rule(1, "allow", "4420794600201")))
    assert isinstance(planned(tables, cli="201"), Plan)
    assert isinstance(planned(tables, cli="202"), Reject)


def test_a_destination_without_a_price_is_told_before_a_rule_is_asked(tmp_path: Path) -> None:
    tables = carrier(tmp_path, (*DEFAULT_RECORDS, rule(1, "deny")))
    verdict = planned(tables, dialled="449001234567")
    assert isinstance(verdict, Reject)
    assert verdict.cause is Cause.DESTINATION_BLOCKED
