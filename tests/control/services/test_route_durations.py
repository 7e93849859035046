"""How long a route's calls are: counted right, kept in few buckets, sent only when it matters."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from control.services.route_durations import BUCKETS_MAX, CALLS_MAX, DAYS, distribution, has_moved, refresh
from switch.snapshot import IngressRoute, Key
from tests.fakes.control import START_MS, ControlPlane, with_control
from tests.fakes.databases import Database
from tests.fakes.stored_calls import store_calls, stored_call

LENGTHS = st.dictionaries(st.integers(1, 20_000), st.integers(1, 500), min_size=1, max_size=200)


@given(LENGTHS)
def test_buckets_keep_every_call_and_the_talk_time(lengths: dict[int, int]) -> None:
    found = distribution(lengths)
    total = sum(lengths.values())
    if total < 30:
        assert found == ()
        return
    assert len(found) <= BUCKETS_MAX
    assert [length for length, _ in found] == sorted({length for length, _ in found})
    assert sum(calls for _, calls in found) == total
    talked = sum(length * calls for length, calls in lengths.items())
    # Each bucket's mean is rounded to the second.
    assert abs(sum(length * calls for length, calls in found) - talked) <= total / 2
    if len(lengths) <= BUCKETS_MAX:
        assert dict(found) == lengths
    assert min(lengths) <= found[0][0] <= found[-1][0] <= max(lengths)


@given(LENGTHS)
def test_what_has_not_changed_has_not_moved(lengths: dict[int, int]) -> None:
    found = distribution(lengths)
    assert not has_moved(found, found)
    # Twice as many calls of the same lengths are the same shares.
    assert not has_moved(found, tuple((length, calls * 2) for length, calls in found))
    if found:
        assert has_moved((), found)
        assert has_moved(found, ())
        assert has_moved(found, tuple((length * 2, calls) for length, calls in found))


def test_a_distribution_has_moved_beyond_a_twentieth_of_the_mean() -> None:
    before = ((100, 50), (200, 50))
    assert not has_moved(before, ((107, 50), (207, 50)))
    assert has_moved(before, ((108, 50), (208, 50)))
    # The same mean, and quite other calls.
    assert has_moved(before, ((1, 50), (299, 50)))


async def _route(plane: ControlPlane) -> int:
    customer = await plane.make_customer()
    card = await plane.make_sell_card()
    made = await plane.post("/ingress-routes", {"customer_id": customer, "rate_card_id": card})
    return int(made["id"])


def _sent(plane: ControlPlane, route_id: int) -> tuple[tuple[int, int], ...]:
    record = plane.publisher.records[Key("ingress_route", route_id)]
    assert isinstance(record, IngressRoute)
    return record.durations


@with_control
async def test_lengths_are_counted_from_answered_calls_of_the_route_and_sent_once(plane: ControlPlane) -> None:
    route_id = await _route(plane)
    old_ms = START_MS - DAYS * 86_400_000 - 1
    calls = [stored_call(n, 1_000 * (n % 3) + 500) for n in range(60)]
    calls += [stored_call(n, 90_000, is_answered=False) for n in range(100, 110)]
    calls += [stored_call(n, 90_000, route_id=7) for n in range(200, 210)]
    calls += [stored_call(n, 90_000, invited_ms=old_ms) for n in range(300, 310)]
    await store_calls(plane.ctx, calls)
    assert await refresh(plane.ctx) == 1
    assert _sent(plane, route_id) == ((1, 20), (2, 20), (3, 20))
    shown = await plane.get(f"/ingress-routes/{route_id}/durations", role="read-only")
    assert (shown["calls"], shown["mean_s"], shown["lengths"][0]) == (60, 2, {"length_s": 1, "calls": 20})
    versions = list(plane.publisher.versions)
    assert await refresh(plane.ctx) == 0
    assert plane.publisher.versions == versions
    # An edit by somebody who had read the route before goes through, and keeps the lengths.
    await plane.patch(f"/ingress-routes/{route_id}", {"profit_mode": "expected"}, headers={"If-Match": '"1"'})
    assert _sent(plane, route_id) == ((1, 20), (2, 20), (3, 20))


@with_control
async def test_too_few_calls_are_no_distribution(plane: ControlPlane) -> None:
    route_id = await _route(plane)
    await store_calls(plane.ctx, [stored_call(n) for n in range(29)])
    assert await refresh(plane.ctx) == 0
    shown = await plane.get(f"/ingress-routes/{route_id}/durations")
    assert shown == {"calls": 0, "mean_s": 0, "lengths": []}
    await store_calls(plane.ctx, [stored_call(29, 0)])
    assert await refresh(plane.ctx) == 1
    # A call of no length counts as the shortest that there is.
    assert _sent(plane, route_id) == ((1, 1), (60, 29))
    # And when those are too old, it is forgotten.
    plane.clock.ms += DAYS * 86_400_000
    assert await refresh(plane.ctx) == 1
    assert _sent(plane, route_id) == ()


@with_control
async def test_the_newest_calls_count(plane: ControlPlane) -> None:
    route_id = await _route(plane)
    older = [stored_call(n, 600_000, invited_ms=START_MS - 7_200_000 + n) for n in range(50)]
    newer = [stored_call(1_000 + n, 60_000, invited_ms=START_MS - 3_600_000 + n) for n in range(CALLS_MAX)]
    await store_calls(plane.ctx, [*older, *newer])
    assert await refresh(plane.ctx) == 1
    assert _sent(plane, route_id) == ((60, CALLS_MAX),)


def test_a_stored_snapshot_has_the_lengths(tmp_path: Path, database: Database) -> None:
    from control.services.records import read_snapshot

    @with_control
    async def act(plane: ControlPlane) -> None:
        await _route(plane)
        await store_calls(plane.ctx, [stored_call(n) for n in range(30)])
        await refresh(plane.ctx)
        async with plane.store.read() as tx:
            records = (await read_snapshot(tx)).records
        assert [r.durations for r in records if isinstance(r, IngressRoute)] == [((60, 30),)]

    act(tmp_path, database)
