"""A customer's CLI rules: which calling numbers pass, and what becomes of them.

Rules are asked in their order, and the first that matches decides. With no rules every number
passes; with one or more, what none matches is refused, unless a `force` rule gives it another
number. Numbers are matched in E.164 digits where they are E.164 in any of its spellings, and as they
stand where they are not (an extension, `anonymous`): a spelling cannot slip past a rule.

Digits only (with or without `+`) match as a prefix. Anything else is an RE2 expression that has to
match from the first character on, as a dial string does; `$` ties it to the last. RE2 takes linear
time whatever the expression, and its size is bounded when it is saved.
"""

from __future__ import annotations

from typing import Final

from rating.numbers import PatternError, normalise_e164
from switch.policy.patterns import compile_pattern, expand, group_count, is_match
from switch.snapshot import CliRule

CLI_MAX: Final = 64
"""Longer callers' numbers match no rule: nobody's number is that long, and rules are many."""


class Matcher:
    """One pattern, compiled; an empty one matches everything."""

    def __init__(self, text: str, what: str) -> None:
        line = text.strip()
        digits = line.removeprefix("+")
        is_digits = digits.isascii() and digits.isdigit()
        self.prefix: str = digits if is_digits else ""
        self.expression: object | None = None if is_digits or not line else compile_pattern(line, what)
        self.is_everything: bool = not line

    def matches(self, text: str) -> bool:
        if self.is_everything:
            return True
        if self.expression is None:
            return text.startswith(self.prefix)
        return is_match(self.expression, text)


class CompiledRule:
    """One rule.

    Raises:
        PatternError: one of its patterns, or what it rewrites to, cannot be used.
    """

    def __init__(self, record: CliRule) -> None:
        self.record: CliRule = record
        self.match: Matcher = Matcher(record.match, "match")
        self.pai: Matcher = Matcher(record.pai_match, "pai_match")
        self.dialled: Matcher = Matcher(record.dialled_match, "dialled_match")
        self.action: str = record.action
        to = record.to
        if record.action == "force" and not to and self.match.prefix:
            # "Force 442071838750" reads as the number to show, not as a condition on the one that came.
            to = self.match.prefix
            self.match = Matcher("", "match")
        self.template: list[str] = parse_template(to, group_count(self.match.expression))
        if record.action in ("rewrite", "force"):
            if not to:
                raise PatternError("to: needed, the number to send")
        elif to:
            raise PatternError(f"to: only with rewrite or force, not with {record.action}")

    def takes(self, cli: str, pai: str, dialled: str) -> bool:
        return self.dialled.matches(dialled) and self.match.matches(cli) and self.pai.matches(pai)

    def rewritten(self, cli: str) -> str:
        """What the number becomes; groups that took no part are empty."""
        template = self.template
        if len(template) == 1:
            return template[0]
        return expand(template, self.match.expression, cli)


class CliRules:
    """All enabled rules of one customer, in their order."""

    def __init__(self, rules: list[CompiledRule]) -> None:
        self.rules: list[CompiledRule] = sorted(rules, key=_place)
        self.wants_pai: bool = any(not rule.pai.is_everything for rule in rules)

    def judge(self, cli: str, pai: str, dialled: str) -> CliVerdict:
        """
        Args:
            cli: the calling number as it would leave.
            pai: number of the P-Asserted-Identity that came; empty for none.
            dialled: the number dialled, after the number pipeline.
        """
        if len(cli) > CLI_MAX or len(pai) > CLI_MAX:
            return CliVerdict(None, "", "the calling number is too long for any rule")
        number = normalise_e164(cli) or cli
        asserted = normalise_e164(pai) or pai
        forced: CompiledRule | None = None
        for rule in self.rules:
            if rule.action == "force":
                if forced is None and rule.takes(number, asserted, dialled):
                    forced = rule
            elif rule.takes(number, asserted, dialled):
                return _verdict(rule, cli, number)
        if forced is not None:
            return _verdict(forced, cli, number)
        return CliVerdict(None, "", f"none of {len(self.rules)} CLI rules takes {cli}")


class CliVerdict:
    """`cli` is what leaves; None: the call is refused."""

    def __init__(self, cli: str | None, rule: str, detail: str) -> None:
        self.cli: str | None = cli
        self.rule: str = rule
        """`CLI rule 12 (rewrite)`; empty: none decided."""
        self.detail: str = detail
        """In words, for the CDR and simulations."""


def _verdict(rule: CompiledRule, cli: str, number: str) -> CliVerdict:
    name = f"CLI rule {rule.record.id} ({rule.action})"
    if rule.action == "deny":
        return CliVerdict(None, name, f"{name}: {cli} is refused")
    if rule.action == "allow":
        return CliVerdict(cli, name, f"{name}: {cli} passes")
    changed = rule.rewritten(number)
    if not changed:
        return CliVerdict(None, name, f"{name}: nothing is left of {cli}")
    return CliVerdict(changed, name, f"{name}: {cli} becomes {changed}")


def _place(rule: CompiledRule) -> tuple[int, int]:
    return (rule.record.position, rule.record.id)


def parse_template(text: str, groups: int) -> list[str]:
    r"""`44\1` or `44$1`, taken apart: literals and group numbers in turn, beginning and ending with a literal.

    `\0` is the whole of what matched; `\\` and `$$` are the characters themselves.

    Raises:
        PatternError: a group that the pattern does not have, or `\` before anything else.
    """
    parts: list[str] = []
    literal = ""
    at = 0
    while at < len(text):
        character = text[at]
        if character not in "\\$":
            literal += character
            at += 1
            continue
        following = text[at + 1 : at + 2]
        if following == character:
            literal += character
        elif following and following in "0123456789":
            if int(following) > groups:
                raise PatternError(f"to: there is no group {following} in match")
            parts += [literal, following]
            literal = ""
        else:
            raise PatternError(f"to: {character} stands before a group's number")
        at += 2
    parts.append(literal)
    return parts
