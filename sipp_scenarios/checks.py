"""What a case must have left behind: CDRs to the last digit, and packets only where they belong."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from rating.money import format_amount
from sipp_scenarios import prices
from sipp_scenarios.case import Case, Outcome, Played, Try
from sipp_scenarios.sipp import Message
from switch.records import Cdr

Faults = list[str]


def check_cdrs(case: Case, played: Played, taxes: dict[int, Decimal]) -> Faults:
    """Each expected outcome has its CDR, each CDR its outcome; `taxes` by customer id."""
    faults: Faults = []
    left = list(played.cdrs)
    wanted = [outcome for outcome in case.outcomes for _ in range(outcome.times)]
    for outcome in wanted:
        verdicts = [(compare(outcome, cdr, played, taxes), cdr) for cdr in left]
        if not verdicts:
            faults.append(f"no CDR for {outcome.cause}")
            continue
        found, cdr = min(verdicts, key=lambda verdict: len(verdict[0]))
        left.remove(cdr)
        faults += [f"CDR {cdr.cause}: {fault}" for fault in found]
    faults += [f"a CDR too many: {cdr.cause} {cdr.status} for {cdr.dialled_in}" for cdr in left]
    return faults


def compare(outcome: Outcome, cdr: Cdr, played: Played, taxes: dict[int, Decimal]) -> Faults:
    """How this CDR differs from what the outcome says."""
    customer_id = played.place.base + 500 * outcome.customer
    faults = [
        f"{name} is {got!r}, not {want!r}"
        for name, got, want in (
            ("customer", cdr.customer_id, customer_id),
            ("cause", cdr.cause, outcome.cause),
            ("status", cdr.status, outcome.status),
            ("release", cdr.release, outcome.release),
            ("attempts", tries_of(cdr, played), list(outcome.tries)),
            ("dialled_out", cdr.dialled_out, outcome.number),
        )
        if got != want
    ]
    if outcome.talk_ms is None:
        if cdr.answered_ms is not None or cdr.duration_ms:
            faults.append(f"it was answered, for {cdr.duration_ms} ms")
        return faults + charged_nothing(cdr)
    low, high = outcome.talk_ms
    if cdr.answered_ms is None or not cdr.attempts:
        return [*faults, "it was not answered"]
    if not low <= cdr.duration_ms <= high:
        faults.append(f"duration {cdr.duration_ms} ms is outside {low}–{high}")
    return faults + charged_right(cdr, outcome.number, taxes[customer_id])


def tries_of(cdr: Cdr, played: Played) -> list[Try]:
    first = played.place.base + 1
    return [Try(attempt.provider_id - first, attempt.status, attempt.cause) for attempt in cdr.attempts]


def charged_right(cdr: Cdr, number: str, tax: Decimal) -> Faults:
    """Sell and buy side of an answered call, worked out anew from its duration."""
    sell = prices.find(prices.SELL, number)
    sold = prices.charge(sell, cdr.duration_ms, tax)
    vendor = (cdr.attempts[-1].provider_id % 100) - 1
    bought = prices.charge(prices.find(prices.BUY[vendor], number), cdr.duration_ms, Decimal(0))
    wanted = {
        "prefix": sell.prefix,
        "destination": sell.name,
        "billed_s": sold.billed_s,
        "net_nanos": prices.nanos(sold.net),
        "tax_nanos": prices.nanos(sold.tax),
        "gross_nanos": prices.nanos(sold.gross),
        "cost_nanos": prices.nanos(bought.net),
        "margin_nanos": prices.nanos(sold.net - bought.net),
        "currency": "USD",
    }
    faults = [
        f"{name} is {getattr(cdr, name)!r}, not {want!r}" for name, want in wanted.items() if getattr(cdr, name) != want
    ]
    unpaid = [attempt for attempt in cdr.attempts[:-1] if attempt.cost_nanos or attempt.billed_s]
    if unpaid:
        faults.append("a failed attempt costs money")
    if cdr.attempts[-1].cost_nanos != prices.nanos(bought.net):
        faults.append(f"the attempt costs {format_amount(cdr.attempts[-1].cost_nanos)}, not {bought.net}")
    return faults


def charged_nothing(cdr: Cdr) -> Faults:
    amounts = (cdr.billed_s, cdr.net_nanos, cdr.tax_nanos, cdr.gross_nanos, cdr.cost_nanos)
    return [f"it was charged: billed, net, tax, gross, cost = {amounts}"] if any(amounts) else []


def check_packets(case: Case, played: Played) -> Faults:
    """Callers saw the finals that they should; vendors saw these callers' calls, each once, and no others."""
    faults: Faults = []
    own = set()
    for caller, messages in zip(case.callers, played.callers, strict=True):
        own |= {message.header("Call-ID") for message in messages if not message.is_received}
        seen = finals_of(messages)
        if seen != caller.finals:
            faults.append(f"the caller saw {seen} for its INVITEs, not {caller.finals}")
        faults += [f"an answer names a vendor: {line}" for line in leaks_of(messages, played)]
    for number, (vendor, messages) in enumerate(zip(case.vendors, played.vendors, strict=True)):
        got = [message for message in messages if message.is_received]
        strangers = {message.header("Call-ID") for message in got} - own
        if strangers:
            faults.append(f"vendor {number} got messages of others: {sorted(strangers)[:3]}")
        branches = {message.header("Via") for message in got if is_first_invite(message)}
        if len(branches) != vendor.calls and vendor.scenario:
            faults.append(f"vendor {number} got {len(branches)} INVITEs, not {vendor.calls}")
    return faults


