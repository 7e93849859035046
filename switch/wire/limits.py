"""How much of everything one message may have. Each limit is refused before what lies past it is read."""

from __future__ import annotations

from typing import Final

HEADER_BYTES_MAX: Final = 65_536
"""Header section with its start line, without the blank line."""

HEADER_LINES_MAX: Final = 256
"""Header fields; a folded one counts for each of its lines."""

LINE_BYTES_MAX: Final = 8_192
"""One line between two CRLFs. A folded header is measured line by line and as a whole."""

VIAS_MAX: Final = 70
"""Via values, comma lists counted: as many hops as Max-Forwards starts with (RFC 3261 §8.1.1.6)."""

BODY_BYTES_MAX: Final = 262_144


class Limits:
    """The limits of one listener."""

    def __init__(
        self,
        header_bytes_max: int = HEADER_BYTES_MAX,
        header_lines_max: int = HEADER_LINES_MAX,
        line_bytes_max: int = LINE_BYTES_MAX,
        vias_max: int = VIAS_MAX,
        body_bytes_max: int = BODY_BYTES_MAX,
    ) -> None:
        self.header_bytes_max: int = header_bytes_max
        self.header_lines_max: int = header_lines_max
        self.line_bytes_max: int = line_bytes_max
        self.vias_max: int = vias_max
        self.body_bytes_max: int = body_bytes_max


DEFAULT_LIMITS: Final = Limits()
