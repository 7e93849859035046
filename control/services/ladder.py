"""A call's messages as a ladder diagram in SVG: a column a party, an arrow a message, time downwards.

All that comes from peers is text content, escaped, cut to a length and free of characters that XML
forbids: no name in it can become a mark-up, a link or a script.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

import msgspec

LEFT: Final = 120
COLUMN: Final = 240
TOP: Final = 96
ROW: Final = 34
ROWS_MAX: Final = 400
NAME_MAX: Final = 34
LABEL_MAX: Final = 36

_STYLE: Final = (
    "text{font-family:DejaVu Sans,Verdana,sans-serif;font-size:12px;fill:#1b1f24}"
    ".title{font-size:14px;font-weight:bold}.dim{fill:#57606a;font-size:11px}"
    ".mono{font-family:DejaVu Sans Mono,monospace}"
    ".life{stroke:#afb8c1;stroke-dasharray:3 4}.box{fill:#f6f8fa;stroke:#afb8c1}.ours{fill:#ddf4ff;stroke:#54aeff}"
    ".request{stroke:#0550ae}.progress{stroke:#6e7781}.success{stroke:#1a7f37}.failure{stroke:#cf222e}"
    ".again{stroke-dasharray:6 4;opacity:.6}line{stroke-width:1.5}"
)


class Party(msgspec.Struct, frozen=True):
    """A column: who, and where."""

    name: str
    address: str


class Arrow(msgspec.Struct, frozen=True):
    """A message from one column to another."""

    source: int
    target: int
    label: str
    clock: str
    """Its time of day."""
    after_ms: float
    """Since the first message."""
    kind: str
    """`request`, `progress`, `success` or `failure`."""
    is_again: bool
    """The same message was sent before."""


def ladder_svg(title: str, parties: Sequence[Party], ours: int, arrows: Sequence[Arrow], note: str = "") -> str:
    """The whole picture; `ours` is the column of the switch."""
    shown = arrows[:ROWS_MAX]
    if len(arrows) > ROWS_MAX:
        note = f"{len(arrows) - ROWS_MAX} more messages are not drawn. {note}"
    width = LEFT + COLUMN * max(1, len(parties))
    bottom = TOP + ROW * (len(shown) + 1)
    height = bottom + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
        f"<defs>{''.join(_head(kind, colour) for kind, colour in _COLOURS)}</defs>",
        f'<text class="title" x="12" y="22">{plain(title, 110)}</text>',
    ]
    for index, party in enumerate(parties):
        x = _x(index)
        out.append(f'<line class="life" x1="{x}" y1="{TOP - 12}" x2="{x}" y2="{bottom}"/>')
        out.append(
            f'<rect class="{"ours" if index == ours else "box"}" x="{x - 105}" y="38" width="210" height="44" rx="6"/>'
        )
        out.append(f'<text x="{x}" y="56" text-anchor="middle">{plain(party.name, NAME_MAX)}</text>')
        out.append(f'<text class="dim mono" x="{x}" y="73" text-anchor="middle">{plain(party.address, 32)}</text>')
    for row, arrow in enumerate(shown):
        out += _arrow(arrow, TOP + ROW * (row + 1))
    if not shown:
        out.append(f'<text class="dim" x="12" y="{TOP + ROW}">No message of this call is kept.</text>')
    if note:
        out.append(f'<text class="dim" x="12" y="{height - 14}">{plain(note, 160)}</text>')
    return "".join([*out, "</svg>"])


_COLOURS: Final = (("request", "#0550ae"), ("progress", "#6e7781"), ("success", "#1a7f37"), ("failure", "#cf222e"))


def _head(kind: str, colour: str) -> str:
    return (
        f'<marker id="{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        f'orient="auto-start-reverse"><path d="M0 1L10 5L0 9z" fill="{colour}"/></marker>'
    )


def _arrow(arrow: Arrow, y: int) -> list[str]:
    begin, end = _x(arrow.source), _x(arrow.target)
    middle = (begin + end) // 2
    again = " again" if arrow.is_again else ""
    ends = f'x1="{begin}" y1="{y}" x2="{end}" y2="{y}"'
    label = plain(arrow.label + (" (again)" if arrow.is_again else ""), LABEL_MAX)
    return [
        f'<text class="dim mono" x="12" y="{y - 3}">{plain(arrow.clock, 15)}</text>',
        f'<text class="dim mono" x="12" y="{y + 10}">+{arrow.after_ms / 1000:.3f} s</text>',
        f'<line class="{arrow.kind}{again}" {ends} marker-end="url(#{arrow.kind})"/>',
        f'<text x="{middle}" y="{y - 5}" text-anchor="middle">{label}</text>',
    ]


def _x(column: int) -> int:
    return LEFT + COLUMN * column + COLUMN // 2


def plain(text: str, length: int) -> str:
    """Text content: cut, and free of all that XML does not take or would read as its own."""
    kept = "".join(character if _is_writable(character) else "\ufffd" for character in text[: length + 1])
    if len(kept) > length:
        kept = kept[: length - 1] + "…"
    return escape(kept, {'"': "&quot;", "'": "&#39;"})


def _is_writable(character: str) -> bool:
    code = ord(character)
    return (0x20 <= code <= 0xD7FF and not 0x7F <= code <= 0x9F) or 0xE000 <= code <= 0xFFFD or code >= 0x10000