def finals_of(messages: list[Message]) -> tuple[int, ...]:
    """Every final status of an INVITE that came, once, in rising order."""
    return tuple(sorted({m.status for m in messages if m.is_received and m.status >= 200 and m.method == "INVITE"}))


def leaks_of(messages: list[Message], played: Played) -> list[str]:
    """Lines of refusals of our own making that tell which vendors there are."""
    names = [address for address, _ in played.place.vendors if address not in ("::1", "127.0.0.1")]
    return [
        line
        for message in messages
        if message.is_received and message.status >= 300 and not message.header("Server")
        for line in message.text.splitlines()
        if any(name in line for name in names)
    ]


def is_first_invite(message: Message) -> bool:
    return message.start_line.startswith("INVITE ") and ";tag=" not in message.header("To")


def vendor_was_sent(user: str) -> Callable[[Played], Faults]:
    """The number in the Request-URI of the vendor's INVITE."""

    def check(played: Played) -> Faults:
        lines = [message.start_line for message in played.vendors[0] if is_first_invite(message)]
        return [f"the vendor got {line!r}" for line in lines if not line.startswith(f"INVITE sip:{user}@")]

    return check


def vendor_was_told(user: str, identities: list[str]) -> Callable[[Played], Faults]:
    """The caller in From, what is asserted, one header of its own, and PCMA alone; the caller hears its own From."""

    def check(played: Played) -> Faults:
        faults: Faults = []
        for message in [message for message in played.vendors[0] if is_first_invite(message)]:
            if not message.header("From").partition("<")[2].startswith(f"sip:{user}@"):
                faults.append(f"the vendor got From {message.header('From')!r}")
            if message.headers("P-Asserted-Identity") != identities:
                faults.append(f"the vendor got identities {message.headers('P-Asserted-Identity')}")
            if "15559990000" in message.text or "15551230000" in message.text or "X-Secret" in message.text:
                faults.append("the vendor got what it must not know")
            if message.header("X-Account") != "7":
                faults.append("the vendor did not get the header that may pass")
            faults += pcma_alone(message)
        answers = [m for m in played.callers[0] if m.is_received and m.status == 200 and m.method == "INVITE"]
        for message in answers:
            if "sip:15551230000@" not in message.header("From"):
                faults.append(f"the caller got From {message.header('From')!r}")
            faults += pcma_alone(message)
        return faults if answers else [*faults, "nobody was answered"]

    return check


def pcma_alone(message: Message) -> Faults:
    """Of the codecs; digits go with it. Its length is right, else SIPp would not have read it so."""
    lines = [line for line in message.text.splitlines() if line.startswith(("m=", "a=rtpmap", "a=fmtp"))]
    wanted = ["a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000"]
    if len(lines) != 3 or not lines[0].endswith(" RTP/AVP 8 101") or lines[1:] != wanted:
        return [f"{message.start_line} describes {lines}"]
    size = len(message.text.partition("\n\n")[2].strip("\n").splitlines())
    return [] if size >= 5 else [f"{message.start_line} lost lines of its body"]


