"""HTTP requests to addresses that others have named: where they may go, and how little they may do to us.

A name is resolved here, each address that it has is looked at, and the connection goes to the very
address that was looked at: a name that says something else a moment later gains nothing. Redirects
are answers like any other, no proxy of the environment is used, and of the answer's body a little is read.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Final

import httpx
import msgspec

from control.services.errors import invalid

ANSWER_BYTES_MAX: Final = 65_536
"""More of an answer than this is not read: the connection is closed instead."""
RETRY_AFTER_S_MAX: Final = 3_600
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All that IANA has handed out for servers; what is outside (old site-local, IPv4 in other clothes) is none."""
_RELAYS: Final = ipaddress.ip_network("192.88.99.0/24")
"""Of 6to4, given up by RFC 7526: whoever is nearest answers there, and that may be a machine of ours."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class Refused(Exception):
    """Nothing was sent: the address is none that we connect to."""


class Sent(msgspec.Struct, frozen=True):
    """What became of a request."""

    status: int | None
    """None: there was no answer, and `error` says why."""
    error: str = ""
    retry_after_s: int = 0

    @property
    def is_taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def check_url(path: str, text: str, *, allow_private: bool) -> None:
    """Refuse what is no http or https URL, and one that names an address of ours or of a private network."""
    try:
        url = httpx.URL(text)
        is_good = url.scheme in ("http", "https") and bool(url.host) and (url.port is None or 0 < url.port < 65_536)
    except (httpx.InvalidURL, ValueError):
        is_good = False
    if not is_good or any(character.isspace() or ord(character) < 32 for character in text):
        raise invalid(path, "not an http or https URL")
    if url.userinfo:
        raise invalid(path, "a user and a password do not belong in a URL: requests are signed")
    if url.fragment:
        raise invalid(path, "a fragment is never sent")
    if allow_private:
        return
    try:
        address = ipaddress.ip_address(url.host)
    except ValueError:
        if url.host == "localhost" or url.host.endswith(".localhost"):
            raise invalid(path, "names this machine; the setting events.allow_private allows that") from None
        return
    if not is_public(str(address)):
        raise invalid(path, "not a public address; the setting events.allow_private allows others")


def is_public(text: str) -> bool:
    """Whether the address can be somebody else's server on the internet, whatever clothes it comes in."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            address = inner
        elif address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast and address not in _RELAYS


class Sender:
    """Sends to one receiver; connections are kept open between requests."""

    def __init__(self, *, timeout_s: float, allow_private: bool, ca_file: str = "") -> None:
        self._timeout_s = timeout_s
        self._allow_private = allow_private
        self._ca_file = ca_file
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    def _connections(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=_roots(self._ca_file),
                follow_redirects=False,
                # A proxy that the environment names would connect where we do not.
                trust_env=False,
                timeout=self._timeout_s,
                limits=httpx.Limits(max_connections=32, max_keepalive_connections=16),
            )
        return self._client

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Sent:
        """One POST, with its answer or the reason why there is none; it never takes longer than the timeout."""
        status: int | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                target = httpx.URL(url)
                address = await self._resolve(target)
                client = self._connections()
                request = client.build_request(
                    "POST",
                    target.copy_with(host=address),
                    content=body,
                    headers={
                        "Host": target.netloc.decode("ascii"),
                        "Content-Type": "application/json",
                        "User-Agent": "Tandem",
                        # What is not unpacked cannot swell.
                        "Accept-Encoding": "identity",
                        **headers,
                    },
                    extensions={"sni_hostname": target.host},
                )
                answer = await client.send(request, stream=True)
                status = answer.status_code
                retry_after_s = _retry_after_s(answer)
                try:
                    await _read_a_little(answer)
                finally:
                    await answer.aclose()
        except Refused as error:
            return Sent(None, str(error))
        except TimeoutError:
            # A server that has said what it thinks, and then dawdles, has said it.
            return Sent(status, "" if status is not None else f"no answer in {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return Sent(status, "" if status is not None else _first_line(error))
        return Sent(status, _complaint(status), retry_after_s)

    async def _resolve(self, url: httpx.URL) -> str:
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Refused(f"{url.host} has no address: {error.strerror or error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not addresses:
            raise Refused(f"{url.host} has no address")
        for address in addresses:
            if not self._allow_private and not is_public(address):
                raise Refused(f"{url.host} is at {address}, which is not public")
        return addresses[0]


@cache
def _roots(ca_file: str) -> ssl.SSLContext:
    """Reading the system's certificates takes some 20 ms: once is enough.

    Raises:
        OSError: the file of further roots cannot be read, or is none.
    """
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


async def _read_a_little(answer: httpx.Response) -> None:
    """Read the body to its end, so that the connection can be used again, unless that is too far away."""
    count = 0
    async for piece in answer.aiter_raw():
        count += len(piece)
        if count > ANSWER_BYTES_MAX:
            return


def _retry_after_s(answer: httpx.Response) -> int:
    text = answer.headers.get("retry-after", "")
    return min(int(text), RETRY_AFTER_S_MAX) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _complaint(status: int) -> str:
    if 200 <= status < 300:
        return ""
    return f"answered {status}, which is not followed" if 300 <= status < 400 else f"answered {status}"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
