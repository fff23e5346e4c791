"""One COPY onto two bases, together and alone: the same bytes, however the bases differ."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith.errors import ImagesmithError
from tests.kitchen import OLD_S, Kitchen
from tests.property.test_copies import flag, make, sources, trees

PLATFORMS = "linux/amd64,linux/arm64"
places = st.sampled_from(["/", "/a", "/a/", "/a/b", "/b/", "/c/ab/", "/q"])
owners = st.sampled_from(["", "--chown=web ", "--chown=7 "])
flags = st.lists(flag, max_size=2, unique_by=lambda f: f[:5])
passwd = st.sampled_from(["", "web:x:33:33:::", "web:x:44:33:::", "web:x:044:33:::"])


def built(kitchen: Kitchen, text: str, platform: str) -> dict[str, list[str]] | str:
    """The layers of each platform's image; or nothing but that it failed."""
    try:
        with patch("time.time_ns", lambda: (OLD_S + 5) * 1_000_000_000):
            made = kitchen.build(text, platform=platform)
    except ImagesmithError:
        return "failed"
    return {str(p): [str(layer.diff_id) for layer in i.layers] for p, i in made.images.items()}


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(trees(), trees(), trees()),
    st.tuples(passwd, passwd),
    st.lists(st.tuples(owners, flags, sources, places), min_size=1, max_size=2),
    st.booleans(),
)  # fmt: skip
def test_platforms_together_have_the_layers_that_each_has_alone(
    what: tuple[list[tuple[str, str, int]], ...],
    names: tuple[str, str],
    copies: list[tuple[str, list[str], list[str], str]],
    alike: bool,
) -> None:
    files, of_amd64, of_arm64 = what
    steps = ""
    for owner, more, taken, place in copies:
        words = [f for f in more if not (owner and f.startswith(("--chown", "--link")))]
        steps += f"COPY --from=files {owner}{' '.join((*words, *taken, place))}\n"
    text = (
        "FROM scratch AS files\nCOPY files /\n"
        f"FROM scratch AS base\nARG TARGETARCH\nCOPY $TARGETARCH /\nFROM base\n{steps}WORKDIR /a/w\n"
    )
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        together, apart = Kitchen(Path(first)), Kitchen(Path(second))
        for kitchen in (together, apart):
            for name, tree, users in (
                ("files", files, ""),
                ("amd64", of_amd64, names[0]),
                ("arm64", of_amd64 if alike else of_arm64, names[1]),
            ):
                (kitchen.context / name / "etc").mkdir(parents=True)
                (kitchen.context / name / "etc/passwd").write_text(users)
                make(kitchen.context / name, tree)
            kitchen.age()
        alone = [built(apart, text, platform) for platform in PLATFORMS.split(",")]
        found = built(together, text, PLATFORMS)
        if "failed" in alone:
            assert found == "failed"
            return
        assert found == {p: layers for one in alone for p, layers in dict(one).items()}  # type: ignore[arg-type]
        assert [built(together, text, platform) for platform in PLATFORMS.split(",")] == alone
