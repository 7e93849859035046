"""Worked examples from public documents of billing systems, to the last decimal they print.

Each card is set to the rule of the system that the example is from: its decimals and roundings, its
increments, fee, grace and minimum. What no card here can say is left out, not bent: a minimum amount
per call, seconds taken off before rating, free seconds inside a charged call.
"""

from typing import NamedTuple

import pytest

from rating.money import format_amount, parse_amount, percent_to_ppm
from rating.quotes import Quote, Tariff, price
from rating.rows import RateRow

A2BILLING_DEBUG = "A2Billing, GitHub issue 91, log of the rate engine"
A2BILLING_BLOCK = "A2Billing, GitHub issue 22, initblock"
AMAZON_CONNECT = "Amazon Connect, per-second billing as computed in the Serverworks blog"
ASTPP = "ASTPP, GitHub issue 276, table of CDRs; a rate fits all rows of its account"
BICOM = "Bicom PBXware, HOWTO Service Plans"
CALLING_CARDS = "Gadgetmix, How Calling Cards Charge, taxes and surcharges"
CGRATES_COST = "CGRateS documentation, Tariff Plan Management, Calculate Cost; connect fee left out there"
CGRATES_30_6 = "CGRateS, GitHub issue 118, 30/6 increments"
CM_COM = "CM.com knowledge center, How is SIP Trunking billed"
CONNEXCS = "ConnexCS documentation, Billing Basics"
CONNEXO = "connexo wiki, LCR, Cost example"
EICON = "Eicon Diva T/A ISDN manual, Billing Interval Example"
GENESYS = "Genesys Cloud Voice, U.S. East pricing examples"
GO360 = "Go360Host knowledge base, What is the Billing Increment?"
JERASOFT = "JeraSoft VCS documentation, Rates Management, tip 3"
KOLMISOFT = "Kolmisoft MOR wiki, What is increment / Wholesale Tariff / Grace time"
MAGNUS = "MagnusBilling wiki, Call Price Calculation"
OPENVOX = "OpenVox UC series guide, Call Rate Settings"
PEEREDGE_ORIG = "46 Labs Peeredge wiki, How are Termination Customer Costs Calculated"
PEEREDGE_TERM = "46 Labs Peeredge wiki, How are XXX Customer Costs Calculated"
PLIVO = "Plivo support, How will I be charged for calls"
SIPNODE = "Sipnode wiki, Billing introduction"
SIPPY = "Sippy Softswitch support, CDR call duration rounding methods"
TELNYX = "Telnyx support, Billing increments (6/6 and, later, 60/60)"
TWILIO = "Twilio support, How do you round minutes for billing"
VAAS = "VaaS Consumer, Call Billing Increment"
VOICENT = "Voicent, Cloud pricing explained"
VOIPMS = "VoIP.ms wiki, Calls Cost"
YEASTAR = "Yeastar S-Series documentation, Billing Rate"
YETI = "Yeti Switch documentation, CDR writer configuration"


class Example(NamedTuple):
    """`talk` in seconds, `rate` and `tiers` per minute, `charge` with tax, all as the document has them."""

    source: str
    increments: str
    rate: str
    talk: str
    charge: str
    fee: str = "0"
    grace_s: int = 0
    minimum_s: int = 0
    tiers: tuple[tuple[int, str], ...] = ()
    tax: str = "0"
    decimals: int = 4
    rounding: str = "up"
    duration_rounding: str = "up"

    def quote(self) -> Quote:
        first, _, following = self.increments.partition("/")
        row = RateRow(
            "44",
            self.source,
            parse_amount(self.rate),
            int(first),
            int(following),
            parse_amount(self.fee),
            tiers=tuple((from_s, parse_amount(rate)) for from_s, rate in self.tiers),
        )
        tariff = Tariff(self.decimals, self.rounding, self.duration_rounding, self.grace_s, self.minimum_s)
        return Quote(row, tariff, percent_to_ppm(self.tax), at_ms=1)


def milliseconds(talk: str) -> int:
    return parse_amount(talk) // 1_000_000


