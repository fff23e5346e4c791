"""Lines, directives, here-documents, flags and JSON lists: what is read and what is refused."""

from __future__ import annotations

import pytest

from imagesmith.dockerfile import nodes as n
from imagesmith.dockerfile.parse import parse
from imagesmith.dockerfile.values import parse_duration
from imagesmith.errors import DockerfileError
from tests.kitchen import Kitchen


def one(text: str) -> n.Instruction:
    """The only instruction of a stage."""
    (found,) = parse(f"FROM a\n{text}".encode()).stages[0].instructions
    return found


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("RUN a \\\n  b", "a   b"),
        ("RUN a \\\n# gone\n\n b", "a  b"),
        ("RUN a \\ \t\n b", "a  b"),
        ("RUN a \\\\", "a \\\\"),
        ("RUN a # b", "a # b"),
        ("run\ta\r\n", "a"),
        ('RUN ["a",]', '["a",]'),
        ("RUN ['a']", "['a']"),
        ("RUN a \\", "a"),
    ],
)
def test_lines_are_joined_and_comments_dropped(text: str, command: str) -> None:
    found = one(text)
    assert isinstance(found, n.Run)
    assert found.command == n.Command((command,), exec=False)


@pytest.mark.parametrize(
    ("words", "bodies"),
    [
        ("<<A", [("A", "$x\n", True)]),
        ("<<'A'", [("A", "$x\n", False)]),
        ('<<"A"', [("A", "$x\n", False)]),
    ],
)
def test_a_quoted_name_means_a_body_that_is_not_expanded(words: str, bodies: list[object]) -> None:
    found = one(f"COPY {words} /\n$x\nA\n")
    assert isinstance(found, n.Copy)
    assert [(d.name, d.text, d.expand) for d in found.heredocs] == bodies


def test_several_heredocs_follow_each_other() -> None:
    found = one("RUN cat <<A - <<-B\n1\nA\n\t2\n\tB\n")
    assert isinstance(found, n.Run)
    assert [d.content() for d in found.heredocs] == ["1\n", "2\n"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the Dockerfile cannot be empty"),
        ("# c\n", "file with no instructions"),
        ("RUN a", "no build stage in current context"),
        ("# escape=x\nFROM a", "invalid escape token 'x' does not match ` or \\"),
        ("# escape=`\n# Escape=`\nFROM a", "only one escape parser directive can be used"),
        ("FROM a\nRUM a", "dockerfile parse error on line 2: unknown instruction: RUM (did you mean RUN?)"),
        ("FROM a\nCOPY --frm=b c d", "unknown flag: --frm (did you mean from?)"),
        ("FROM a\nCOPY --link=x c d", "expecting boolean value for flag --link, not: x"),
        ("FROM a\nCOPY --chown=1 --chown=2 c d", "duplicate flag specified: --chown"),
        ("FROM a\nRUN <<A\n", "unterminated heredoc"),
        ("FROM a\nCMD [1]", "arrays must be comprised of strings only"),
        ('FROM a\nCMD [["a", ["b"]]]', "arrays must be comprised of strings only"),
        ("FROM a\nENV a", "ENV must have two arguments"),
        ("FROM a\nENV a=1 b", 'Syntax error - can\'t find = in "b". Must be of the form: name=value'),
        ("FROM a\nRUN " + "x" * 65536, "dockerfile line greater than max allowed size of 65535"),
    ],
)
def test_mistakes_are_told_in_docker_s_words(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text.encode())
    assert message in caught.value.message


@pytest.mark.parametrize(
    "text", ["CMD [" + " " * 60000 + "x", 'CMD ["a"' + " " * 60000 + "x", "ENV " + "a=b " * 15000]
)
def test_long_lines_of_blanks_and_words_take_no_time_to_speak_of(text: str) -> None:
    assert one(text).text == text


NINES = "9" * 5000


@pytest.mark.parametrize(
    "line",
    [
        f"HEALTHCHECK --retries={NINES} CMD x",
        f"HEALTHCHECK --interval={NINES}s CMD x",
        f"STOPSIGNAL {NINES}",
        f"EXPOSE {NINES}",
        f"RUN --mount=type=cache,target=/c,uid={NINES} x",
        f"RUN --mount=type=cache,target=/c,gid={1 << 32} x",
        f"RUN --mount=type=tmpfs,target=/c,size={NINES} x",
        f"COPY --from={NINES} /a /b",
    ],
)
def test_a_number_that_no_machine_holds_is_refused(line: str, kitchen: Kitchen) -> None:
    with pytest.raises(DockerfileError):
        kitchen.build(f"FROM scratch\n{line}\n")


def test_a_duration_may_have_more_digits_than_a_second_has() -> None:
    assert parse_duration(f"0.5{'0' * 5000}s") == 500_000_000


def test_what_thousands_of_lines_add_up_to_is_what_few_do(kitchen: Kitchen) -> None:
    lines = "".join(
        f"LABEL l{n}=x\nENV e{n % 7}={n}\nVOLUME /v{n}\nEXPOSE {n}\nONBUILD LABEL o{n}=x\n"
        for n in range(1000)
    )
    built = kitchen.build(
        f"FROM scratch AS a\nENV e3=first PATH=/p\n{lines}FROM scratch AS b\nFROM a\nENV e0=last\n"
    )
    runtime = built.image.config.runtime
    assert runtime.env == ("PATH=/p", "e3=997", "e0=last", "e1=995", "e2=996", "e4=998", "e5=999", "e6=993")
    assert (len(runtime.labels), len(runtime.volumes), len(runtime.exposed_ports)) == (2000, 1000, 1000)
