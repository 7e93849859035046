from __future__ import annotations

import itertools
from pathlib import Path
from random import Random

from control.apply_file import read_file
from control.drill.carrier import CUSTOMERS, VENDORS, destination_of, write_carrier
from control.drill.plan import ENDINGS, draw_calls, serial_of


def test_a_seed_draws_the_same_calls_again_and_another_seed_others() -> None:
    def drawn(seed: int) -> list[object]:
        return list(itertools.islice(draw_calls(Random(seed)), 50))

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_every_number_says_which_call_it_is_and_has_a_price() -> None:
    for plan in itertools.islice(draw_calls(Random(3)), 300):
        assert serial_of(plan.dialled) == serial_of("+" + plan.number) == plan.serial
        assert destination_of(plan.number).prefix in plan.customer.dials
        assert 7 <= len(plan.number) <= 15
    assert serial_of("x") == 0


def test_all_endings_and_customers_occur() -> None:
    plans = list(itertools.islice(draw_calls(Random(4)), 500))
    assert {plan.ending for plan in plans} == {ending for ending, _ in ENDINGS}
    assert {plan.customer.name for plan in plans} == {customer.name for customer in CUSTOMERS}


def test_the_carrier_is_a_file_that_apply_reads(tmp_path: Path) -> None:
    wanted = read_file(write_carrier(tmp_path, (5_080, 5_081)))
    kinds = [each.kind.noun for each in wanted]
    assert kinds.count("customer") == kinds.count("ingress route") == kinds.count("endpoint") == len(CUSTOMERS)
    assert kinds.count("gateway") == len(VENDORS)
    assert len([each for each in wanted if each.deck is not None]) == len(VENDORS) + 1
