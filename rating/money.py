"""Money as a whole number of nano-units (10⁻⁹ of the currency), and the roundings it goes through.

No float and no `Decimal` context anywhere: text becomes an integer by its digits and an integer
becomes text the same way. Negative amounts (payments taken back, adjustments) round by their
magnitude and keep their sign, so that a charge and its reversal always cancel out exactly.
"""

from __future__ import annotations

from typing import Final

NANOS: Final = 1_000_000_000
DECIMALS_MAX: Final = 9
DIGITS_MAX: Final = 28
"""Longest decimal string taken as money, point and sign left out."""
PPM: Final = 1_000_000

UP: Final = 0
HALF_UP: Final = 1
DOWN: Final = 2
"""Rounding methods as the numbers that the pricing code compares; `rounding_code` maps names."""

STEPS: Final[tuple[int, ...]] = tuple(10 ** (DECIMALS_MAX - decimals) for decimals in range(DECIMALS_MAX + 1))
"""Nano-units in the last decimal kept, by the number of decimals."""


class MoneyError(ValueError):
    """The text is not an exact decimal amount, or a rounding was asked for that does not exist."""


def parse_amount(text: str) -> int:
    """Nano-units of a plain decimal string: digits, one point at most, a sign in front at most.

    Raises:
        MoneyError: anything else: NaN, Infinity, exponents, blanks, separators, digits outside
            ASCII, more than 9 decimals (zeros at the end too: exact or refused) or 28 digits.
    """
    negative = text.startswith("-")
    body = text[1:] if negative or text.startswith("+") else text
    whole, point, decimals = body.partition(".")
    if not (whole or decimals) or (point and not decimals):
        raise MoneyError(f"not a decimal amount: {_shown(text)}")
    if (whole and not is_digits(whole)) or (decimals and not is_digits(decimals)):
        raise MoneyError(f"not a decimal amount: {_shown(text)}")
    if len(decimals) > DECIMALS_MAX:
        raise MoneyError(f"more than {DECIMALS_MAX} decimals: {_shown(text)}")
    if len(whole) + len(decimals) > DIGITS_MAX:
        raise MoneyError(f"more than {DIGITS_MAX} digits: {_shown(text)}")
    nanos = int(whole or "0") * NANOS
    if decimals:
        nanos += int(decimals) * STEPS[len(decimals)]
    return -nanos if negative else nanos


def format_amount(nanos: int) -> str:
    """The shortest exact decimal string: no exponent, no zeros at the end, `0` and never `-0`."""
    magnitude = -nanos if nanos < 0 else nanos
    whole, rest = divmod(magnitude, NANOS)
    text = str(whole)
    if rest:
        text += "." + str(rest).rjust(DECIMALS_MAX, "0").rstrip("0")
    return "-" + text if nanos < 0 else text


def percent_to_ppm(text: str) -> int:
    """Parts per million of a percentage: `"20.5"` is 205,000.

    Raises:
        MoneyError: not a plain decimal, or finer than a millionth.
    """
    nanos = parse_amount(text)
    ppm, rest = divmod(nanos, NANOS // (PPM // 100))
    if rest:
        raise MoneyError(f"more than 4 decimals in a percentage: {_shown(text)}")
    return ppm


def ceil_div(a: int, b: int) -> int:
    """a ÷ b, rounded towards positive infinity; b above 0."""
    return -(-a // b)


def rounding_code(method: str) -> int:
    """`UP`, `HALF_UP` or `DOWN` for the names that cards use.

    Raises:
        MoneyError: no such method.
    """
    if method == "up":
        return UP
    if method == "half_up":
        return HALF_UP
    if method == "down":
        return DOWN
    raise MoneyError(f"no such rounding: {_shown(method)}")


def round_nanos(nanos: int, decimals: int, method: str) -> int:
    """Rounds an amount to so many decimals of the currency.

    `up` goes away from zero, `down` towards it, `half_up` to the nearest with halves away from zero.

    Raises:
        MoneyError: no such method, or decimals outside 0..9.
    """
    if decimals < 0 or decimals > DECIMALS_MAX:
        raise MoneyError(f"decimals outside 0..{DECIMALS_MAX}: {decimals}")
    return round_ratio(nanos, 1, STEPS[decimals], rounding_code(method))


def round_ratio(numerator: int, denominator: int, step: int, code: int) -> int:
    """numerator ÷ denominator nano-units, rounded once to a multiple of `step`; denominator and step above 0.

    Dividing and rounding are one operation, so that no second rounding hides in between.
    """
    if numerator < 0:
        return -round_ratio(-numerator, denominator, step, code)
    unit = denominator * step
    if code == UP:
        return -(-numerator // unit) * step
    if code == HALF_UP:
        return (2 * numerator + unit) // (2 * unit) * step
    return numerator // unit * step


def is_digits(text: str) -> bool:
    """One or more of 0 to 9; `str.isdigit` alone also takes other scripts' digits and superscripts."""
    return text.isascii() and text.isdigit()


def _shown(text: str) -> str:
    """A value for an error message: quoted, and cut where it is absurdly long."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
