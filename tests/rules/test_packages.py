"""What users install: wheel and sdist carry the grammar, the types and the licence, and work on their own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from imagesmith.cli.manpages import shared_files
from tests.support import PROJECT, lacking

pytestmark = pytest.mark.slow
GRAMMAR = sorted(p.name for p in (PROJECT / "grammar").iterdir())


def build(what: str, source: Path, out: Path) -> Path:
    """The wheel or sdist that hatchling makes of a source folder."""
    if importlib.util.find_spec("hatchling") is None:
        lacking("hatchling is not installed")
    command = [sys.executable, "-m", "hatchling", "build", "-t", what, "-d", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", PROJECT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as t:
        t.extractall(folder)  # our own; the filter that newer Pythons have is not in 3.11.2
    (top,) = folder.iterdir()
    return top


@pytest.fixture(scope="module", params=["checkout", "sdist"])
def wheel(request: pytest.FixtureRequest, unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = PROJECT if request.param == "checkout" else unpacked
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def again(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", unpacked, tmp_path_factory.mktemp("again"))


def test_sdist_holds_what_builds_and_tests_it(unpacked: Path) -> None:
    assert sorted(p.name for p in (unpacked / "grammar").iterdir()) == GRAMMAR
    wanted = (
        "hatch_build.py",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "tests/run.py",
        "fixtures/demo/run.py",
        "fixtures/demo/bootstrap.py",
    )
    assert [path for path in wanted if not (unpacked / path).is_file()] == []


def test_wheel_holds_package_grammar_types_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as z:
        names = z.namelist()
    assert sorted(n.split("/")[-1] for n in names if n.startswith("imagesmith/_grammar/")) == GRAMMAR
    assert "imagesmith/py.typed" in names
    assert any(n.endswith(".dist-info/licenses/LICENSE") for n in names)
    tops = {n.split("/")[0] for n in names}
    assert {t for t in tops if not t.endswith((".dist-info", ".data"))} == {"imagesmith"}


def test_wheel_holds_man_pages_and_completions(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as z:
        found = {
            n.partition(".data/data/share/")[2]: z.read(n).decode() for n in z.namelist() if ".data/" in n
        }
    assert found == shared_files()


def test_wheel_has_the_same_bytes_again(wheel: Path, again: Path) -> None:
    assert again.read_bytes() == wheel.read_bytes()


def test_parsers_of_all_commands_need_nothing_that_is_installed() -> None:
    """So that the wheel can be built in an environment that has hatchling alone."""
    program = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        "from imagesmith.cli.manpages import shared_files\n"
        "print(len(shared_files()))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{len(shared_files())}\n"), done.stderr


def test_wheel_parses_a_dockerfile_with_its_own_grammar(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as z:
        z.extractall(tmp_path / "site")
    program = (
        "import imagesmith, pathlib\n"
        "from imagesmith.dockerfile.parse import parse\n"
        "print(pathlib.Path(imagesmith.__file__).parent)\n"
        "print(len(parse(b'FROM scratch\\nCOPY a /\\n').stages))\n"
    )
    site = tmp_path / "site"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=site)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(site / "imagesmith"), "1"]
