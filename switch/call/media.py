"""Which codecs a call may use: those of the customer's endpoint or user, and those of the vendor's gateway.

Bodies are edited only where a codec must go, whichever side offers or answers; of a body of several parts
the session descriptions alone, and what is none passes untouched (`switch.wire.sdp`).
"""

from __future__ import annotations

from typing import Final

from switch.wire.message import Message
from switch.wire.multipart import edit_parts, is_multipart
from switch.wire.sdp import SDP, CodecList, body_type, description, is_sdp, kbps_of, keep_codecs

NOT_ACCEPTABLE: Final = b"Not Acceptable Here"
WARNING: Final = b'Warning: 305 tandem "Incompatible media format"'
"""RFC 3261 §20.43."""


class MediaRule:
    """At least one of the two lists is set."""

    def __init__(self, near: CodecList | None, far: CodecList | None) -> None:
        self.near: CodecList | None = near
        self.far: CodecList | None = far

    def edited(self, message: Message) -> bytes | None:
        """The body as it goes on; None: as it came."""
        kind = body_type(message)
        if not kind:
            return None
        body = message.body
        if is_sdp(kind):
            made = self._edit(body)
        elif is_multipart(kind):
            made = edit_parts(body, kind, SDP, self._edit)
        else:
            return None
        return None if made is body else made

    def refuses(self, message: Message) -> bool:
        """Whether the body has codecs, and none that may be used."""
        body = description(message)
        if not body:
            return False
        _, has_codec = self._kept(body)
        return not has_codec

    def kbps_of(self, body: bytes) -> int:
        """What a description takes at most, once it is edited."""
        return kbps_of(self._edit(body), None)

    def _edit(self, body: bytes) -> bytes:
        edited, _ = self._kept(body)
        return edited

    def _kept(self, body: bytes) -> tuple[bytes, bool]:
        has_codec = True
        if self.near is not None:
            kept = keep_codecs(body, self.near)
            body, has_codec = kept.body, kept.has_codec
        if self.far is not None and has_codec:
            kept = keep_codecs(body, self.far)
            body, has_codec = kept.body, kept.has_codec
        return body, has_codec


def media_rule(near: CodecList | None, far: CodecList | None) -> MediaRule | None:
    return None if near is None and far is None else MediaRule(near, far)
