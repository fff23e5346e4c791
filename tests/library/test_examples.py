"""Every public name of the library has a docstring that is enough, and examples in it that are run."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import tarfile
import types
from pathlib import Path

import pytest

import imagesmith
from tests.library.world import HOST, Template, world

PUBLIC = [name for name in imagesmith.__all__ if not name.startswith("_")]
FUNCTIONS = [name for name in PUBLIC if isinstance(getattr(imagesmith, name), types.FunctionType)]
#: What is made by functions, or has examples of its own where it is made.
VALUES = {"BuildRequest", "BuildResult", "Completed", "Image", "ImagesmithError", "Output", "Running",
          "errors", "events"}  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, base_image: Path) -> Template:
    """What examples find."""
    return Template(tmp_path_factory.mktemp("examples") / "world", base_image)


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - VALUES))
def test_examples_do_what_they_say(
    name: str, template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = getattr(imagesmith, name).__doc__
    found = doctest.DocTestParser().get_doctest(
        text.replace(HOST, template.host), {"imagesmith": imagesmith, "tarfile": tarfile}, name, None, 0
    )
    assert found.examples, "it has no example"
    for example in found.examples:
        example.want = example.want.replace(template.host, HOST)
        if example.exc_msg:
            example.exc_msg = example.exc_msg.replace(template.host, HOST)
    monkeypatch.setenv("IMAGESMITH_ROOT", str(tmp_path / "world/store"))
    told = io.StringIO()
    with world(template, tmp_path / "world"), contextlib.redirect_stderr(io.StringIO()):
        runner = doctest.DocTestRunner(_Checker(template.host), False, doctest.ELLIPSIS)
        failed, tried = runner.run(found, out=told.write)
    assert (failed, tried) == (0, len(found.examples)), told.getvalue()


class _Checker(doctest.OutputChecker):
    """Takes the registry that runs for the one that is named."""

    def __init__(self, host: str) -> None:
        self.host = host

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, got.replace(self.host, HOST), optionflags)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstring_of_a_function_is_enough(name: str) -> None:
    """What it does, what each argument is, what comes of it, what is raised."""
    function = getattr(imagesmith, name)
    code, text = function.__code__, function.__doc__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + (code.co_flags & 0x04 > 0)]
    told = text.split("\nArgs:\n")[-1].split("\n\n")[0] if names else ""
    heads = [line.strip().partition(": ")[0] for line in told.splitlines() if line.startswith("    ")]
    documented = {word for head in heads for word in head.split(", ")}
    assert set(names) - documented == set()
    assert text.splitlines()[0].endswith((".", ";")) or text.splitlines()[1]
    assert "\nExample:\n" in text
    if function.__annotations__["return"] not in ("None", "list[str]", "bytes", "Digest"):
        assert "\nReturns:\n" in text or name in ("pull", "push", "save", "load")


def test_public_names_are_those_that_are_there() -> None:
    assert dir(imagesmith) == sorted(imagesmith.__all__)
    assert len(set(imagesmith.__all__)) == len(imagesmith.__all__)
    for name in imagesmith.__all__:
        assert getattr(imagesmith, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = imagesmith.nothing  # type: ignore[attr-defined]
    assert os.path.exists(Path(imagesmith.__file__).parent / "py.typed")
