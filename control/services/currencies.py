"""The currencies that exist."""

from __future__ import annotations

from typing import Final

import msgspec

from control.services.errors import invalid

_CODES: Final = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP
    CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG
    HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL
    MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR
    RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD
    TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""

CODES: Final = frozenset(_CODES.split())
"""ISO 4217, those that circulate; funds, metals and test codes are no money that a customer pays in."""


def check_currency(path: str, code: str) -> None:
    if code not in CODES:
        raise invalid(path, "no currency of ISO 4217")


_WITHOUT: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_WITH_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"


def decimals_of(code: str) -> int:
    """Decimals of the smallest amount that the currency is paid in (ISO 4217, minor unit)."""
    if code in _WITHOUT.split():
        return 0
    return 3 if code in _WITH_THREE.split() else 2


class CurrencyShown(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    """ISO 4217."""
    decimals: int
    """Of the smallest amount that it is paid in, which invoices are rounded to."""


def all_currencies() -> list[CurrencyShown]:
    """By code."""
    return [CurrencyShown(code=code, decimals=decimals_of(code)) for code in sorted(CODES)]
