"""`/metrics` for Prometheus: the switch's counters, its gateways, and this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from control.api.openapi import release
from control.services.context import Context
from control.services.errors import SwitchAway
from switch.build import build_name
from switch.frames import Stats

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class _Metrics(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


async def metrics_text(ctx: Context) -> bytes:
    """All metrics as of now; while the switch is away, `tandem_switch_connected` is 0 and its own are absent."""
    stats: Stats | None = None
    if ctx.switch.is_connected:
        try:
            stats = await ctx.switch.stats()
        except SwitchAway:
            stats = None
    registry = CollectorRegistry()
    registry.register(_Metrics(_families(stats)))
    ProcessCollector(namespace="tandem_control", registry=registry)
    return generate_latest(registry)


def _families(stats: Stats | None) -> Iterator[Metric]:
    info = GaugeMetricFamily("tandem_info", "Release and build that run.", labels=["version", "build"])
    info.add_metric([release(), build_name()], 1)
    yield info
    yield GaugeMetricFamily("tandem_switch_connected", "1 while the switch answers.", value=int(stats is not None))
    if stats is None:
        return
    for name, count in sorted(stats.counters.items()):
        yield CounterMetricFamily(f"tandem_{name}", "Counted by the switch since its start.", value=count)
    for name, value in sorted(stats.gauges.items()):
        yield GaugeMetricFamily(f"tandem_{name}", "As the switch has it now.", value=value)
    up = GaugeMetricFamily("tandem_gateway_up", "1 while calls may go there.", labels=["gateway_id"])
    for gateway in stats.gateways:
        up.add_metric([str(gateway.gateway_id)], int(gateway.is_up))
    yield up
