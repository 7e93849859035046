"""Which numbers a SIP user may call: of beginnings with a yes or a no the longest that fits decides."""

from __future__ import annotations


class Permissions:
    """Looked up by length, the longest first: as many steps as there are lengths, however many beginnings."""

    def __init__(self, pairs: tuple[tuple[str, bool], ...]) -> None:
        self._allowed: dict[str, bool] = {}
        lengths: set[int] = set()
        for prefix, is_allowed in pairs:
            self._allowed[prefix] = is_allowed
            lengths.add(len(prefix))
        self._lengths: list[int] = sorted(lengths, reverse=True)

    def allow(self, number: str) -> bool:
        """Whether a number (E.164 digits without `+`) may be called; one that nothing fits may."""
        for length in self._lengths:
            # A number shorter than a beginning is looked up as it is, which then is no such beginning.
            is_allowed = self._allowed.get(number[:length])
            if is_allowed is not None:
                return is_allowed
        return True
