"""Ruby's gems."""

from __future__ import annotations

import time

import pytest

from imagesmith.sbom import gems
from tests.sbom.looking import read_all

AT = "usr/lib/ruby/gems/3.1.0/specifications"
GEM = r"""# stub: left 1.0 ruby lib
Gem::Specification.new do |s|
  s.name = "left".freeze
  s.version = "1.0.rc2"
  s.authors = ["Andr\u00E9 \"A\" Arko".freeze, 'Ben']
  s.email = ["andre@example.org".freeze]
  s.homepage = "https://left.example".freeze
  s.licenses = ["MIT".freeze, "Ruby".freeze]
  s.summary = "Pads".freeze
  s.add_runtime_dependency(%q<other>.freeze, ["~> 9"])
end
"""


def one(text: str, name: str = "left-1.0.rc2"):
    (package,), warnings = read_all({f"{AT}/{name}.gemspec": text.encode()})
    assert warnings == []
    return package


def test_what_rubygems_writes():
    package = one(GEM)
    assert package.purl == "pkg:gem/left@1.0.rc2"
    assert package.licenses == ("MIT", "Ruby")
    assert package.supplier == 'Person: André "A" Arko (andre@example.org)'
    assert (package.homepage, package.description) == ("https://left.example", "Pads")


@pytest.mark.parametrize(
    "text",
    [
        "s.version = Left::VERSION\ns.name = name\n",
        's.version = "#{Left::V}"\n',
        "",
        's.name = "unfinished\n',
    ],
)
def test_expressions_are_left_to_the_name_of_the_file(text):
    assert one(text, "some-left-2.1.0-x86_64-linux").purl == "pkg:gem/some-left@2.1.0"


def test_a_version_that_is_an_object():
    assert one('s.name = "a"\ns.version = Gem::Version.new("3.2")\n').purl == "pkg:gem/a@3.2"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (f"{AT}/a-1.gemspec", True), (f"{AT}/default/a-1.gemspec", True),
        ("specifications/a-1.gemspec", True),
        ("usr/lib/ruby/gems/3.1.0/gems/a-1/a.gemspec", False), (f"{AT}/a", False),
    ],
)  # fmt: skip
def test_where_specifications_are(path, wanted):
    assert gems.wants(path) is wanted


def test_a_file_without_any_name():
    packages, warnings = read_all({f"{AT}/x.gemspec": b"nothing"})
    assert (packages, len(warnings)) == ([], 1)


@pytest.mark.parametrize(
    "line", ['s.name = "' + '\\"' * 8000, "s.name = " + "\"'" * 8000, " " * 16000, "a" * 16000 + "."]
)
def test_hostile_lines_take_no_time(line):
    start = time.process_time()
    read_all({f"{AT}/a-1.gemspec": (line + "\n").encode() * 60})
    assert time.process_time() - start < 5  # it is 0.2; what grows with the square took a minute