EXAMPLES = [
    Example(A2BILLING_DEBUG, "30/30", "0.64", "22", "0.32"),
    Example(A2BILLING_BLOCK, "60/1", "0.04", "15", "0.04"),
    Example(AMAZON_CONNECT, "10/1", "0.018", "150", "0.045"),
    Example(AMAZON_CONNECT, "60/1", "0.003", "150", "0.0075"),
    *(
        Example(ASTPP, "1/1", rate, talk, charge, decimals=2, rounding="half_up")
        for rate, talk, charge in (
            ("6.4", "7200", "768"),
            ("6.4", "6361", "678.51"),
            ("6.4", "5624", "599.89"),
            ("6.4", "5282", "563.41"),
            ("6.4", "5269", "562.03"),
            ("6.4", "4332", "462.08"),
            ("12.5", "4332", "902.5"),
            ("12.5", "4105", "855.21"),
            ("13", "4112", "890.93"),
            ("13", "4100", "888.33"),
            ("13", "4079", "883.78"),
        )
    ),
    Example(CALLING_CARDS, "60/60", "0.05", "600", "0.55", tax="10", decimals=3),
    Example(CGRATES_COST, "60/30", "0.2", "85", "0.25", tiers=((60, "0.1"),)),
    Example(CGRATES_30_6, "30/6", "0.006", "32", "0.0036"),
    Example(CGRATES_30_6, "30/6", "0.006", "57", "0.006"),
    Example(CGRATES_30_6, "30/6", "0.006", "75", "0.0078"),
    Example(CONNEXCS, "6/6", "0.015", "7", "0.003", decimals=5),
    Example(CONNEXCS, "12/6", "0.015", "7", "0.003", decimals=5),
    Example(CONNEXCS, "30/6", "0.015", "7", "0.0075", decimals=5),
    Example(CONNEXCS, "60/6", "0.015", "7", "0.015", decimals=5),
    Example(CONNEXCS, "60/60", "0.005", "7", "0.005"),
    Example(CONNEXCS, "1/1", "0.006", "7", "0.0007"),
    Example(CONNEXCS, "1/1", "0.005", "9.1", "0.0009"),
    Example(CONNEXO, "15/15", "0.015", "45", "0.01225", tiers=((15, "0.017"),), decimals=5),
    Example(EICON, "480/60", "0.01", "600", "0.18", fee="0.08", decimals=2),
    Example(EICON, "240/60", "0.01", "120", "0.12", fee="0.08", decimals=2),
    *(
        Example(GENESYS, "6/6", rate, talk, charge, rounding="half_up")
        for rate, talk, charge in (
            ("0.015", "45", "0.012"),
            ("0.0119", "34", "0.0071"),
            ("0.0181", "55", "0.0181"),
            ("0.047", "113", "0.0893"),
            ("0.0259", "130", "0.057"),
            ("0.015", "11", "0.003"),
            ("0.015", "749", "0.1875"),
        )
    ),
    Example(GO360, "60/60", "0.01", "5", "0.01"),
    Example(GO360, "60/60", "0.01", "50", "0.01"),
    Example(GO360, "6/6", "0.01", "5", "0.001"),
    *(
        Example(JERASOFT, "1/1", "1", talk, charge, fee="0.3", grace_s=2, minimum_s=30, decimals=1)
        for talk, charge in (("1", "0"), ("3", "0.8"), ("30", "0.8"))
    ),
    *(
        Example(KOLMISOFT, increments, "1", "15", charge, decimals=3, rounding="half_up")
        for increments, charge in (("1/1", "0.25"), ("10/10", "0.333"), ("20/20", "0.333"), ("60/60", "1"))
    ),
    *(Example(KOLMISOFT, "1/1", "1", talk, "0", grace_s=3) for talk in ("1", "3")),
    Example(MAGNUS, "30/6", "0.05", "45", "0.04"),
    *(
        Example(OPENVOX, "60/60", "2", talk, charge, fee="1", decimals=0)
        for talk, charge in (("20", "3"), ("84", "5"), ("185", "9"))
    ),
    *(
        Example(source, "6/6", rate, talk, charge)
        for source, rate, talk, charge in (
            (PEEREDGE_ORIG, "0.005", "108", "0.009"),
            (PEEREDGE_ORIG, "0.003", "72", "0.0036"),
            (PEEREDGE_ORIG, "0.005", "18", "0.0015"),
            (PEEREDGE_TERM, "0.00095", "12", "0.0002"),
            (PEEREDGE_TERM, "0.0013", "12", "0.0003"),
        )
    ),
    Example(SIPNODE, "60/30", "0.15", "43", "0.25", fee="0.1", grace_s=3),
    # The talk alone: the page adds 0.1 and 0.225 up to 0.375.
    Example(SIPNODE, "60/30", "0.15", "61", "0.225", grace_s=3),
    Example(SIPNODE, "60/30", "0.15", "2", "0", fee="0.1", grace_s=3),
    Example(VOICENT, "30/6", "0.02", "45", "0.016", decimals=3),
    Example(VOICENT, "30/6", "0.02", "20", "0.01", decimals=3),
    Example(VOIPMS, "6/6", "0.5", "27", "0.25", decimals=3),
    Example(VOIPMS, "6/6", "0.05", "30", "0.025", decimals=3),
    *(
        # The initial time has a price as a whole: a fee here, and its minutes cost nothing more.
        Example(YEASTAR, "120/60", "0", talk, charge, fee="0.2", tiers=((120, "0.3"),), decimals=1)
        for talk, charge in (("68", "0.2"), ("125", "0.5"), ("180", "0.5"), ("190", "0.8"), ("380", "1.7"))
    ),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.source.split(',')[0]}-{example.talk}s")
