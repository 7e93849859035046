"""What a drill's peers saw and what its books say, made up to agree, for tests to disturb."""

from __future__ import annotations

from control.drill.books import Attempted, Balance, Books, Charged
from control.drill.carrier import CUSTOMERS, bought, sold
from control.drill.plan import CallPlan, Ending
from control.drill.reconcile import Verdict, reconcile
from control.drill.witness import CallSeen, LegSeen, Payment, Witness
from rating.money import parse_amount

T = 1_800_000_000_000
CUSTOMER = CUSTOMERS[1]
"""Prepaid, with enough credit."""


class Facts:
    """Two answered calls and a busy one, a payment of 10, and books that agree."""

    def __init__(self) -> None:
        self.witness = Witness(payments=[Payment(customer=CUSTOMER.name, key="k", amount="10", is_acknowledged=True)])
        self.books = Books(balances=[])
        self.add_call(1, "caller", 4_000)
        self.add_call(2, "callee", 61_500)
        self.add_call(3, "busy", 0)
        spent = sum(cdr.gross_nanos for cdr in self.books.cdrs)
        left = parse_amount("10") - spent
        self.books.balances.append(
            Balance(id=2, name=CUSTOMER.name, balance_nanos=left, held_nanos=0, available_nanos=left)
        )

    def add_call(self, serial: int, ending: Ending, talk_ms: int) -> None:
        number = f"331{serial:07d}"
        plan = CallPlan(
            serial=serial, customer=CUSTOMER, number=number, ending=ending, ring_s=0.5, talk_s=talk_ms / 1_000
        )
        is_answered = ending != "busy"
        answered, ended = T + 500, T + 500 + talk_ms
        status = 200 if is_answered else 486
        call = CallSeen(plan=plan, call_id=f"c{serial}", invited_ms=T, status=status, final_ms=answered + 2)
        leg = LegSeen(serial=serial, vendor="Meridian", number=number, invited_ms=T + 2, status=status)
        if is_answered:
            leg.answered_ms, leg.is_acked = answered - 2, True
            first, second = (call, leg) if ending == "caller" else (leg, call)
            first.bye_sent_ms, first.bye_status, first.bye_done_ms = ended - 1, 200, ended + 3
            second.bye_received_ms = ended + 1
        self.witness.calls.append(call)
        self.witness.legs.append(leg)
        charge = sold(number, CUSTOMER, talk_ms, answered if is_answered else 0)
        cost = bought(number, "Meridian", talk_ms, answered if is_answered else 0).net_nanos
        cdr = Charged(
            id=f"{serial:032x}",
            customer_id=2,
            call_id=call.call_id,
            dialled=number,
            invited_ms=T,
            answered_ms=answered if is_answered else None,
            ended_ms=ended,
            duration_ms=talk_ms,
            billed_s=charge.billed_s,
            cause="normal" if is_answered else "busy",
            status=status,
            net_nanos=charge.net_nanos,
            tax_nanos=charge.tax_nanos,
            gross_nanos=charge.gross_nanos,
            cost_nanos=cost,
            margin_nanos=charge.net_nanos - cost,
            attempts=[Attempted(vendor="Meridian", status=status, cost_nanos=cost)],
        )
        self.books.cdrs.append(cdr)

    def lasts(self, index: int, duration_ms: int) -> None:
        """A CDR of that length, priced as one."""
        cdr = self.books.cdrs[index]
        assert cdr.answered_ms is not None
        before = cdr.gross_nanos
        charge = sold(cdr.dialled, CUSTOMER, duration_ms, cdr.answered_ms)
        cdr.duration_ms, cdr.ended_ms, cdr.billed_s = duration_ms, cdr.answered_ms + duration_ms, charge.billed_s
        cdr.net_nanos, cdr.tax_nanos, cdr.gross_nanos = charge.net_nanos, charge.tax_nanos, charge.gross_nanos
        cdr.cost_nanos = bought(cdr.dialled, "Meridian", duration_ms, cdr.answered_ms).net_nanos
        cdr.attempts[0].cost_nanos, cdr.margin_nanos = cdr.cost_nanos, cdr.net_nanos - cdr.cost_nanos
        self.books.balances[0].balance_nanos += before - cdr.gross_nanos
        self.books.balances[0].available_nanos += before - cdr.gross_nanos

    def verdict(self) -> Verdict:
        return reconcile(self.witness, self.books)
