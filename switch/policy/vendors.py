"""At an attempt: which gateway of a vendor, the number in its form, and what its answer leads to."""

from __future__ import annotations

from random import Random
from typing import Final, Literal

from switch.policy.live import GATEWAY, PROVIDER, Live, layer_key
from switch.policy.tables import Tables
from switch.policy.verdicts import Option, Skip
from switch.snapshot import Gateway, Provider

_FORMATS: Final = {"e164": "", "plus": "+", "00": "00", "011": "011"}


def choose_gateway(
    tables: Tables,
    live: Live,
    option: Option,
    now_s: float,
    now_ms: int,
    rng: Random,
    tried: set[int],
    is_simulated: bool = False,
) -> Gateway | Skip:
    """Draw one of a vendor's gateways and take the vendor's and the gateway's call-rate token.

    Enabled, healthy and not resting ones with a free channel and a token are drawn from by exact
    weight; those of weight 0 only where no other is left. Asks the records of this moment, not of
    the call's beginning: a gateway that was switched off since then gets no call.

    Args:
        tried: gateway ids that this call has been to.
        is_simulated: take no token, and let the heaviest stand for the draw.
    """
    provider_id = option.card.provider_id
    provider = tables.providers.get(provider_id)
    if provider is None or not provider.enabled:
        return Skip("disabled", "provider")
    penalty_until_ms = provider.penalty_until_ms
    if penalty_until_ms is not None and now_ms < penalty_until_ms:
        return Skip("penalty", "provider")
    provider_key = layer_key(PROVIDER, provider_id)
    provider_channels = provider.channels
    if provider_channels is not None and live.channels(provider_key) >= provider_channels:
        return Skip("channels", f"provider: {provider_channels}")
    provider_cps = provider.flow_speed_cps
    if provider_cps is not None and not live.buckets.may_take(provider_key, provider_cps, now_s):
        return Skip("cps", f"provider: {provider_cps:g}")

    usable: list[Gateway] = []
    total = 0
    reason = "disabled"
    detail = "no enabled gateway"
    for gateway in tables.gateways_by_provider.get(provider_id, ()):
        gateway_id = gateway.id
        if gateway_id in tried or not gateway.enabled:
            continue
        health = live.health.get(gateway_id)
        # Without probes only Retry-After speaks: a gateway whose probing was switched off while it
        # was down would never be asked again.
        if health is not None and (now_s < health.rest_until_s or (gateway.probe and not health.is_up)):
            reason = "unhealthy"
            detail = f"gateway {gateway_id}: {health.why_not(now_s)}"
            continue
        key = layer_key(GATEWAY, gateway_id)
        channels = gateway.channels
        if channels is not None and live.channels(key) >= channels:
            reason = "channels"
            detail = f"gateway {gateway_id}: {channels}"
            continue
        cps = gateway.flow_speed_cps
        if cps is not None and not live.buckets.may_take(key, cps, now_s):
            reason = "cps"
            detail = f"gateway {gateway_id}: {cps:g}"
            continue
        usable.append(gateway)
        total += max(gateway.weight, 0)
    if not usable:
        return Skip(reason, detail)

    chosen = usable[0]
    if is_simulated:
        for gateway in usable:
            if gateway.weight > chosen.weight:
                chosen = gateway
        return chosen
    if len(usable) > 1:
        chosen = _draw(usable, total, rng)
    if provider_cps is not None:
        live.buckets.take(provider_key, provider_cps, now_s)
    chosen_cps = chosen.flow_speed_cps
    if chosen_cps is not None:
        live.buckets.take(layer_key(GATEWAY, chosen.id), chosen_cps, now_s)
    return chosen


def _draw(usable: list[Gateway], total: int, rng: Random) -> Gateway:
    if total == 0:
        return usable[rng.randrange(len(usable))]
    ticket = rng.randrange(total)
    for gateway in usable:
        weight = max(gateway.weight, 0)
        if ticket < weight:
            return gateway
        ticket -= weight
    raise AssertionError("tickets are below the sum of the weights")


def number_for(provider: Provider, dialled: str) -> str:
    """A number (E.164 digits) as the vendor wants it: its tech prefix, then its format."""
    return provider.tech_prefix + _FORMATS[provider.number_format] + dialled


def follows(provider: Provider, status: int) -> Literal["next", "stop"]:
    """What a final status of an attempt leads to: the next vendor, or the end of the hunt.

    The vendor's own table goes first. By default 408 and 5xx go on, and so does 0, which stands
    for no answer at all; anything else was the called party's word. A 2xx always stops.
    """
    if 200 <= status < 300:
        return "stop"
    ruled = provider.cause_table.get(status)
    if ruled is not None:
        return ruled
    return "next" if status == 408 or status == 0 or 500 <= status < 600 else "stop"