def other_parts_stay(played: Played) -> Faults:
    """The vendor's INVITE has the parts that the caller's had, line by line, but for the codecs in the description."""
    (sent,) = [message for message in played.callers[0] if is_first_invite(message)]
    gone = ("a=rtpmap:18 ", "a=fmtp:18 ", "a=rtpmap:0 ")
    lines = [line for line in sent.text.partition("\n\n")[2].splitlines() if not line.startswith(gone)]
    wanted = [line.replace("18 8 0 101", "8 101") for line in lines]
    return [
        f"the vendor got {message.text!r}"
        for message in played.vendors[0]
        if is_first_invite(message) and message.text.partition("\n\n")[2].splitlines() != wanted
    ]


def redirect_was_not_followed(played: Played) -> Faults:
    """One CDR of one attempt, free; the trap of the place has been checked already."""
    if len(played.cdrs) != 1:
        return [f"{len(played.cdrs)} CDRs, not 1"]
    cdr = played.cdrs[0]
    faults = charged_nothing(cdr)
    if tries_of(cdr, played) != [Try(0, 302, "rejected")]:
        faults.append(f"attempts are {tries_of(cdr, played)}")
    return faults


def races_ended_as_the_caller_saw(played: Played) -> Faults:
    """CDR and caller agree about each single call: cancelled and free, or answered and charged."""
    answered = {
        m.header("Call-ID") for m in played.callers[0] if m.is_received and m.status == 200 and m.method == "INVITE"
    }
    calls = {m.header("Call-ID") for m in played.callers[0] if not m.is_received}
    faults = []
    cdrs = {cdr.call_id: cdr for cdr in played.cdrs}
    if len(cdrs) != len(played.cdrs) or set(cdrs) != calls:
        faults.append(f"{len(played.cdrs)} CDRs for {len(calls)} calls")
    for call_id, cdr in cdrs.items():
        if call_id in answered:
            if cdr.cause != "normal" or cdr.answered_ms is None or not cdr.net_nanos:
                faults.append(f"{call_id}: the caller had its 200, the CDR says {cdr.cause}")
        elif cdr.cause != "cancelled" or charged_nothing(cdr):
            faults.append(f"{call_id}: the caller had its 487, the CDR says {cdr.cause}")
    return faults


def ended_for_want_of_ack(low_ms: int, high_ms: int) -> Callable[[Played], Faults]:
    """The switch ended it in that window after the answer, and says why."""

    def check(played: Played) -> Faults:
        if len(played.cdrs) != 1:
            return [f"{len(played.cdrs)} CDRs, not 1"]
        cdr = played.cdrs[0]
        faults = []
        if (cdr.cause, cdr.release) != ("no_ack", "switch"):
            faults.append(f"the CDR says {cdr.cause} by {cdr.release}")
        if cdr.answered_ms is None or not low_ms <= cdr.ended_ms - cdr.answered_ms <= high_ms:
            faults.append(f"it stood from {cdr.answered_ms} to {cdr.ended_ms}")
        return faults

    return check


def refusals_say_retry_after(played: Played) -> Faults:
    refusals = [m for m in played.callers[0] if m.is_received and m.status == 503]
    return [f"no Retry-After in {m.start_line!r}" for m in refusals if m.header("Retry-After") != "1"][:1]


def check_refusal_reasons(played: Played) -> Faults:
    """A refusal of our own carries its cause in a Reason header, the same as its CDR."""
    told = {
        m.header("Call-ID"): m.header("Reason")
        for messages in played.callers
        for m in messages
        if m.is_received and m.status >= 400 and m.header("Reason").startswith("X.tandem")
    }
    return [
        f"Reason is {told.get(cdr.call_id)!r}, the CDR says {cdr.cause}"
        for cdr in played.cdrs
        if cdr.release == "switch" and not cdr.attempts and cdr.cause not in told.get(cdr.call_id, "")
    ]
