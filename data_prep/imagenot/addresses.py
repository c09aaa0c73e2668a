"""Which machines may be asked for an image, and the connector that asks no other.

Metadata is a stranger's text, and so is what a server answers: a URL, or a redirect, may name this machine, the
cluster's other machines or a cloud's metadata service. The address is looked at where the socket is made, so that the
one that was allowed is the one that is connected to, whatever a name server says a moment later (DNS rebinding).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
WITH_IPV4 = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96")))
"""IPv6 addresses whose last 32 bits are the IPv4 address that is meant (RFC 6052; RFC 4291, 2.5.5.1)."""


class NotPublic(OSError):
    """An address that is not of the public internet: loopback, private, link-local, reserved, multicast."""


def is_public(address: str) -> bool:
    """Whether an IP address, and every IPv4 address that it stands for, is of the public internet.

    >>> [is_public(each) for each in ("93.184.215.14", "127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1")]
    [True, False, False, False]
    """
    return all(each.is_global and not each.is_multicast for each in _meanings(ipaddress.ip_address(address)))


def _meanings(address: Address) -> Iterator[Address]:
    """The address, or the IPv4 addresses inside it, to which a translator on the way may take it."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    yield address.ipv4_mapped or address
    yield from (inside for inside in (address.sixtofour, *(address.teredo or ())) if inside)
    if any(address in network for network in WITH_IPV4):
        yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


def connector(resolver: AbstractResolver, connections: int, allow_private: bool) -> aiohttp.TCPConnector:
    """What makes at most so many connections, to public addresses alone unless others are allowed."""
    return aiohttp.TCPConnector(
        limit=connections,
        resolver=resolver,
        use_dns_cache=False,  # ours remembers failures too
        family=socket.AF_UNSPEC,
        socket_factory=None if allow_private else _public_socket,
    )


def _public_socket(found: Any) -> socket.socket:
    """A socket for one result of getaddrinfo. Raises `NotPublic`."""
    family, kind, protocol, _, address = found
    if not is_public(address[0]):
        raise NotPublic(f"the address {address[0]} is not public")
    return socket.socket(family, kind, protocol)


class RememberingResolver(AbstractResolver):
    """Looks a name up as the system does, once for a shard, whatever comes of it."""

    def __init__(self) -> None:
        self._system = ThreadedResolver()
        self._asked: dict[tuple[str, int, int], asyncio.Task[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError when there are none."""
        key = host, port, family
        if key not in self._asked:
            self._asked[key] = asyncio.create_task(self._system.resolve(host, port, family))
        return await asyncio.shield(self._asked[key])  # whoever gives up waiting does not end it for the others

    def forget_failures(self) -> None:
        """Look up anew, next time, the names that had no address."""
        ended = {key for key, task in self._asked.items() if task.done()}
        failed = {key for key in ended if self._asked[key].cancelled() or self._asked[key].exception()}
        self._asked = {key: task for key, task in self._asked.items() if key not in failed}

    async def close(self) -> None:
        """Nothing is held open."""
