"""Ledger entries on their way to the switch: in order, each once, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from control import feed as feed_module
from control import link as link_module
from control.schedule import Schedule
from control.services import ledger
from control.services.context import SYSTEM, Change
from control.sinks import StoreSink
from switch.snapshot import Customer
from tests.fakes.databases import Database
from tests.fakes.ended_calls import ended_call
from tests.fakes.linked_plane import LinkedPlane, play
from tests.fakes.switch_socket import SwitchSocket
from tests.fakes.waiting import until


def test_a_switch_without_balances_gets_them_before_any_configuration(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        assert switch.heard[:2] == ["PutBalances", "PutSnapshot"]
        assert (switch.entry_id, switch.balances) == (0, {})

    play(tmp_path, database, scene)


def test_balances_hold_every_entry_and_name_the_highest_that_no_call_made(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        assert await plane.append(50)
        await StoreSink(plane.store).write([(1, ended_call(1, gross_nanos=7))], 1)
        switch.entry_id, switch.balances = None, {}
        switch.hang_up()
        await until(lambda: plane.link.is_connected and bool(switch.balances))
        assert switch.balances == {1: 43}
        assert switch.heard[-1] == "PutBalances"
        assert await plane.append(1)
        assert switch.balances == {1: 44}

    play(tmp_path, database, scene)


def test_balances_wait_until_the_journal_has_been_read(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "RECONNECT_MAX_S", 0.1)

    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        is_read = False

        async def wait_read(_timeout_s: float) -> bool:
            return is_read

        plane.feed.wait_read = wait_read
        switch.entry_id = None
        switch.hang_up()
        await until(lambda: switch.connections >= 3)
        assert switch.entry_id is None
        assert not plane.link.is_connected
        assert "journal" in plane.feed.faults()[0]
        is_read = True
        await until(lambda: plane.link.is_connected)
        assert switch.entry_id == 0
        assert plane.feed.faults() == []

    play(tmp_path, database, scene)


def test_an_entry_is_in_the_switch_when_its_change_ends(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        done = await asyncio.gather(*(plane.append(amount) for amount in range(1, 31)))
        assert all(done)
        assert [entry.id for entry in switch.entries] == list(range(1, 31))
        assert switch.balances == await plane.balances()

    play(tmp_path, database, scene)


def test_an_entry_made_while_the_switch_is_away_comes_when_it_is_back(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        await switch.stop()
        await until(lambda: not plane.link.is_connected)
        assert not await plane.append(5)
        assert not await plane.append(6)
        assert not plane.publisher.is_booked(1)
        await switch.start()
        await until(lambda: plane.link.is_connected)
        assert [entry.amount_nanos for entry in switch.entries] == [5, 6]
        assert plane.publisher.is_booked(2)

    play(tmp_path, database, scene)


def test_many_entries_go_in_several_requests_in_their_order(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "ENTRIES_MAX", 4)

    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        await switch.stop()
        await until(lambda: not plane.link.is_connected)
        for amount in range(10):
            await plane.append(amount)
        switch.heard.clear()
        await switch.start()
        await until(lambda: plane.link.is_connected)
        assert [entry.amount_nanos for entry in switch.entries] == list(range(10))
        assert switch.heard[:3] == ["BookEntries"] * 3

    play(tmp_path, database, scene)


def test_an_entry_whose_reply_was_lost_is_sent_again_and_counts_once(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "REQUEST_TIMEOUT_S", 0.05)

    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        switch.loses_replies = True
        assert not await plane.append(5)
        switch.loses_replies = False
        await until(lambda: plane.link.is_connected)
        assert plane.publisher.is_booked(1)
        assert await plane.append(6)
        assert switch.balances == {1: 11}

    play(tmp_path, database, scene)


def test_a_refused_entry_is_a_fault_until_the_switch_takes_it_and_all_else_goes_on(
    tmp_path: Path, database: Database
) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        switch.refuse_entries = "the journal is closed"
        assert not await plane.append(5)
        assert "the journal is closed" in plane.feed.faults()[0]
        # A full disk must not take calls out of sight and reach: of a connection that stands, or a new one.
        assert plane.link.is_connected
        switch.hang_up()
        await until(lambda: switch.connections == 2 and plane.link.is_connected)
        assert await plane.link.list_calls() == []
        assert not plane.publisher.is_booked(1)
        assert not await plane.append(6)
        switch.refuse_entries = ""
        await Schedule(plane.context, plane.publisher).run_due()
        assert plane.feed.faults() == []
        assert switch.balances == {1: 11}
        assert switch.connections == 2

    play(tmp_path, database, scene)


def test_a_switch_ahead_of_a_restored_store_is_told_and_new_ids_begin_above(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        assert await plane.append(5)
        switch.entry_id = 900
        switch.hang_up()
        await until(lambda: switch.connections == 2 and plane.link.is_connected)
        assert "900" in plane.feed.faults()[0]
        assert await plane.append(6)
        assert [entry.id for entry in switch.entries] == [1, 901]

    play(tmp_path, database, scene)


def test_a_restored_store_that_has_read_calls_since_is_still_found_to_lack_entries(
    tmp_path: Path, database: Database
) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        assert await plane.append(5)
        # Calls of the journal have taken the ids of payments that the older copy did not have.
        await StoreSink(plane.store).write([(each, ended_call(each, gross_nanos=7)) for each in (1, 2, 3)], 3)
        switch.entry_id = 3
        switch.hang_up()
        await until(lambda: switch.connections == 2 and plane.link.is_connected)
        assert "entry 3" in plane.feed.faults()[0]
        assert await plane.append(6)
        assert [entry.id for entry in switch.entries] == [1, 5]

    play(tmp_path, database, scene)


def test_a_change_of_configuration_and_money_is_in_force_whole(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        async with plane.context.change() as change:
            change.put.append(Customer(id=1, name="Acme", status="active"))
            await ledger.append(change, customer_id=1, kind="payment", amount_nanos=5)
        assert not change.is_pending
        assert switch.heard[-2:] == ["PutDelta", "BookEntries"]

    play(tmp_path, database, scene)


@pytest.mark.parametrize("seed", range(4))
def test_both_ledgers_agree_after_any_order_of_losses(
    seed: int, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "REQUEST_TIMEOUT_S", 0.05)
    monkeypatch.setattr(link_module, "RECONNECT_MAX_S", 0.05)
    chance = random.Random(seed)

    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        for _ in range(25):
            step = chance.choice(["pay", "pay", "pay", "hang up", "lose", "stop", "forget"])
            if step == "pay":
                await asyncio.gather(*(plane.append(chance.randint(-9, 9), chance.randint(1, 3)) for _ in range(3)))
            elif step == "hang up":
                switch.hang_up()
            elif step == "lose":
                switch.loses_replies = not switch.loses_replies
            elif step == "stop":
                await switch.stop()
                await plane.append(1)
                await switch.start()
            else:
                # A switch that lost its journal; the connection goes with its process.
                switch.entry_id, switch.balances = None, {}
                switch.hang_up()
        switch.loses_replies = False
        await until(lambda: plane.link.is_connected)
        await plane.append(1)
        await until(lambda: plane.link.is_connected)
        assert {each: nanos for each, nanos in switch.balances.items() if nanos} == {
            each: nanos for each, nanos in (await plane.balances()).items() if nanos
        }

    play(tmp_path, database, scene)


def test_an_entry_whose_commit_was_not_heard_of_is_brought_by_the_next_look(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        # Stored, and whoever stored it was cut off before it could be sent.
        async with plane.store.begin() as tx:
            await ledger.append(Change(tx, SYSTEM, 0), customer_id=1, kind="payment", amount_nanos=5)
        assert switch.balances == {}
        await Schedule(plane.context, plane.publisher).run_due()
        assert switch.balances == {1: 5}

    play(tmp_path, database, scene)
