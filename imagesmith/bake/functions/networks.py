"""Functions of addresses and of the networks that they are in.

Spec: go-cty-funcs: cidr; a prefix is written as RFC 4632 and 4291 have it, and may have host bits, which go.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from imagesmith.bake.functions.calling import CallError, Function, Parameter, bounded, integer, string
from imagesmith.bake.values import Value

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    _Network = IPv4Network | IPv6Network

__all__ = ["FUNCTIONS"]

_MOST_NEW_BITS = 32


def _network(prefix: str) -> _Network:
    import ipaddress

    address, slash, bits = prefix.partition("/")
    try:
        if slash and bits.isascii() and bits.isdecimal() and len(bits) < 4 and "%" not in address:
            found = ipaddress.ip_network((address, int(bits)), strict=False)
            mapped = found.network_address.ipv4_mapped if found.version == 6 else None
            if mapped is not None and found.prefixlen >= 96:
                return ipaddress.ip_network((mapped, found.prefixlen - 96))
            return found
    except ValueError as e:
        raise CallError(f"prefix: {prefix!r:.80} is no network such as 10.0.0.0/8", 0) from e
    raise CallError(f"prefix: {prefix!r:.80} is no network such as 10.0.0.0/8", 0)


def _host(prefix: str, number: Decimal) -> Value:
    network = _network(prefix)
    place = int(number) + (network.num_addresses if number < 0 else 0)
    if not 0 <= place < network.num_addresses:
        raise CallError(f"hostnum: {network} has no address {int(number)}", 1)
    return str(network.network_address + place)


def _netmask(prefix: str) -> Value:
    return str(_network(prefix).netmask)


def _subnet(prefix: str, bits: Decimal, number: Decimal) -> Value:
    network = _network(prefix)
    if not 0 <= bits <= _MOST_NEW_BITS:
        raise CallError(f"newbits: {int(bits)} is not from 0 to {_MOST_NEW_BITS}", 1)
    length = _extended(network, int(bits), 1)
    if not 0 <= number < 1 << int(bits):
        raise CallError(f"netnum: {int(number)} does not fit into {int(bits)} bits", 2)
    return _written(
        network, int(network.network_address) + (int(number) << network.max_prefixlen - length), length
    )


def _subnets(prefix: str, *all_bits: Decimal) -> Value:
    network = _network(prefix)
    bounded(items=len(all_bits))
    place, end = int(network.network_address), int(network.broadcast_address)
    out: list[Value] = []
    for n, bits in enumerate(all_bits, 1):
        if not 1 <= bits <= _MOST_NEW_BITS:
            raise CallError(f"newbits: {int(bits)} is not from 1 to {_MOST_NEW_BITS}", n)
        length = _extended(network, int(bits), n)
        size = 1 << network.max_prefixlen - length
        place = -(-place // size) * size  # the next multiple
        if place + size - 1 > end:
            raise CallError(f"newbits: no room is left in {network} for a network of {length} bits", n)
        out.append(_written(network, place, length))
        place += size
    return tuple(out)


def _extended(network: _Network, bits: int, argument: int) -> int:
    length = network.prefixlen + bits
    if length > network.max_prefixlen:
        raise CallError(f"newbits: {length} bits are too many for IPv{network.version}", argument)
    return length


def _written(network: _Network, address: int, length: int) -> str:
    return f"{type(network.network_address)(address)}/{length}"


_PREFIX = Parameter("prefix", string)
_BITS = Parameter("newbits", integer)

FUNCTIONS = (
    Function("cidrhost", _host, (_PREFIX, Parameter("hostnum", integer))),
    Function("cidrnetmask", _netmask, (_PREFIX,)),
    Function("cidrsubnet", _subnet, (_PREFIX, _BITS, Parameter("netnum", integer))),
    Function("cidrsubnets", _subnets, (_PREFIX,), _BITS),
)
