"""The link and the publisher against a real socket and a real store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from control import link as link_module
from control.services.context import next_version
from control.services.errors import SwitchAway
from switch.outputs import Alarm
from switch.snapshot import Client, Customer
from tests.fakes.databases import Database
from tests.fakes.linked_plane import LinkedPlane, play
from tests.fakes.switch_socket import SwitchSocket
from tests.fakes.waiting import until


def test_a_new_switch_gets_a_whole_snapshot_before_the_link_is_used(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        (snapshot,) = switch.snapshots
        assert [record.name for record in snapshot.records if isinstance(record, Client)]
        assert plane.publisher.version_in_force == snapshot.version

    play(tmp_path, database, scene)


def test_changes_go_as_deltas_in_their_order(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        first = switch.version
        names = [f"Acme {number}" for number in range(20)]
        done = await asyncio.gather(*(plane.change(Customer(id=1, name=name, status="active")) for name in names))
        assert all(done)
        assert [delta.version for delta in switch.deltas] == list(range(first + 1, first + 21))
        assert len(switch.snapshots) == 1

    play(tmp_path, database, scene)


def test_a_switch_that_has_what_is_stored_is_left_alone_when_it_reconnects(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        switch.hang_up()
        await until(lambda: switch.connections == 2 and plane.link.is_connected)
        assert len(switch.snapshots) == 1
        assert await plane.change()

    play(tmp_path, database, scene)


def test_a_change_made_while_the_switch_is_away_comes_with_the_next_snapshot(
    tmp_path: Path, database: Database
) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        await switch.stop()
        await until(lambda: not plane.link.is_connected)
        assert not await plane.change()
        await switch.start()
        await until(lambda: plane.link.is_connected)
        assert len(switch.snapshots) == 2
        assert await plane.change()
        assert [delta.version for delta in switch.deltas] == [switch.snapshots[1].version + 1]

    play(tmp_path, database, scene)


def test_a_restarted_switch_without_a_snapshot_gets_one(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        switch.version = 0
        switch.hang_up()
        await until(lambda: len(switch.snapshots) == 2)

    play(tmp_path, database, scene)


def test_a_refused_delta_is_followed_by_a_whole_snapshot(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        switch.refuse_deltas = "I know no customer 1"
        assert await plane.change()
        assert not switch.deltas
        assert len(switch.snapshots) == 2

    play(tmp_path, database, scene)


def test_a_refused_snapshot_is_tried_again_when_asked_and_named_meanwhile(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        switch.refuse_deltas = switch.refuse_snapshots = "deck is missing"
        assert not await plane.change()
        assert plane.publisher.refusal == "deck is missing"
        assert plane.link.is_connected
        switch.refuse_snapshots = ""
        await plane.publisher.catch_up()
        assert plane.publisher.refusal == ""
        assert switch.version == plane.publisher.version_in_force

    play(tmp_path, database, scene)


def test_a_switch_ahead_of_a_restored_store_is_overruled_and_versions_grow(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        switch.version = 900
        switch.hang_up()
        await until(lambda: len(switch.snapshots) == 2)
        assert switch.version == 901
        assert await plane.change()
        assert switch.version == 902

    play(tmp_path, database, scene)


def test_an_unanswered_change_is_pending_and_goes_whole_over_a_new_connection(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "REQUEST_TIMEOUT_S", 0.05)

    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        switch.is_silent = True
        assert not await plane.change()
        switch.is_silent = False
        await until(lambda: len(switch.snapshots) == 2)

    play(tmp_path, database, scene)


def test_a_commit_whose_publishing_was_lost_is_made_good_by_the_next_change(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        async with plane.store.begin() as tx:
            await next_version(tx)
        assert await plane.change()
        assert len(switch.snapshots) == 2
        assert not switch.deltas

    play(tmp_path, database, scene)


def test_a_new_control_process_sends_the_whole_once_even_to_a_switch_of_its_version(
    tmp_path: Path, database: Database
) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        before = switch.version
        second = LinkedPlane(plane.store, tmp_path)
        await until(lambda: second.link.is_connected)
        assert len(switch.snapshots) == 2
        assert switch.version == before + 1
        await second.stop()

    play(tmp_path, database, scene)


def test_questions_fail_by_name_while_the_switch_is_away(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        assert await plane.link.list_calls() == []
        assert not await plane.link.end_call("0" * 32, "test")
        with pytest.raises(SwitchAway, match="is not known here"):
            await plane.link.stats()
        await switch.stop()
        await until(lambda: not plane.link.is_connected)
        with pytest.raises(SwitchAway, match="not connected"):
            await plane.link.list_calls()

    play(tmp_path, database, scene)


def test_events_reach_their_handler(tmp_path: Path, database: Database) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        heard: list[object] = []
        plane.link.handle_event = heard.append
        alarm = Alarm(name="journal", detail="disk full", at_ms=5)
        switch.tell(alarm)
        await until(lambda: heard == [alarm])

    play(tmp_path, database, scene)


@pytest.mark.parametrize("noise", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x02\xc1\xc1", b"\x00\x00\x00\x01\xc0"])
def test_noise_on_the_socket_closes_it_and_a_new_one_is_made(tmp_path: Path, database: Database, noise: bytes) -> None:
    async def scene(switch: SwitchSocket, plane: LinkedPlane) -> None:
        switch.send_bytes(noise)
        await until(lambda: switch.connections == 2 and plane.link.is_connected)
        assert await plane.change()

    play(tmp_path, database, scene)
