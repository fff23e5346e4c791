"""How pages are read: what counts as a command, and what as a file."""

from __future__ import annotations

from pathlib import Path

from tests.docs.pages import Command, Listing, read

PAGE = """# A page

    imagesmith build \\
      -t app .            # status 4
    TAG=1 imagesmith bake

    error: what is printed

A word on `Dockerfile`:

```dockerfile
FROM scratch
```

```hcl
# docker-bake.hcl
target "a" {}
```

```json
{}
```
"""


def test_commands_and_files_come_in_order(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert read(page) == [
        Command("imagesmith build   -t app .            # status 4", 3, 4),
        Command("TAG=1 imagesmith bake", 5),
        Listing("Dockerfile", "FROM scratch\n"),
        Listing("docker-bake.hcl", '# docker-bake.hcl\ntarget "a" {}\n'),
    ]


def test_a_command_is_known_by_its_program() -> None:
    assert Command("A=1 B_C=2 imagesmith images", 1).program == "imagesmith"
