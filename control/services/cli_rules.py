"""Rules about calling numbers: an ordered list of a customer's, asked from the top for each call.

Positions are 1, 2, 3 … without gaps. A rule that is put, moved or archived moves the others along,
each with its own audit row; `reorder` sets the order of all at once.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import func, select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import FieldError, Invalid, invalid
from control.services.fields import Id, Moment, Notes
from control.services.nouns import Noun
from control.services.owners import check_customer
from control.services.pages import ListQuery
from control.services.records import cli_rule_record
from control.store.cli_rule_tables import cli_rules
from control.store.engine import Tx
from rating.numbers import PatternError
from switch.policy.cli_rules import CompiledRule
from switch.snapshot import CliRule as CliRuleRecord
from switch.snapshot import Record

RULES_MAX: Final = 500
"""Of one customer: each call may have to ask them all."""

Action = Literal["allow", "deny", "rewrite", "force"]
Pattern = Annotated[
    str,
    Meta(
        max_length=500,
        pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])",
        description="Digits are a prefix, anything else an RE2 expression; empty matches everything.",
        examples=["4420", "^4420[0-9]{8}$"],
    ),
]
To = Annotated[
    str,
    Meta(
        max_length=128,
        pattern=r"^[A-Za-z0-9+*#._~$\\-]*$(?!\n)",
        description="The number to send; `\\1` or `$1` is a group of `match`, `\\0` all of what it matched.",
        examples=["44$1"],
    ),
]
Position = Annotated[int, Meta(ge=1, le=RULES_MAX)]


class CliRuleFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Id
    match: Pattern = ""
    """Of the calling number, after `force_from` and `cli_prefix`, in E.164 digits where it is such a number."""
    pai_match: Pattern = ""
    """Of the number in P-Asserted-Identity, which is empty where there is none."""
    dialled_match: Pattern = ""
    """Of the number dialled, in E.164 digits."""
    action: Action
    """The first `allow`, `deny` or `rewrite` that matches decides. Where none does, the first `force` that
    matches gives its number; without one the call is refused."""
    to: To = ""
    enabled: bool = True
    notes: Notes = ""


class CliRuleNew(CliRuleFields, frozen=True, kw_only=True):
    position: Position | UnsetType = UNSET
    """Where it stands, 1 first; those behind move along. Left out: at the end."""


class CliRule(CliRuleFields, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    position: int


class CliRuleQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None
    action: Action | None = None
    enabled: bool | None = None


class CliRuleOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ids: Annotated[tuple[Id, ...], Meta(max_length=RULES_MAX)]
    """All rules of the customer, each once, the first to be asked first."""


class CliRules(Noun[CliRuleNew, CliRule]):
    name = "cli_rule"
    table = cli_rules
    new = CliRuleNew
    out = CliRule
    fixed = ("customer_id",)
    sorts = ("position", "id", "customer_id", "created_at", "updated_at")
    search = ("match", "pai_match", "dialled_match", "to", "notes")

    @property
    def title(self) -> str:
        return "CLI rule"

    async def check(self, ctx: Context, change: Change, new: CliRuleNew, before: RowMapping | None) -> dict[str, Any]:
        await check_customer(change.tx, new.customer_id)
        check_rule(new)
        if before is not None:
            return {"position": before["position"]}  # moved by `update_in`, with the others
        count = await self._count(change.tx, new.customer_id)
        if count >= RULES_MAX:
            raise invalid("customer_id", f"has {RULES_MAX} rules already, as many as a customer may have")
        return {"position": count + 1}

    def columns(self, new: CliRuleNew) -> dict[str, Any]:
        values = super().columns(msgspec.structs.replace(new, position=1))
        del values["position"]  # `check` and `_moved` say where it stands
        return values

    async def create_in(self, ctx: Context, change: Change, new: CliRuleNew, **more: Any) -> CliRule:
        made = await super().create_in(ctx, change, new, **more)
        return await self._moved(change, made, new.position)

    async def update_in(
        self, ctx: Context, change: Change, row_id: int, sent: dict[str, Any], expected: int | None = None
    ) -> CliRule:
        fields = {name: value for name, value in sent.items() if name != "row_version"}
        position = self.merged(await self.row(change.tx, row_id), fields).position
        changed = await super().update_in(ctx, change, row_id, sent, expected)
        return await self._moved(change, changed, position)

    async def archive_in(self, change: Change, row_id: int, expected: int | None = None) -> None:
        row = await self.row(change.tx, row_id)
        await super().archive_in(change, row_id, expected)
        await self._number(change, await self._ordered(change.tx, row["customer_id"]))

    async def record(self, tx: Tx, row: RowMapping) -> Record:
        return cli_rule_record(row)

    async def reorder(self, ctx: Context, customer_id: int, ids: tuple[int, ...]) -> list[CliRule]:
        """Ask the customer's rules in this order from now on.

        Raises:
            Invalid: not every rule of the customer, or one twice, or somebody else's.
        """
        async with ctx.change() as change:
            rows = {row["id"]: row for row in await self._ordered(change.tx, customer_id)}
            found = [
                FieldError(f"ids[{place}]", f"there is no rule {rule_id} of this customer")
                for place, rule_id in enumerate(ids)
                if rule_id not in rows
            ]
            found += [FieldError(f"ids[{n}]", "comes twice") for n, rule_id in enumerate(ids) if rule_id in ids[:n]]
            missing = [rule_id for rule_id in rows if rule_id not in ids]
            if missing:
                found.append(FieldError("ids", f"rule {missing[0]} is missing"))
            if found:
                raise Invalid(found)
            await self._number(change, [rows[rule_id] for rule_id in ids])
            return [self.struct(row) for row in await self._ordered(change.tx, customer_id)]

    async def _moved(self, change: Change, rule: CliRule, position: int | UnsetType) -> CliRule:
        if isinstance(position, UnsetType) or position == rule.position:
            return rule
        rows = await self._ordered(change.tx, rule.customer_id)
        moved = next(row for row in rows if row["id"] == rule.id)
        rows.remove(moved)
        rows.insert(position - 1, moved)  # beyond the end is the end
        await self._number(change, rows)
        return self.struct(await self.row(change.tx, rule.id))

    async def _ordered(self, tx: Tx, customer_id: int) -> list[RowMapping]:
        rows = await self.rows_of(tx, "customer_id", customer_id)
        rows.sort(key=lambda row: (row["position"], row["id"]))
        return rows

    async def _number(self, change: Change, rows: list[RowMapping]) -> None:
        """Write 1, 2, 3 … where it is not so already."""
        for place, row in enumerate(rows, 1):
            if row["position"] != place:
                await self._announce(change, "update", row, await self.write(change, row, {"position": place}))

    async def _count(self, tx: Tx, customer_id: int) -> int:
        query = select(func.count()).where(cli_rules.c.customer_id == customer_id, cli_rules.c.archived_ms.is_(None))
        return (await tx.execute(query)).scalar_one()


CLI_RULES: Final = CliRules()


def check_rule(new: CliRuleFields) -> None:
    """That the switch can use it; errors name the field."""
    record = CliRuleRecord(
        id=1,
        customer_id=new.customer_id,
        match=new.match,
        pai_match=new.pai_match,
        dialled_match=new.dialled_match,
        action=new.action,
        to=new.to,
    )
    try:
        CompiledRule(record)
    except PatternError as error:
        path, _, reason = str(error).partition(": ")
        raise invalid(path, reason) from error
