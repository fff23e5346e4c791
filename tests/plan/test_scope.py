"""Scopes: which value of an ARG counts, and what of the proxies a step sees."""

from __future__ import annotations

import pytest

from imagesmith.dockerfile.parse import parse
from imagesmith.errors import DockerfileError
from imagesmith.plan.scope import global_args, proxy_env
from tests.kitchen import Kitchen


def scope(text: str, **given: str) -> dict[str, str]:
    return global_args(parse(f"{text}\nFROM scratch".encode()), {"TARGETARCH": "amd64"}, given)


@pytest.mark.parametrize("default", ["${x:?no}", "${x?no}", "${x", '"', "${x#\\y}", "${x:=1}"])
def test_a_default_is_looked_at_only_where_no_value_is_given(default: str) -> None:
    assert scope(f"ARG a={default}", a="1")["a"] == "1"
    with pytest.raises(DockerfileError) as caught:
        scope(f"ARG a={default}")
    assert caught.value.first == 1


def test_global_arguments_see_those_before_them_and_keep_what_is_predefined() -> None:
    assert scope("ARG a=1 b=$a\nARG c=$a$b\nARG d\nARG TARGETARCH", b="2") == {
        "TARGETARCH": "amd64",
        "a": "1",
        "b": "2",
        "c": "12",
    }


def test_the_default_of_a_stage_s_argument_is_not_looked_at_either(kitchen: Kitchen) -> None:
    text = 'ARG a=${x:?no}\nFROM scratch\nARG a\nARG b="${y?neither}"\nENV out=$a$b\n'
    built = kitchen.build(text, build_args={"a": "1", "b": "2"})
    assert "out=12" in built.image.config.runtime.env


def test_arguments_that_speak_to_the_builder_are_no_variables(kitchen: Kitchen) -> None:
    built = kitchen.build(
        "FROM scratch\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nENV a=[$BUILDKIT_SBOM_SCAN_STAGE]\n"
    )
    assert "a=[]" in built.image.config.runtime.env


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({"Http_Proxy": "p"}, [("HTTP_PROXY", "p"), ("http_proxy", "p")]),
        ({"http_proxy": "low", "HTTP_PROXY": "up"}, [("HTTP_PROXY", "low"), ("http_proxy", "low")]),
        ({"HTTP_PROXY": "up", "http_proxy": ""}, []),
        ({"all_proxy": "", "proxy": "x", "my_http_proxy": "y"}, []),
        (
            {"no_proxy": "n", "FTP_PROXY": "f"},
            [("FTP_PROXY", "f"), ("ftp_proxy", "f"), ("NO_PROXY", "n"), ("no_proxy", "n")],
        ),
    ],
)
def test_proxies_are_seen_in_both_spellings(given: dict[str, str], seen: list[tuple[str, str]]) -> None:
    assert list(proxy_env(given)) == seen
