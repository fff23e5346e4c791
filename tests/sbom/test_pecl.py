"""PHP's extensions."""

from __future__ import annotations

import pytest

from imagesmith.sbom import pecl
from tests.sbom.looking import read_all

AT = "usr/local/lib/php/.registry/.channel.pecl.php.net/memcached.reg"


def serialized(value: object) -> str:
    """PHP's serialize() of texts and arrays."""
    if isinstance(value, dict):
        rows = "".join(serialized(k) + serialized(v) for k, v in value.items())
        return f"a:{len(value)}:{{{rows}}}"
    return f's:{len(str(value).encode())}:"{value}";'


NOTE = {
    "attribs": {"version": "2.0"}, "name": "memcached", "channel": "pecl.php.net",
    "summary": 'a "ä"; s:1:"x";',
    "lead": {"name": "Andrei Zmievski", "user": "andrei"}, "date": "2022-03-24",
    "version": {"release": "3.2.0", "api": "3.2.0"}, "license": {"attribs": {"uri": "u"}, "_content": "PHP"},
}  # fmt: skip


def test_note() -> None:
    (package,), warnings = read_all({AT: serialized(NOTE).encode()})
    assert (package.purl, warnings) == ("pkg:pecl/memcached@3.2.0", [])
    assert (package.licenses, package.description) == (("PHP",), 'a "ä"; s:1:"x";')
    assert package.supplier == "Person: Andrei Zmievski"


def test_plain_licence_and_no_version() -> None:
    (package,), _ = read_all({AT: serialized({"name": "a", "license": "BSD"}).encode()})
    assert (package.purl, package.licenses) == ("pkg:pecl/a", ("BSD",))


@pytest.mark.parametrize("data", [b"", b"a:1:{", b's:4:"name";s:99999:""', b's:4:"name";i:7;'])
def test_damage_is_a_warning(data: bytes) -> None:
    packages, warnings = read_all({AT: data})
    assert (packages, len(warnings)) == ([], 1)


def test_other_registries_are_others() -> None:
    assert not pecl.wants("usr/local/lib/php/.registry/archive_tar.reg")
    assert not pecl.wants("usr/local/lib/php/.registry/.channel.pear.php.net/pear.reg")
