"""Who a vendor is told is calling: whether the number shows, and what is asserted about it.

A customer whose P-Asserted-Identity is trusted speaks for its callers; another's is not passed on. A
vendor that honours privacy is told nothing about a caller who asks for it; one that is trusted with it
gets the identity together with the request for privacy (RFC 3325 §7).
"""

from __future__ import annotations

from rating.numbers import normalise_e164
from switch.snapshot import Customer, Provider


class Presentation:
    """Towards one vendor."""

    def __init__(self, is_anonymous: bool, passes_identity: bool, asserted: str) -> None:
        self.is_anonymous: bool = is_anonymous
        """From shows nobody, and no identity goes out."""
        self.passes_identity: bool = passes_identity
        """The customer's own P-Asserted-Identity goes out as it came."""
        self.asserted: str = asserted
        """The number of a P-Asserted-Identity of ours; empty: there is none."""


def is_plain(customer: Customer, provider: Provider, is_private: bool) -> bool:
    """Whether nothing is to be decided: no identity goes out, and no header of anybody's own."""
    return (
        not is_private
        and not customer.trust_pai
        and provider.send_pai != "always"
        and not customer.allowed_headers
        and not provider.allowed_headers
    )


def present(
    customer: Customer, provider: Provider, cli_out: str, is_changed: bool, asserted: str, is_private: bool
) -> Presentation:
    """
    Args:
        is_changed: `cli_out` is not the number that came.
        asserted: the number in the customer's P-Asserted-Identity, whether it is trusted or not.
        is_private: the caller asks not to be shown.
    """
    if is_private and provider.privacy == "honour":
        return Presentation(True, False, "")
    mode = provider.send_pai
    if mode == "never":
        return Presentation(False, False, "")
    is_trusted = customer.trust_pai and asserted != ""
    if mode == "pass" and not is_changed:
        return Presentation(False, is_trusted, "")
    # A number that was changed is the one that is asserted: two that differ would be one too many.
    number = asserted if is_trusted and not is_changed else cli_out
    if mode == "pass" and not is_trusted:
        number = ""
    return Presentation(False, False, number if _is_number(number) else "")


def identity_uri(number: str, form: str) -> str:
    """`tel:+…` of an international number where that is wanted; empty: the number stands in a SIP URI."""
    digits = normalise_e164(number) if form == "tel" else None
    return "" if digits is None else f"tel:+{digits}"


def presentation_words(shown: Presentation, cli_out: str) -> str:
    """For simulations."""
    if shown.is_anonymous:
        return "identity: withheld, From says anonymous, no P-Asserted-Identity"
    if shown.passes_identity:
        return f"identity: From {cli_out}, P-Asserted-Identity as it came"
    if shown.asserted:
        return f"identity: From {cli_out}, P-Asserted-Identity {shown.asserted}"
    return f"identity: From {cli_out}, no P-Asserted-Identity"


def _is_number(text: str) -> bool:
    return text.removeprefix("+").isdigit() and text.isascii()
