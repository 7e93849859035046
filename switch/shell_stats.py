"""What the shells count, added to the engine's own statistics."""

from __future__ import annotations

import resource
from collections.abc import Sequence

from switch.frames import Stats
from switch.journal import Journal
from switch.stream import Connections, StreamListener
from switch.udp import UdpListener


def add_shell_stats(
    stats: Stats, listeners: Sequence[UdpListener | StreamListener], connections: Connections, journal: Journal
) -> None:
    """Put counters and gauges of sockets, journal and process into `stats`."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    udp = [listener for listener in listeners if isinstance(listener, UdpListener)]
    stats.counters["udp_sends_dropped"] = sum(listener.dropped for listener in udp)
    stats.counters["stream_connections_refused"] = connections.refused
    stats.counters["journal_records_lost"] = journal.lost
    stats.gauges["stream_connections"] = len(connections.by_number)
    stats.gauges["journal_failed"] = 1.0 if journal.failure else 0.0
    stats.gauges["journal_spooled"] = journal.spooled
    stats.gauges["journal_sequence"] = journal.last_sequence
    stats.gauges["journal_synced_sequence"] = journal.synced_sequence
    stats.gauges["journal_segments"] = journal.segments
    stats.gauges["journal_segments_needed"] = journal.segment_number - journal.needed_from + 1
    stats.gauges["process_cpu_seconds"] = usage.ru_utime + usage.ru_stime
