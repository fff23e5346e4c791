"""The caret: for each mistake of a Dockerfile the line and the word that it points at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.cli.errors import excerpt
from imagesmith.dockerfile.places import find
from imagesmith.errors import ImagesmithError
from tests.kitchen import Kitchen

A = "FROM scratch\n"

#: A Dockerfile in which «» stand around what the caret is to be under.
MISTAKES = [
    A + "«RUM» x",
    A + "  «rum» rum",
    "«RUN» x",
    "\n# c\n «COPY» a b",
    A + "COPY «--chwon»=1:2 a b",
    A + "COPY --link \\\n\t«--chwon»=1 a b",
    A + "COPY --chown=1 «--chown=1» a b",
    A + "COPY --link=«maybe» a b",
    A + "COPY «--from» a b",
    A + "COPY «a»",
    A + "COPY a \\\n# c\n\n  «<<E»\nx\nE",
    A + "RUN cat «<<EOF»\nx\n",
    A + "RUN cat <<A \\\n  «<<-'B C'» x\nA\n",
    A + "RUN --network=«foo» x",
    A + "RUN --security=«x» y",
    A + "RUN «--network=host» x",
    A + "RUN «--security=insecure» x",
    A + "RUN «--device=a/b=c» x",
    A + "RUN --mount=type=«foo»,target=/x y",
    A + "RUN --mount=target=/x,«targte»=/y z",
    A + "RUN --mount=target=/x,ro=«perhaps» z",
    A + "RUN --mount=«target=/» z",
    A + "RUN --mount=target=/x,«nonsense» z",
    A + "RUN --mount=type=cache,\\\ntarget=/x,mode=«9» z",
    A + "RUN --mount=target=/x,from=«$x» z",
    A + "RUN --mount=target=/x,id=«${x?no}» z",
    A + "RUN --mount=target=/x,«size»=1 z",
    A + "RUN --mount=«type=secret» z",
    "FROM scratch AS «1x»",
    "FROM scratch \\\n as \\\n «A/b»",
    "FROM scratch «az» b",
    "FROM a b c «d»",
    "FROM «$nope»",
    "FROM «UPPER»",
    "FROM --platform=«a/b/c/d» scratch",
    "FROM --platform=«$x» scratch",
    "ARG a=x«${y?no}»\nFROM scratch",
    "FROM scratch AS a\nCOPY --from=«b» x y\nFROM scratch AS b\nFROM a",
    A + "COPY --from=«7» x y",
    A + "COPY --from=«$x» x y",
    A + "COPY --from=«UPPER» x y",
    "FROM scratch AS a\nRUN --mount=target=/x,from=«b» x\nFROM scratch AS b\nFROM a",
    A + "ENV «a»",
    A + "ENV a=1 «b»",
    A + "ENV a=1 \\\n  b=2 \\\n  «c» d=4",
    A + "LABEL a=1 «'b c'» d=1",
    A + "ENV «=x»",
    A + "ENV a=1 b=«${x:?no}» c=3",
    A + 'ENV a="x«${y:?no}»"',
    A + 'ENV a=1 b=«"open»',
    A + "LABEL a=«'open»",
    A + "WORKDIR /a/«${}»",
    A + "WORKDIR /a/«${x:=1}»/b",
    A + "USER «${x»",
    A + "VOLUME a «$x»",
    A + "CMD «[1]»",
    A + 'SHELL «["a", {}]»',
    A + "EXPOSE 80 «many» 90",
    A + "EXPOSE 80 \\\n «70000»/tcp".replace("«70000»/tcp", "«70000/tcp»"),
    A + "EXPOSE 80/tcp «80/http»",
    A + "STOPSIGNAL «FOO»",
    A + "HEALTHCHECK «FOO» x",
    A + "HEALTHCHECK --interval=«30» CMD x",
    A + "HEALTHCHECK --retries=«x» CMD x",
    A + "HEALTHCHECK NONE «x»",
    A + "HEALTHCHECK «CMD»",
    A + "HEALTHCHECK «--intervall»=3s CMD x",
    A + "ONBUILD «ONBUILD» RUN x",
    A + "ONBUILD «FROM» x",
    "# check=«nothing=x»\nFROM scratch",
    A + "COPY --chmod=«u+q» a b",
    A + "ADD --checksum=«x» a b",
    A + "COPY a «https://x/y» b",
    A + "COPY «https://x/y.git» b",
    A + "ADD «https://x/y.git?nope=1» b",
    A + "COPY «nowhere» /b",
    A + "COPY f \\\n\t«nowhere» /b/",
    "# escape=«x»\nFROM a",
    "# escape=`\n# «Escape»=`\nFROM a",
    "# escape=`\nFROM scratch\nEXPOSE `\n\t漢字 «many»".replace("漢字 ", "1 "),
    A + "LABEL 漢=字 \t«é»",
]


def marked(text: str) -> tuple[str, int, int, int]:
    """The Dockerfile without the marks, and the line and columns that they were at."""
    lines = text.split("\n")
    ((number, line),) = [(n, line) for n, line in enumerate(lines, 1) if "«" in line]
    start, end = line.index("«"), line.index("»") - 1
    return text.replace("«", "").replace("»", ""), number, start, end


@pytest.mark.parametrize("text", MISTAKES)
def test_the_caret_is_under_the_word_that_is_wrong(text: str, kitchen: Kitchen) -> None:
    kitchen.write({"f": "1\n"})
    plain, line, start, end = marked(text)
    with pytest.raises(ImagesmithError) as caught:
        kitchen.build(plain + "\n")
    e = caught.value
    shown = e.source.split("\n")[e.line - 1][e.column : e.end]
    assert (e.line, e.column, e.end, shown) == (line, start, end, plain.split("\n")[line - 1][start:end])


@pytest.mark.parametrize(
    "text",
    [A + "RUN []", A + "COPY", "FROM scratch AS a\nCOPY --from=a x y", A + 'VOLUME [""]', A + "USER"],
)
def test_where_no_word_is_wrong_the_whole_instruction_is_meant(text: str, kitchen: Kitchen) -> None:
    with pytest.raises(ImagesmithError) as caught:
        kitchen.build(text + "\n")
    assert caught.value.first > 0
    assert caught.value.column == -1


def test_words_of_a_base_s_triggers_are_not_looked_for_here(kitchen: Kitchen) -> None:
    text = "FROM scratch AS base\nONBUILD EXPOSE base\nFROM base\n"
    with pytest.raises(ImagesmithError) as caught:
        kitchen.build(text)
    e = caught.value
    assert (e.line, e.column, e.end) == (3, 5, 9)


def test_a_word_of_its_own_goes_before_a_part_of_another() -> None:
    assert find("EXPOSE 80808 808 80", "80") == 17
    assert find("COPY a/b b", "b") == 9
    assert find("RUN x", "RUN") == 0
    assert find("RUN RUN", "RUN") == 4
    assert find("RUN x", "y") == -1


# --- on the screen -----------------------------------------------------------------------------


def pointed(source: str, word: str, width: int) -> tuple[str, str]:
    """The row that is shown for the line with a word, and what its caret is under."""
    lines = source.split("\n")
    number = next(n for n, line in enumerate(lines, 1) if word in line)
    column = lines[number - 1].index(word)
    shown = excerpt(source, "", number, number, caret=(number, column, column + len(word)), width=width)
    at = next(n for n, row in enumerate(shown) if "^" in row and set(row) <= set(" |^"))
    row, pointer = shown[at - 1], shown[at]
    assert pointer.index("|") == row.index("|")
    columns = [c for c in row for _ in range(2 if "\u3000" <= c <= "\u9fff" else 0 if c == "\u0301" else 1)]
    return row, "".join(columns[pointer.index("^") : pointer.rindex("^") + 1])


@pytest.mark.parametrize(
    "before",
    [
        "",
        "a ",
        "\t",
        "a\tb\t",
        "漢字 ",
        "e\u0301e\u0301 ",
        "\x1b[31m ",
        "\u202e\u2066 ",
        "\x00\x9b\x7f",
        "\udcff",
        "\u2028",
    ],
)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_caret_is_under_its_word_whatever_is_before_it(before: str, width: int) -> None:
    for source in (f"{before}word{before}", f"x\n{before * 60}word{'y' * 3000}\nz"):
        row, under = pointed(source, "word", width)
        assert under == "word"
        assert row.isprintable()
        assert len(row.replace("\u0301", "")) <= width


@given(st.text(max_size=80), st.integers(1, 200), st.integers(0, 90), st.integers(-1, 99))
def test_any_line_is_shown_within_the_width_and_without_orders_to_the_terminal(
    text: str, width: int, start: int, end: int
) -> None:
    for row in excerpt(text, text, 1, 1, caret=(1, start, end), width=width)[2:-1]:
        assert len(row) <= max(31, width)
        assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in row)


def test_a_caret_behind_a_line_that_fills_the_width_is_within_it() -> None:
    for length in (31, 32, 33):
        row = excerpt("x" * length, "f", 1, 1, caret=(1, length, length), width=42)[-2]
        assert len(row) <= 42
        assert row.endswith("^")


def test_an_instruction_of_very_many_lines_is_shown_in_part() -> None:
    source = "FROM a\nRUN x \\\n" + " y \\\n" * 20000 + " word\n"
    shown = excerpt(source, "", 2, 20003, caret=(20003, 1, 5))
    assert len(shown) < 60
    at = next(n for n, row in enumerate(shown) if row.endswith("^^^^"))
    assert shown[at - 1].endswith(" word")
    assert shown[at].index("^") == shown[at - 1].index("word")
