"""Networks, by the cases of go-cty-funcs' own tests."""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bake.functions.calls import call, refused, same

CASES: list[tuple[str, list[Any], Any]] = [
    ("cidrhost", ["192.168.1.0/24", 5], "192.168.1.5"),
    ("cidrhost", ["192.168.1.77/24", 5], "192.168.1.5"),
    ("cidrhost", ["192.168.1.0/24", -5], "192.168.1.251"),
    ("cidrhost", ["192.168.1.0/24", -256], "192.168.1.0"),
    ("cidrhost", ["fe80::/48", "16"], "fe80::10"),
    ("cidrnetmask", ["192.168.1.0/24"], "255.255.255.0"),
    ("cidrnetmask", ["192.168.1.0/32"], "255.255.255.255"),
    ("cidrnetmask", ["0.0.0.0/0"], "0.0.0.0"),
    ("cidrnetmask", ["1::/64"], "ffff:ffff:ffff:ffff::"),
    ("cidrsubnet", ["192.168.2.0/20", 4, 6], "192.168.6.0/24"),
    ("cidrsubnet", ["fe80::/48", 16, 6], "fe80:0:0:6::/64"),
    ("cidrsubnet", ["::ffff:192.168.0.0/112", 8, 6], "192.168.6.0/24"),
    ("cidrsubnet", ["10.0.0.0/8", 0, 0], "10.0.0.0/8"),
    (
        "cidrsubnets",
        ["10.0.0.0/21", 3, 3, 3, 4, 4, 4, 7, 7, 7],
        ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/25", "10.0.3.128/25", "10.0.4.0/25",
         "10.0.4.128/28", "10.0.4.144/28", "10.0.4.160/28"],
    ),
    ("cidrsubnets", ["10.0.0.0/21"], []),
]  # fmt: skip

REFUSED: list[tuple[str, list[Any], str, int]] = [
    ("cidrhost", ["192.168.1.0/30", 255], "hostnum: 192.168.1.0/30 has no address 255", 1),
    ("cidrhost", ["192.168.1.0/30", -255], "hostnum: 192.168.1.0/30 has no address -255", 1),
    ("cidrhost", ["not-a-cidr", 6], "prefix: 'not-a-cidr' is no network such as 10.0.0.0/8", 0),
    ("cidrhost", ["10.0.0.0/8", 1.5], "hostnum: a whole number is needed", 1),
    (
        "cidrnetmask",
        ["10.0.0.0/255.0.0.0"],
        "prefix: '10.0.0.0/255.0.0.0' is no network such as 10.0.0.0/8",
        0,
    ),
    ("cidrnetmask", ["fe80::1%eth0/64"], "prefix: 'fe80::1%eth0/64' is no network such as 10.0.0.0/8", 0),
    ("cidrsubnet", ["192.168.0.0/30", 4, 6], "newbits: 34 bits are too many for IPv4", 1),
    ("cidrsubnet", ["192.168.0.0/24", 2, 16], "netnum: 16 does not fit into 2 bits", 2),
    ("cidrsubnet", ["fe80::/48", 33, 0], "newbits: 33 is not from 0 to 32", 1),
    ("cidrsubnets", ["10.0.0.0/30", 1, 3], "newbits: 33 bits are too many for IPv4", 2),
    (
        "cidrsubnets",
        ["10.0.0.0/8", 1, 1, 1],
        "newbits: no room is left in 10.0.0.0/8 for a network of 9 bits",
        3,
    ),
    ("cidrsubnets", ["10.0.0.0/8", 1, 0], "newbits: 0 is not from 1 to 32", 2),
    ("cidrsubnets", ["10.0.0.0/8", 1, -1], "newbits: -1 is not from 1 to 32", 2),
    ("cidrsubnets", ["fe80::/48", 1, 33], "newbits: 33 is not from 1 to 32", 2),
]


@pytest.mark.parametrize(("name", "args", "want"), CASES)
def test_value(name: str, args: list[Any], want: Any) -> None:
    assert same(call(name, *args), want)


@pytest.mark.parametrize(("name", "args", "message", "argument"), REFUSED)
def test_refusal(name: str, args: list[Any], message: str, argument: int) -> None:
    assert refused(name, *args) == (message, argument)


@pytest.mark.parametrize("prefix", ["10.256.0.0/8", "192.168.0.0/168", "10.0.0/8", "/8", "::1/129"])
def test_what_is_no_network_is_refused(prefix: str) -> None:
    assert refused("cidrnetmask", prefix) == (f"prefix: '{prefix}' is no network such as 10.0.0.0/8", 0)


@given(st.integers(8, 24), st.lists(st.integers(1, 6), max_size=8))
def test_subnets_lie_within_and_apart(length: int, bits: list[int]) -> None:
    whole = ipaddress.ip_network(f"10.0.0.0/{length}", strict=False)
    if sum(2.0**-b for b in bits) > 0.5:
        return
    found = [ipaddress.ip_network(text) for text in call("cidrsubnets", str(whole), *bits)]
    assert [n.prefixlen for n in found] == [length + b for b in bits]
    assert all(n.network_address in whole and n.broadcast_address in whole for n in found)
    assert all(a.broadcast_address < b.network_address for a, b in itertools.pairwise(found))
