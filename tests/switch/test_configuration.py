"""The snapshot file: written whole or not at all, read back as it was."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.configuration import Configuration, SnapshotUnusable, read_snapshot, write_snapshot
from switch.saver import SnapshotSaver
from switch.snapshot import Customer, Delta, Gateway, Key, RateCard, Revision, Snapshot
from tests.fakes.waiting import until

CUSTOMER = Customer(id=1, name="Acme", status="active", tax_ppm=200_000)
RECORDS = (
    CUSTOMER,
    Gateway(id=1, provider_id=2, host="gw.example", transport="tls"),
    RateCard(id=1, name="Sell", direction="sell", revisions=(Revision(id=3, path="decks/3"),)),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.msgpack"
    write_snapshot(path, 12, RECORDS)
    assert read_snapshot(path) == Snapshot(version=12, records=RECORDS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_json_is_read_by_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    path.write_bytes(msgspec.json.encode(Snapshot(version=2, records=RECORDS)))
    assert read_snapshot(path).records == RECORDS


@pytest.mark.parametrize("content", [b"", b"\x80", b"rubbish", None])
def test_a_bad_file_is_named_with_the_reason(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "snapshot.msgpack"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SnapshotUnusable, match=r"snapshot\.msgpack: "):
        read_snapshot(path)


def test_a_write_that_fails_leaves_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "snapshot.msgpack"
    write_snapshot(path, 1, RECORDS)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_snapshot(path, 2, ())
    assert read_snapshot(path).version == 1


changes = st.lists(
    st.tuples(
        st.lists(st.builds(Customer, id=st.integers(1, 5), name=st.text(), status=st.just("active"))),
        st.lists(st.builds(Key, st.just("customer"), st.integers(1, 5))),
    ),
    max_size=8,
)


@given(changes)
def test_deltas_lead_to_what_a_whole_snapshot_would_say(steps: list[tuple[list[Customer], list[Key]]]) -> None:
    configuration = Configuration()
    configuration.replace(Snapshot(version=1, records=(CUSTOMER,)))
    expected = {CUSTOMER.id: CUSTOMER}
    for version, (put, remove) in enumerate(steps, 2):
        configuration.apply(Delta(version=version, put=tuple(put), remove=tuple(remove)))
        for key in remove:
            expected.pop(key.id, None)
        expected.update({customer.id: customer for customer in put})
    assert configuration.version == len(steps) + 1
    assert sorted(configuration.records(), key=lambda record: record.id) == [expected[key] for key in sorted(expected)]


def test_changes_are_saved_soon_and_together(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.msgpack"

    async def main() -> None:
        configuration = Configuration()
        saver = SnapshotSaver(configuration, path)
        task = asyncio.create_task(saver.run())
        for version in range(1, 50):
            configuration.apply(Delta(version=version, put=(CUSTOMER,)))
            saver.note_change()
        await until(path.exists)
        await until(lambda: read_snapshot(path).version == 49)
        configuration.apply(Delta(version=50))
        task.cancel()
        await saver.save()
        assert read_snapshot(path).version == 50

    asyncio.run(main())
