"""Pictures by their address, without a way into the network of the server.

A name is resolved once, every address of it must be a public one, and the connection goes to that very address: a name
that says something else the second time leads nowhere. Redirections are looked at as the first address was.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import urljoin, urlsplit

from ..grammar.source import UserError
from .pictures import MOST_BYTES

SECONDS = 10.0  # for all of it
REDIRECTIONS = 3
MOVED = (301, 302, 303, 307, 308)
PORTS = {"http": 80, "https": 443}
LONGEST = 2000  # characters of an address


def fetched(address: str) -> bytes:
    """What lies at an address http: or https:; a `UserError` that says why not."""
    deadline = time.monotonic() + SECONDS
    for _ in range(REDIRECTIONS + 1):
        found, address = _step(address, deadline)
        if found is not None:
            return found
    raise UserError("the address leads on and on to other addresses")


def public_address(host: str, port: int) -> str:
    """The number behind a host's name; a `UserError` if any of its numbers is not one of the public internet."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UserError("the host of that address is not known") from None
    numbers = [str(entry[4][0]) for entry in found]
    for number in numbers:
        known = ipaddress.ip_address(number.partition("%")[0])
        inner = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
        if not (inner or known).is_global or known.is_multicast:
            raise UserError("that address is not one of the public internet")
    return numbers[0]


def _step(address: str, deadline: float) -> tuple[bytes | None, str]:
    """The bytes at an address, or where it leads."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        host, port = "", 0
    if len(address) > LONGEST or not host or not port or any(c <= " " or c == "\x7f" for c in address):
        raise UserError("expected an address that begins with http:// or https://")
    number = public_address(host, port)
    try:
        with _connected(parts.scheme, host, port, number, deadline) as connection:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            client = http.client.HTTPConnection(host, port)
            client.sock = connection
            client.request("GET", path, headers={"User-Agent": "netc", "Accept": "image/*"})
            answer = client.getresponse()
            if answer.status in MOVED and answer.headers.get("Location"):
                return None, urljoin(address, answer.headers["Location"])
            if answer.status != http.client.OK:
                raise UserError(f"the address answers with status {answer.status}")
            return _read(answer, connection, deadline), address
    except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
        raise UserError(f"nothing came from that address: {type(error).__name__}") from None


def _connected(scheme: str, host: str, port: int, number: str, deadline: float) -> socket.socket:
    raw = socket.create_connection((number, port), timeout=max(0.1, deadline - time.monotonic()))
    if scheme != "https":
        return raw
    try:
        return ssl.create_default_context().wrap_socket(raw, server_hostname=host)
    except BaseException:
        raw.close()
        raise


def _read(answer: http.client.HTTPResponse, connection: socket.socket, deadline: float) -> bytes:
    """The body, within the bounds of bytes and of time, however slowly it comes."""
    parts: list[bytes] = []
    total = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise UserError(f"nothing came from that address within {SECONDS:g} seconds")
        connection.settimeout(left)
        part = answer.read1(1 << 16)
        if not part:
            return b"".join(parts)
        total += len(part)
        if total > MOST_BYTES:
            raise UserError(f"the picture has more than {MOST_BYTES:,} bytes")
        parts.append(part)
