from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from imagesmith.errors import UsageError
from imagesmith.oci.names import Platform
from imagesmith.outputoptions import (
    annotation_of,
    check_deletions,
    check_places,
    parse_annotation,
    parse_output,
)
from imagesmith.request import Annotation, Output


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("-", Output(type="tar", dest="-")),
        ("out", Output(type="local", dest="out")),
        ("type=oci,dest=x", Output(type="oci", dest="x")),
        ("type=oci", Output(type="oci", dest="-")),
        (
            'type=image,"name=a,b:2",push=true',
            Output(type="image", options={"name": "a,b:2", "push": "true"}),
        ),
        ("type=registry", Output(type="registry")),
        ("TYPE=cacheonly", Output(type="cacheonly")),
        ("type=oci,tar=false,dest=d", Output(type="oci", dest="d", options={"tar": "false"})),
        ("type=image,annotation.K=V", Output(type="image", options={"annotation.k": "V"})),
    ],
)
def test_output_is_read_as_buildx_reads_it(text: str, output: Output) -> None:
    assert parse_output(text) == output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=foo", 'exporter "foo" could not be found'),
        ("dest=x,push=true", "type is required for output"),
        ("type=oci,x", "invalid value x"),
        ("type=oci,dest=x,tar=maybe", "non-bool value specified for tar: maybe"),
        ("type=local", "dest is required for local exporter"),
        ("type=local,dest=-", "dest cannot be stdout for local exporter"),
        ("type=oci,tar=false", "dest is required for oci exporter"),
        ("type=oci,dest=/", "destination file / is a directory"),
        ("type=local,dest=/,mode=x", "mode x is neither copy nor delete"),
        ("type=local,dest=/,compresion=x", "output local has no option compresion"),
        ("type=oci,dest=x,compresion=zstd", r"no option compresion \(did you mean compression\?\)"),
        ("type=image,dest=x", "output image has no dest"),
        ('type=oci,"dest', "invalid output"),
    ],
)
def test_output_that_cannot_be_is_told_why(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_output(text)


def test_folder_output_over_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(UsageError, match=r"destination directory .*f is a file"):
        parse_output(str(tmp_path / "f"))


def test_terminal_gets_no_tar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(
        UsageError, match=r"dest file is required for tar exporter\. refusing to write to console"
    ):
        parse_output("-")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=b", [Annotation("manifest", "a", "b")]),
        ("a=", [Annotation("manifest", "a", "")]),
        ("index:a=b:c", [Annotation("index", "a", "b:c")]),
        (
            "manifest[linux/arm64],index-descriptor:a=b",
            [
                Annotation("manifest", "a", "b", Platform.parse("linux/arm64")),
                Annotation("index-descriptor", "a", "b"),
            ],
        ),
    ],
)
def test_annotation_has_types_and_platforms(text: str, found: list[Annotation]) -> None:
    assert parse_annotation(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", 'invalid annotation "a", expected key=value'),
        ("manifes:a=b", r'unknown annotation type "manifes" \(did you mean manifest\?\)'),
        ("A[:a=b", "invalid annotation type"),
    ],
)
def test_annotation_that_cannot_be_is_told_why(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_annotation(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "oci-mediatypes=false,compression=zstd",
            r'"compression=zstd" conflicts with "oci-mediatypes=false"$',
        ),
        ("oci-mediatypes=false,compression=estargz", r'"compression=estargz" conflicts with'),
        (
            "oci-mediatypes=false,oci-artifact=true",
            r'"oci-artifact=true" conflicts with "oci-mediatypes=false"$',
        ),
        (
            "rewrite-timestamp=true,unpack=true",
            r'^exporter option "rewrite-timestamp" conflicts with "unpack"$',
        ),
        ("unpack=true", "unpack=true is not supported: the store keeps layers packed"),
        ("compression=lz4", "unsupported compression type lz4"),
        ("compression-level=10", "compression-level 10 is not a level of gzip"),
        ("compression=estargz,compression-level=10", "is not a level of estargz"),
        ("compression=zstd,compression-level=23", "is not a level of zstd"),
        ("compression=uncompressed,compression-level=1", "uncompressed has no levels"),
        ("source-date-epoch=now", "^invalid SOURCE_DATE_EPOCH: now$"),
        ("name=*", "Dockerfiles give none"),
        ("danging-name-empty-only=true", "dangling-name-prefix, which is not given"),
        ("dangling-name-prefix=A", "must be lowercase"),
        ("buildinfo-attrs=true", "buildinfo-attrs is not supported: BuildKit has no build info any more"),
        ("annotation-manifes.a=b", r"^unrecognized annotation type manifes \(did you mean manifest\?\)$"),
        ("annotation[.a=b", r"^could not fully parse annotation annotation\[\.a$"),
        ("annotation-index[linux/nothing/x/y].a=b", "linux/nothing/x/y"),
    ],
)
def test_options_that_conflict_are_refused_before_anything_is_built(options: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_output(f"type=image,{options}")


@pytest.mark.parametrize(
    "options",
    [
        "oci-mediatypes=false,compression=gzip,oci-artifact=false",
        "unpack=false,rewrite-timestamp=true",
        "compression=zstd,compression-level=22",
        "compression=gzip,compression-level=0",
        "compression=estargz,compression-level=9",
        "source-date-epoch=",
        "dangling-name-prefix=a/b,danging-name-empty-only=true",
    ],
)
def test_options_at_their_limits_are_taken(options: str) -> None:
    assert parse_output(f"type=image,{options}").options == dict(o.split("=") for o in options.split(","))


@pytest.mark.parametrize("kind", ["local", "tar", "cacheonly"])
def test_annotations_are_of_images_only(kind: str, tmp_path: Path) -> None:
    dest = "" if kind == "cacheonly" else f",dest={tmp_path / 'x'}"
    with pytest.raises(UsageError, match=f"output {kind} has no option annotation\\.a"):
        parse_output(f"type={kind}{dest},annotation.a=b")


def test_annotation_of_an_output_has_a_level_and_a_platform() -> None:
    assert annotation_of("name") is None
    assert annotation_of("annotation.a.b") == ("manifest", None, "a.b")
    assert annotation_of("annotation[linux/arm64].a") == ("manifest", Platform.parse("linux/arm64"), "a")
    assert annotation_of("annotation-index-descriptor.a") == ("index-descriptor", None, "a")


def test_two_outputs_go_to_two_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("out")
    check_places([parse_output(o) for o in ("out", "type=tar,dest=x.tar", "-", "type=image", "type=image")])
    check_places([Output(type="tar", dest="/dev/null")] * 2)
    for pair in (("out", "./out"), ("out", "link"), ("type=tar,dest=x", "type=oci,dest=x")):
        with pytest.raises(UsageError, match=r"two outputs go to"):
            check_places([parse_output(o) for o in pair])
    with pytest.raises(UsageError, match="only one output can go to standard output"):
        check_places([parse_output("-"), parse_output("type=oci")])


def test_only_folders_below_the_working_directory_are_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "link").symlink_to("..")
    check_deletions([parse_output("type=local,dest=out,mode=delete"), parse_output("..")], allowed=False)
    for dest in (".", "..", "/", "../here2", "link", str(tmp_path)):
        wanted = [Output(type="local", dest=dest, options={"mode": "delete"})]
        with pytest.raises(UsageError, match=r"mode=delete would empty .*not below the working directory"):
            check_deletions(wanted, allowed=False)
        check_deletions(wanted, allowed=True)
