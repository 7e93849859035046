"""The order in which a call's vendors are tried.

`lcr`: cheapest minute first, then priority (lower first), then card id. `priority`: priority, then
id. `weighted`: exact shares by smooth weighted rotation. `round_robin`: each in turn, per route.
"""

from __future__ import annotations

from typing import Final

from switch.policy.live import Live, Turns
from switch.policy.options import Offer
from switch.policy.verdicts import Option

ROTATIONS_MAX: Final = 65_536
"""Rotations remembered; each is one set of cards of one route, so thousands are unusual."""


def put_in_order(offer: Offer, live: Live, is_simulated: bool) -> None:
    """Sort an offer's options; turns the route's rotation unless simulated."""
    options = offer.options
    if len(options) < 2:
        return
    strategy = offer.route.strategy
    if strategy == "lcr":
        _sort_by_price(options)
        return
    options.sort(key=_by_priority)
    route_id = offer.route.id
    if strategy == "round_robin":
        turn = live.round_robin.get(route_id, 0)
        if not is_simulated:
            live.round_robin[route_id] = turn + 1
        start = turn % len(options)
        offer.options = options[start:] + options[:start]
    elif strategy == "weighted":
        offer.options = weighted(options, _turns(live, route_id, options, is_simulated), is_simulated)


def weighted(options: list[Option], turns: Turns, is_simulated: bool) -> list[Option]:
    """Options by their credit, the greatest first; only the first pays for its turn.

    Each call every card earns its weight, and the one that goes first pays the sum of all weights.
    So over any `sum of weights` calls each card goes first exactly its weight's number of times,
    spread evenly. Cards of weight 0 come last and are only reached when the others fail.
    """
    earned: list[tuple[int, int]] = []
    total = 0
    for place, option in enumerate(options):
        weight = max(option.card.weight, 0)
        total += weight
        # Lists of pairs sort by credit, then place: the greatest credit first means negative here.
        earned.append((-(turns.credits.get(option.card.id, 0) + weight), place))
    if total == 0:
        return options
    # A card of weight 0 never has credit, but others may be below it: it still comes last.
    idle = [option for option in options if option.card.weight <= 0]
    ordered = [options[place] for _, place in sorted(earned) if options[place].card.weight > 0]
    if not is_simulated:
        for credit, place in earned:
            turns.credits[options[place].card.id] = -credit
        turns.credits[ordered[0].card.id] -= total
    return ordered + idle


def _turns(live: Live, route_id: int, options: list[Option], is_simulated: bool) -> Turns:
    """The rotation of one route over exactly these cards: another set of cards has its own."""
    key = (route_id, *[option.card.id for option in options])
    turns = live.turns.get(key)
    if turns is None:
        turns = Turns()
        if not is_simulated:
            if len(live.turns) >= ROTATIONS_MAX:
                live.turns.clear()
            live.turns[key] = turns
    return turns


def _sort_by_price(options: list[Option]) -> None:
    """By insertion: a call has a handful of options, and a tuple of each would take longer than comparing them."""
    for place in range(1, len(options)):
        option = options[place]
        at = place
        while at > 0 and _goes_before(option, options[at - 1]):
            options[at] = options[at - 1]
            at -= 1
        options[at] = option


def _goes_before(option: Option, other: Option) -> bool:
    if option.rate_nanos != other.rate_nanos:
        return option.rate_nanos < other.rate_nanos
    if option.card.priority != other.card.priority:
        return option.card.priority < other.card.priority
    return option.card.id < other.card.id


def _by_priority(option: Option) -> tuple[int, int]:
    return (option.card.priority, option.card.id)
