from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import InvalidReference
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.names import ImageRef, Platform, choose_platform

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("user/app", "docker.io/user/app:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("registry-1.docker.io/a", "registry-1.docker.io/a:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("example.com", "docker.io/library/example.com:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("Foo/bar", "Foo/bar:latest"),
        ("MYHOST/foo", "MYHOST/foo:latest"),
        ("[::1]:5000/foo", "[::1]:5000/foo:latest"),
        ("[2001:db8::1]/foo:x", "[2001:db8::1]/foo:x"),
        ("a--b/c__d", "docker.io/a--b/c__d:latest"),
        ("a/b:_x", "docker.io/a/b:_x"),
        ("a.b/c.d:e.f", "a.b/c.d:e.f"),
        ("a/b/c/d/e", "docker.io/a/b/c/d/e:latest"),
        (f"h.io/a@sha256:{HEX}", f"h.io/a@sha256:{HEX}"),
        (f"h.io/a:1@sha256:{HEX}", f"h.io/a:1@sha256:{HEX}"),
    ],
)
def test_reference_is_normalised_as_docker_does(text: str, normal: str) -> None:
    assert str(ImageRef.parse(text)) == normal


@pytest.mark.parametrize(
    "text",
    [
        "foo/Bar",
        "Ubuntu",
        "[fe80::1%eth0]/foo",
        "::1/foo",
        "a___b/c",
        "a..b/c",
        "-a/b",
        "a-/b",
        "a_/b",
        "a//b",
        "/a/b",
        "a/b/",
        "foo:",
        "a/b:-x",
        "a/b:.x",
        "a:b:c",
        f"foo:@sha256:{HEX}",
        "https://example.com/foo",
        "example.com/foo?x=1",
        "a b",
        "é/x",
        "",
        "example.com./foo",
        "h.io:/foo",
        "exa_mple.com/foo",
        "h.io:99999999/foo",
        "a@sha256:abc",
        f"a@md5:{'a' * 32}",
        f"a@sha256:{'A' * 64}",
        HEX,
        "a/" * 200 + "b",
        "a:" + "x" * 129,
    ],
)
def test_what_docker_refuses_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        ImageRef.parse(text)


def test_upper_case_is_told_apart() -> None:
    with pytest.raises(InvalidReference, match=r"repository name \(library/Ubuntu\) must be lowercase"):
        ImageRef.parse("Ubuntu")


COMPONENT = st.from_regex(r"[a-z0-9]{1,4}((\.|_|__|-{1,2})[a-z0-9]{1,4}){0,2}", fullmatch=True)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
HOST = st.sampled_from(["docker.io", "localhost", "reg.example", "reg.example:5000", "[::1]:80"])


@given(HOST, st.lists(COMPONENT, min_size=1, max_size=4), st.none() | TAG, st.booleans())
def test_written_reference_is_read_back(host: str, path: list[str], tag: str | None, pinned: bool) -> None:
    repository = "/".join(path)
    if host == "docker.io" and len(path) == 1:
        repository = f"library/{repository}"
    digest = digest_bytes(b"x") if pinned else None
    ref = ImageRef(host, repository, tag if tag or pinned else "latest", digest)
    assert ImageRef.parse(str(ref)) == ref
    assert ImageRef.parse(ref.familiar) == ref


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        ref = ImageRef.parse(text)
    except InvalidReference:
        return
    assert ImageRef.parse(str(ref)) == ref


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/5", "linux/arm/v5"),
        ("LINUX/I386", "linux/386"),
        ("macos/arm64", "darwin/arm64"),
        ("windows(10.0.1+win32k)/amd64", "windows/amd64"),
    ],
)
def test_platform_is_normalised_as_containerd_does(text: str, normal: str) -> None:
    assert str(Platform.parse(text)) == normal


@pytest.mark.parametrize("text", ["", "x", "linux/*", "linux/", "a/b/c/d", "linux/am d64"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ("linux/amd64", ["linux/386", "linux/amd64"], 1),
        ("linux/amd64", ["linux/386"], 0),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], 1),
        ("linux/arm64", ["linux/arm/v7"], 0),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm64/v9.4", ["linux/arm64/v8.9", "linux/arm64"], 0),
        ("linux/amd64", ["windows/amd64"], None),
        ("linux/s390x", ["linux/s390x", "linux/s390x"], 0),
        ("linux/amd64", [], None),
    ],
)
def test_best_offer_is_chosen(wanted: str, offered: list[str], chosen: int | None) -> None:
    assert choose_platform(Platform.parse(wanted), [Platform.parse(p) for p in offered]) == chosen


def test_entry_without_a_platform_is_not_chosen() -> None:
    assert choose_platform(Platform.parse("linux/amd64"), [None, Platform.parse("linux/amd64")]) == 1


@pytest.mark.parametrize("variant", ["v99999999999999", "v9.x", "v8.x", "vx", "v9.99999999999999"])
@pytest.mark.parametrize("arch", ["amd64", "arm", "arm64"])
def test_a_variant_that_no_machine_has_is_no_trouble(arch: str, variant: str) -> None:
    plain = Platform("linux", arch)
    assert choose_platform(Platform.parse(f"linux/{arch}/{variant}"), [plain]) in (0, None)
