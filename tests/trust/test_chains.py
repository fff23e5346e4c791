"""Chains: a path is found where there is one, and of one that is not good it is told why."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as For
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import Untrusted
from imagesmith.trust.certificates import Certificate
from imagesmith.trust.chains import CODE_SIGNING, TIME_STAMPING, chain_of
from tests.trust.issuers import HOUR, NOW_S, YEAR, Issued, issue, key_of, named


def made(length: int, **changes: dict[str, Any]) -> list[Issued]:
    """A chain from a root to a leaf, with changes of the certificate of a name: root, ca1, ca2, … leaf."""
    out: list[Issued] = []
    for n in range(length):
        name = "root" if n == 0 else "leaf" if n == length - 1 else f"ca{n}"
        given_to: dict[str, Any] = {"ca": name != "leaf", **changes.get(name, {})}
        out.append(issue(named(("CN", name)), key_of(name), out[-1] if out else None, **given_to))
    return out


def read(*chain: Issued) -> list[Certificate]:
    return [Certificate.parse(one.der, one.certificate.subject.rfc4514_string()) for one in chain]


def path(
    chain: list[Issued], *, at_s: int = NOW_S, purpose: str = CODE_SIGNING, known: bool = True
) -> list[str]:
    root, *between, leaf = read(*chain)
    found = chain_of(leaf, between, [root], at_s=at_s, purpose=purpose, only_known=known)
    return [one.subject_text for one in found]


def test_paths_of_all_lengths_are_found() -> None:
    assert path(made(2)) == ["CN=leaf", "CN=root"]
    assert path(made(4)) == ["CN=leaf", "CN=ca2", "CN=ca1", "CN=root"]
    assert path(made(4, root={"path": 2}, ca1={"path": 1}, ca2={"path": 0})) == path(made(4))


def test_the_order_of_what_comes_with_it_does_not_matter() -> None:
    root, one, two, leaf = read(*made(4))
    assert chain_of(leaf, [one, root, two, leaf], [root], at_s=NOW_S, purpose=CODE_SIGNING) == (
        leaf,
        two,
        one,
        root,
    )


def test_a_trusted_one_in_the_middle_is_enough() -> None:
    _, one, two, leaf = read(*made(4))
    assert chain_of(leaf, [two], [one], at_s=NOW_S, purpose=CODE_SIGNING) == (leaf, two, one)


def test_of_two_of_a_name_the_one_that_issued_is_taken() -> None:
    root, one, leaf = made(3)
    namesake = issue(one.certificate.subject, key_of("namesake"), root, ca=True)
    top, wrong, right, end = read(root, namesake, one, leaf)
    assert chain_of(end, [wrong, right], [top], at_s=NOW_S, purpose=CODE_SIGNING) == (end, right, top)


def test_one_that_is_trusted_itself_is_a_path_if_it_issued_itself() -> None:
    alone = issue(named(("CN", "alone")), key_of("alone"))
    (found,) = read(alone)
    assert chain_of(found, [], [found], at_s=NOW_S, purpose=CODE_SIGNING) == (found,)
    *_, leaf = read(*made(2))
    with pytest.raises(Untrusted, match="none of the trusted authorities issued CN=leaf"):
        chain_of(leaf, [], [leaf], at_s=NOW_S, purpose=CODE_SIGNING)


ODD = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"leaf": {"end_s": NOW_S - 1}},
            "CN=leaf: valid until 2025-06-15T15:06:39Z, and not at 2025-06-15T15:06:40Z",
        ),
        ({"leaf": {"start_s": NOW_S + 1}}, "CN=leaf: valid from 2025-06-15T15:06:41Z on, and not at"),
        ({"ca1": {"end_s": NOW_S - HOUR}}, "CN=ca1: valid until"),
        ({"root": {"end_s": NOW_S - HOUR}}, "CN=root: valid until"),
        ({"root": {"path": 0}}, "CN=root: may have 0 authorities below it, not 1"),
        ({"ca1": {"ca": False}}, "CN=ca1: is no authority, and issued CN=leaf"),
        ({"ca1": {"usages": ("digital_signature",)}}, "CN=ca1: is no authority, and issued CN=leaf"),
        ({"ca1": {"purposes": [For.SERVER_AUTH]}}, "CN=ca1: is not for code signing"),
        ({"leaf": {"purposes": [For.TIME_STAMPING]}}, "CN=leaf: is not for code signing"),
        ({"leaf": {"extra": [(ODD, True)]}}, "CN=leaf: a critical extension is not known: 1.2.3.4"),
        ({"ca1": {"extra": [(ODD, True)]}}, "CN=ca1: a critical extension is not known: 1.2.3.4"),
        (
            {"ca1": {"extra": [(x509.NameConstraints([x509.DNSName("a.example")], None), True)]}},
            "CN=ca1: a critical extension is not known: 2.5.29.30",
        ),
    ],
)
def test_why_a_path_is_not_good_is_told(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Untrusted, match=f"^{says}"):
        path(made(3, **changes))


def test_extensions_that_are_not_known_can_be_let_be() -> None:
    chain = made(3, ca1={"extra": [(ODD, True)]})
    assert path(chain, known=False) == ["CN=leaf", "CN=ca1", "CN=root"]


def test_a_certificate_for_any_purpose_is_for_this_one() -> None:
    chain = made(3, ca1={"purposes": [For.ANY_EXTENDED_KEY_USAGE]}, leaf={"purposes": [For.TIME_STAMPING]})
    assert path(chain, purpose=TIME_STAMPING) == ["CN=leaf", "CN=ca1", "CN=root"]


def test_strangers_and_their_namesakes_are_told() -> None:
    *_, leaf = made(3)
    stranger = issue(named(("CN", "root")), key_of("stranger"), ca=True)
    end, root = read(leaf, stranger)
    with pytest.raises(Untrusted, match=r"^CN=leaf: none of the trusted authorities issued CN=leaf$"):
        chain_of(end, [], [root], at_s=NOW_S, purpose=CODE_SIGNING)


def test_paths_are_bounded() -> None:
    assert len(path(made(9))) == 9
    with pytest.raises(Untrusted, match="CN=leaf: more than 8 issuers"):
        path(made(11))
    root, ca, leaf = read(*made(3))
    with pytest.raises(Untrusted, match="CN=leaf: comes with more than 100 other certificates"):
        chain_of(leaf, [ca] * 101, [root], at_s=NOW_S, purpose=CODE_SIGNING)


def test_those_that_issued_each_other_end() -> None:
    """Sixty authorities of one name and one key: each issued all, and none is trusted."""
    key, name = key_of("many"), named(("CN", "many"))
    first = issue(name, key, ca=True)
    crowd = [issue(name, key, first, ca=True, serial=n) for n in range(1, 61)]
    leaf = issue(named(("CN", "leaf")), key_of("leaf"), first)
    (root,) = read(made(2)[0])
    end, *others = read(leaf, *crowd)
    with pytest.raises(Untrusted, match="CN=leaf: more than 100 issuers to try"):
        chain_of(end, others, [root], at_s=NOW_S, purpose=CODE_SIGNING)


@given(
    st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=3, max_size=3), st.integers(-2, 2)
)
def test_a_path_is_good_when_all_of_it_is_valid(periods: list[tuple[int, int]], at: int) -> None:
    names = ("root", "ca1", "leaf")
    spans = [sorted(period) for period in periods]
    changes = {
        name: {"start_s": NOW_S + a * YEAR, "end_s": NOW_S + b * YEAR + HOUR}
        for name, (a, b) in zip(names, spans, strict=True)
    }
    good = all(a <= at <= b for a, b in spans)
    try:
        path(made(3, **changes), at_s=NOW_S + at * YEAR)
    except Untrusted:
        assert not good
    else:
        assert good
