"""What a call costs on its way from the journal into SQLite: `.venv/bin/python -P bench/ingest.py`.

Batches as they come under load, every call under another prefix, which is the dearest that sums of
calls can be; the two records before each CDR are smaller than real ones, which carry an INVITE.
Processor time a call of the whole, and of its larger parts where they run alone.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec

from control.ingest import ENDED
from control.services import cdr_rows, rollups
from control.sinks import SqliteSink
from control.store.engine import open_store
from switch.journal_read import JournalReader
from switch.records import Attempt, Beat, CallEnded, Candidate, Cdr
from switch.segments import encode_header, encode_record, segment_path

BATCH = 2_000
BATCHES = 5
START_MS = 1_790_000_000_000
OTHER_RECORD = Beat(0.0)


def make_call(serial: int, rng: random.Random) -> CallEnded:
    """An answered call of some milliseconds under a prefix that hardly any other has."""
    at_ms = START_MS + serial
    prefix = str(rng.randint(1_000, 999_999))
    attempt = Attempt(
        provider_id=1,
        provider_name="Near",
        gateway_id=1,
        card_id=2,
        revision_id=2,
        prefix=prefix,
        rate_nanos=7_000_000,
        dialled_out=prefix + "0123456",
        started_ms=at_ms,
        progress_ms=at_ms + 12,
        answered_ms=at_ms + 13,
        ended_ms=at_ms + 29,
        status=200,
        cause="answered",
        billed_s=1,
        cost_nanos=116_667,
    )
    cdr = Cdr(
        id=f"{at_ms:012x}{rng.getrandbits(80):020x}",
        customer_id=1,
        client_id=None,
        endpoint_id=1,
        sip_user_id=None,
        route_id=1,
        direction="outbound",
        source="127.0.0.1:5070",
        transport="udp",
        call_id=f"{serial}-4711@127.0.0.1",
        cli_in="442071000000",
        cli_out="442071000000",
        dialled_in="1234" + prefix + "0123456",
        dialled_out=prefix + "0123456",
        invited_ms=at_ms,
        progress_ms=at_ms + 12,
        answered_ms=at_ms + 13,
        ended_ms=at_ms + 29,
        pdd_ms=12,
        duration_ms=16,
        billed_s=1,
        release="caller",
        cause="answered",
        status=200,
        currency="USD",
        card_id=1,
        revision_id=1,
        prefix=prefix,
        destination="Area " + prefix,
        rate_nanos=9_000_000,
        net_nanos=200_000,
        tax_nanos=0,
        gross_nanos=200_000,
        cost_nanos=116_667,
        margin_nanos=83_333,
        user_agent="wholesale-trunk/2.3",
        codecs="PCMA",
        recording="off",
        attempts=(attempt,),
        explanation=(
            Candidate(2, 1, "taken", 7_000_000, 2_000_000),
            Candidate(3, 2, "not_reached", 8_000_000, 1_000_000),
        ),
    )
    return CallEnded(cdr)


def write_journal(folder: Path, calls: list[CallEnded]) -> None:
    """One segment: two records that the store does not want before each one that it does."""
    encode = msgspec.msgpack.Encoder().encode
    parts = [encode_header(1, 0)]
    sequence = 0
    for call in calls:
        for record in (OTHER_RECORD, OTHER_RECORD, call):
            sequence += 1
            parts.append(encode_record(sequence, encode(record)))
    segment_path(folder, 1).write_bytes(b"".join(parts))


def per_call(step: Callable[[], object]) -> float:
    """µs of this process a call, of one batch."""
    began = time.process_time()
    step()
    return (time.process_time() - began) / BATCH * 1e6


async def measure(folder: Path) -> None:
    rng = random.Random(3)
    calls = [make_call(serial, rng) for serial in range(BATCH * BATCHES)]
    write_journal(folder, calls)
    store = open_store(f"sqlite:///{folder / 'tandem.db'}")
    await store.migrate()
    sink = SqliteSink(store)
    reader = JournalReader(folder, 0, ENDED)
    reading, storing = [], []
    for _ in range(BATCHES):
        began = time.process_time()
        ended = cast("list[tuple[int, CallEnded]]", reader.read(3 * BATCH))
        read_at = time.process_time()
        await sink.write(ended, reader.sequence)
        reading.append((read_at - began) / len(ended) * 1e6)
        storing.append((time.process_time() - read_at) / len(ended) * 1e6)
    batch = [(number, call) for number, call in enumerate(calls[-BATCH:])]
    print(f"read from the journal   {min(reading):8.2f} µs")
    print(f"stored in SQLite        {min(storing):8.2f} µs")
    print(f"  of that, rows of CDRs {per_call(lambda: [cdr_rows.cdr_row(n, call.cdr) for n, call in batch]):8.2f} µs")
    print(f"  of that, sums made    {per_call(lambda: rollups.sum_up([call.cdr for _, call in batch])):8.2f} µs")
    sink.close()
    await store.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(measure(Path(name)))


if __name__ == "__main__":
    main()