def test_published_examples_come_out_as_published(example: Example) -> None:
    charge = price(example.quote(), milliseconds(example.talk), 1)
    assert format_amount(charge.gross_nanos) == example.charge


@pytest.mark.parametrize(
    ("source", "increments", "talk", "billed_s"),
    [
        (BICOM, "30/6", "12", 30),
        (BICOM, "30/6", "39", 42),
        (CM_COM, "1/1", "35", 35),
        (CM_COM, "1/1", "30.1", 31),
        (CM_COM, "60/1", "30", 60),
        (CM_COM, "60/1", "65", 65),
        (CM_COM, "60/60", "30", 60),
        (CM_COM, "60/60", "70", 120),
        (CONNEXCS, "60/6", "10", 60),
        (CONNEXCS, "60/6", "61", 66),
        (CONNEXCS, "60/6", "67", 72),
        (CONNEXCS, "30/6", "1", 30),
        (CONNEXCS, "30/6", "31", 36),
        (CONNEXCS, "30/6", "37", 42),
        (KOLMISOFT, "60/60", "55", 60),
        (KOLMISOFT, "60/60", "65", 120),
        (PLIVO, "60/60", "10", 60),
        (PLIVO, "60/60", "70", 120),
        (TELNYX, "6/6", "11", 12),
        (TELNYX, "6/6", "61", 66),
        (TELNYX, "60/60", "11", 60),
        (TELNYX, "60/60", "96", 120),
        (TWILIO, "60/60", "80", 120),
        (VAAS, "30/6", "10", 30),
        (VAAS, "30/6", "31", 36),
        (VAAS, "6/6", "10", 12),
        (VAAS, "60/60", "61", 120),
    ],
)
def test_calls_are_billed_for_as_many_seconds_as_published(
    source: str, increments: str, talk: str, billed_s: int
) -> None:
    quote = Example(source, increments, "1", talk, "").quote()
    assert price(quote, milliseconds(talk), 1).billed_s == billed_s


@pytest.mark.parametrize(
    ("minimum_s", "increment_s", "talk", "billed_s"),
    [(10, 1, "1", 10), (10, 1, "10", 10), (10, 1, "11", 11), (10, 1, "5", 10), (10, 1, "25", 25), (10, 30, "5", 30)],
)
def test_a_minimum_time_is_billed_as_published(minimum_s: int, increment_s: int, talk: str, billed_s: int) -> None:
    quote = Example(KOLMISOFT, f"{increment_s}/{increment_s}", "1", talk, "", minimum_s=minimum_s).quote()
    assert price(quote, milliseconds(talk), 1).billed_s == billed_s


@pytest.mark.parametrize(
    ("source", "talk", "down", "up", "half_up"),
    [
        (CONNEXCS, "60", 60, 60, 60),
        (CONNEXCS, "60.1", 60, 61, 60),
        (CONNEXCS, "60.4", 60, 61, 60),
        (CONNEXCS, "60.5", 60, 61, 61),
        (CONNEXCS, "60.6", 60, 61, 61),
        (SIPPY, "1", 1, 1, 1),
        (SIPPY, "1.1", 1, 2, 1),
        (SIPPY, "1.4", 1, 2, 1),
        (SIPPY, "1.5", 1, 2, 2),
        (SIPPY, "60.4", 60, 61, 60),
        (SIPPY, "60.5", 60, 61, 61),
        (SIPPY, "60.9", 60, 61, 61),
        (YETI, "1.41", 1, 2, 1),
        (YETI, "1.5", 1, 2, 2),
        (YETI, "1.6", 1, 2, 2),
    ],
)
def test_durations_round_as_published(source: str, talk: str, down: int, up: int, half_up: int) -> None:
    for method, seconds in (("down", down), ("up", up), ("half_up", half_up)):
        quote = Example(source, "0/1", "1", talk, "", duration_rounding=method).quote()
        assert price(quote, milliseconds(talk), 1).billed_s == seconds, method


def test_a_hundred_short_calls_are_rounded_one_by_one() -> None:
    """ConnexCS, the same page: 0.0009 each, and so 0.09 together."""
    quote = Example(CONNEXCS, "1/1", "0.005", "9.1", "").quote()
    assert format_amount(sum(price(quote, 9_100, 1).net_nanos for _ in range(100))) == "0.09"


def test_a_system_that_rounds_every_increment_comes_to_another_sum() -> None:
    """CGRateS's published answer for 1m25s is 0.12075: 0.1 and 25 seconds of 0.00083, each rounded.

    One rounding per call makes that 0.120833…; the connect fee is left out there too.
    """
    example = Example(
        "CGRateS tutorial", "60/1", "0.1", "85", "", tiers=((60, "0.05"),), decimals=5, rounding="half_up"
    )
    assert format_amount(price(example.quote(), 85_000, 1).net_nanos) == "0.12083"
