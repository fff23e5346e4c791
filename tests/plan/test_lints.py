"""Every build check: one Dockerfile that it finds something in, and one near miss that is clean."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from imagesmith.dockerfile.lint import LINKED_FOLDER, RULES, LintConfig
from imagesmith.errors import DockerfileError
from imagesmith.events import Warned
from imagesmith.oci import mediatype as mt
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import host_platform
from tests.kitchen import Kitchen
from tests.support import IMAGESMITH

#: rule -> (a Dockerfile that breaks it, the line that is told, one that keeps it)
CASES = {
    "StageNameCasing": ("FROM scratch AS Up", 1, "FROM scratch AS up"),
    "FromAsCasing": ("FROM scratch as a", 1, "from scratch as a"),
    "NoEmptyContinuation": ("FROM scratch\nENV a=1 \\\n\n b=2", 4, "FROM scratch\nENV a=1 \\\n # c\n b=2"),
    "ConsistentInstructionCasing": ("FROM scratch\nenv a=1", 2, "from scratch\nenv a=1"),
    "DuplicateStageName": ("FROM scratch AS a\nFROM scratch AS a", 2, "FROM scratch AS a\nFROM scratch AS b"),
    "ReservedStageName": ("FROM scratch AS context", 1, "FROM scratch AS contexts"),
    "JSONArgsRecommended": ("FROM scratch\nCMD a b", 2, 'FROM scratch\nSHELL ["/s"]\nCMD a b'),
    "MaintainerDeprecated": ("FROM scratch\nMAINTAINER me", 2, "FROM scratch\nLABEL maintainer=me"),
    "UndefinedArgInFrom": ("FROM ${A:-scratch}", 1, "ARG A\nFROM ${A:-scratch}"),
    "WorkdirRelativePath": ("FROM scratch\nWORKDIR a", 2, "FROM scratch\nWORKDIR /\nWORKDIR a"),
    "UndefinedVar": ("FROM scratch\nENV a=$b", 2, "FROM scratch\nARG b\nENV a=$b"),
    "MultipleInstructionsDisallowed": (
        'FROM scratch\nCMD ["a"]\nCMD ["b"]',
        2,
        'FROM scratch AS a\nCMD ["a"]\nFROM a\nCMD ["b"]',
    ),
    "LegacyKeyValueFormat": ("FROM scratch\nENV a b", 2, "FROM scratch\nENV a=b"),
    "RedundantTargetPlatform": (
        "FROM --platform=$TARGETPLATFORM scratch",
        1,
        "FROM --platform=$BUILDPLATFORM scratch",
    ),
    "SecretsUsedInArgOrEnv": ("FROM scratch\nARG MY_TOKEN", 2, "FROM scratch\nARG TOKEN_FILE"),
    "InvalidDefaultArgInFrom": ("ARG A\nFROM ${A}", 2, "ARG A=scratch\nFROM ${A}"),
    "FromPlatformFlagConstDisallowed": (
        "FROM --platform=linux/arm64 scratch AS a",
        1,
        "FROM --platform=linux/arm64 scratch AS on-arm64",
    ),
    "CopyIgnoredFile": ("FROM scratch\nCOPY ignored /", 2, "FROM scratch\nCOPY kept /"),
    "InvalidDefinitionDescription": (
        "# check=experimental=all\nFROM scratch\n# words\nARG A",
        4,
        "# check=experimental=all\nFROM scratch\n# A is described\nARG A",
    ),
    "ExposeProtoCasing": ("FROM scratch\nEXPOSE 80/TCP", 2, "FROM scratch\nEXPOSE 80/tcp"),
    "ExposeInvalidFormat": ("FROM scratch\nEXPOSE 8080:80", 2, "FROM scratch\nEXPOSE 80-81"),
}


def check(folder: Path, dockerfile: str, *flags: str) -> tuple[int, list[tuple[str, int]]]:
    """The exit status of `--call check`, and each warning's rule and line."""
    context = folder / "context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(dockerfile + "\n")
    (context / ".dockerignore").write_text("ignored\n")
    command = [
        *IMAGESMITH,
        "build",
        "--root",
        str(folder / "root"),
        "--call",
        "check,format=json",
        *flags,
        str(context),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["warnings"]
    return done.returncode, [(w["ruleName"], w["location"]["ranges"][0]["start"]["line"]) for w in found]


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_tells_the_line_that_breaks_it(rule: str, tmp_path: Path) -> None:
    broken, line, _ = CASES[rule]
    flags = ["--build-arg", "A=scratch"] if rule == "InvalidDefaultArgInFrom" else []
    status, found = check(tmp_path, broken, *flags)
    assert (rule, line) in found
    assert status == 1


@pytest.mark.parametrize("rule", CASES)
def test_a_near_miss_is_clean(rule: str, tmp_path: Path) -> None:
    _, _, kept = CASES[rule]
    assert rule not in [name for name, _ in check(tmp_path, kept)[1]]


def test_every_rule_has_a_case_but_those_that_need_an_image() -> None:
    assert set(RULES) - set(CASES) == {"InvalidBaseImagePlatform", LINKED_FOLDER}


def test_a_base_of_another_platform_is_told_where_it_was_not_asked_for(kitchen: Kitchen) -> None:
    foreign, layout = "linux/mips64le", kitchen.root.parent / "base"
    kitchen.build("FROM scratch\nENV A=1\n", platform=foreign, outputs=[f"type=oci,tar=false,dest={layout}"])
    base = ["--build-context", f"base=oci-layout://{layout}"]
    broken, kept = "FROM scratch AS a\nFROM base", f"FROM --platform={foreign} base AS on-mips64le"
    assert check(kitchen.root.parent, broken, *base) == (1, [("InvalidBaseImagePlatform", 2)])
    assert check(kitchen.root.parent, kept, *base) == (0, [])
    kitchen.build(broken, contexts={"base": f"oci-layout://{layout}"})
    (told,) = [e for e in kitchen.events if isinstance(e, Warned)]
    pulled = f'Base image base was pulled with platform "{foreign}"'
    assert told.text == f'{pulled}, expected "{host_platform()}" for current build'


def test_a_comment_above_an_instruction_silences_a_rule_there_alone(tmp_path: Path) -> None:
    text = "FROM scratch\n# check=skip=SecretsUsedInArgOrEnv\nARG KEY\nARG TOKEN"
    assert check(tmp_path, text) == (1, [("SecretsUsedInArgOrEnv", 4)])


def test_a_clean_file_ends_with_status_0(tmp_path: Path) -> None:
    assert check(tmp_path, "FROM scratch") == (0, [])


def test_error_true_fails_the_build_and_names_the_rules(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("# check=error=true\nFROM scratch\nARG KEY\n")
    command = [*IMAGESMITH, "build", "--root", str(tmp_path / "root"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "lint violation found for rules: SecretsUsedInArgOrEnv" in done.stderr


@pytest.mark.parametrize("text", ["nothing=x", "skip", "error=perhaps"])
def test_a_bad_check_directive_is_refused(text: str) -> None:
    with pytest.raises(DockerfileError, match="failed to parse check option"):
        LintConfig.parse(text)


def test_names_of_rules_become_addresses() -> None:
    assert RULES["JSONArgsRecommended"].url.endswith("/rule/json-args-recommended/")
    assert RULES["InvalidBaseImagePlatform"].url == ""


@pytest.mark.parametrize(
    ("ignored", "source", "told"),
    [
        ("secret", "./x/../secret", "secret"),
        ("docs", "docs/", "docs"),
        ("docs", "docs//deep/./f", "docs/deep/f"),
        ("docs", "/docs", ""),  # as BuildKit has it: a pattern does not match a path with a slash before it
        ("*", "/docs/f", "/docs/f"),
        ("**/f", "/docs/f", "/docs/f"),
        ("secret", "../secret", ""),
        ("**/secret", "../secret", "../secret"),
        ("*.md", "*.md", "*.md"),
        ("*.md", "a*.md", "a*.md"),
        ("docs", "d*", ""),
        ("docs", ".", ""),
        ("*", "./", "."),
        ("*", "/", "/"),
        ("**", "//", "/"),
        ("**/*", "./.", "."),
        ("./docs/../secret", "secret", "secret"),
        ("/secret", "secret", "secret"),
    ],
)
def test_sources_are_cleaned_and_held_against_the_ignore_file(
    kitchen: Kitchen, ignored: str, source: str, told: str
) -> None:
    text = f'FROM scratch AS a\nADD ["{source}", "/"]\nFROM scratch\n'
    kitchen.write({".dockerignore": "a.md\n", "D.prod.dockerignore": f"{ignored}\n", "D.prod": text})
    command = [*IMAGESMITH, "build", "--root", str(kitchen.root), "--call", "check,format=json"]
    command += ["-f", str(kitchen.context / "D.prod"), str(kitchen.context)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    details = [w["detail"] for w in json.loads(done.stdout)["warnings"]]
    want = [f'Attempting to Add file "{told}" that is excluded by .dockerignore'] if told else []
    assert details == want


def test_a_platform_argument_that_is_declared_again_keeps_its_value(tmp_path: Path) -> None:
    assert (
        check(tmp_path, "ARG TARGETARCH\nFROM scratch AS a\nFROM base-$TARGETARCH AS b", "--target=a")[1]
        == []
    )


def base_layout(folder: Path) -> Path:
    """An image with a folder for all, one of somebody else, a link and a file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, mode, owner in (
            ("d", tarfile.DIRTYPE, 0o755, (0, 0)),
            ("d/o", tarfile.DIRTYPE, 0o755, (5, 6)),
            ("f", tarfile.REGTYPE, 0o644, (0, 0)),
            ("l", tarfile.SYMTYPE, 0o777, (0, 0)),
            ("t", tarfile.DIRTYPE, 0o1777, (0, 0)),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode, (info.uid, info.gid) = kind, mode, owner
            info.linkname = "t" if name == "l" else ""
            tar.addfile(info)
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(media_type: str, data: bytes) -> Descriptor:
        d = Descriptor(media_type=media_type, digest=digest_bytes(data), size=len(data))
        (blobs / d.digest.hex).write_bytes(data)
        return d

    layer = put(mt.OCI_LAYER, out.getvalue())
    config = ImageConfig(platform=host_platform(), diff_ids=(layer.digest,))
    manifest = Manifest.build(put(mt.OCI_CONFIG, config.to_bytes()), [layer])
    entry = put(mt.OCI_MANIFEST, manifest.raw)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry.to_json()]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("COPY --link f /d/f", ""),
        ("COPY f /t/f", ""),
        ("COPY --link --chmod=0644 f /t/f", ""),  # --chmod makes it a plain copy
        ("COPY --link f /new/f", ""),
        ("COPY --link f /t/f", "COPY --link makes /t 0755 0:0, in the base image it is 1777 0:0"),
        ("COPY --link f /t/", "COPY --link makes /t 0755 0:0, in the base image it is 1777 0:0"),
        ("ADD --link f /d/o/f", "ADD --link makes /d/o 0755 0:0, in the base image it is 0755 5:6"),
        (
            "COPY --link --chown=5:6 f /d/o/f",
            "COPY --link makes /d 0755 5:6, in the base image it is 0755 0:0",
        ),
        ("COPY --link f /l/f", "COPY --link makes /l a folder, in the base image it is a link to t"),
        ("COPY --link f /f/f", "COPY --link makes /f a folder, in the base image it is no folder"),
        ("WORKDIR /t\nCOPY --link f .", "COPY --link makes /t 0755 0:0, in the base image it is 1777 0:0"),
    ],
)
def test_a_linked_copy_over_a_folder_of_the_base_is_told_where_it_is_asked_for(
    kitchen: Kitchen, line: str, told: str
) -> None:
    kitchen.write({"f": "1\n"})
    layout = base_layout(kitchen.root.parent / "base")
    for asked in (True, False):
        directive = f"# check=experimental={LINKED_FOLDER}\n" if asked else ""
        kitchen.build(f"{directive}FROM base\n{line}\n", contexts={"base": f"oci-layout://{layout}"})
        texts = [e.text for e in kitchen.events if isinstance(e, Warned) and e.rule == LINKED_FOLDER]
        assert texts == ([told] if told and asked else [])
