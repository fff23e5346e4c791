"""WordPress's plugins."""

from __future__ import annotations

import pytest

from tests.sbom.looking import purls, read_all

AT = "var/www/html/wp-content/plugins/akismet/akismet.php"
HEAD = b"""<?php
/**
 * Plugin Name: Akismet: Spam Protection
 * Plugin URI: https://akismet.com/
 * Version: 5.3
 * Author: Automattic - Anti-spam Team
 * License: GPLv2 or later
 */
 """


@pytest.mark.parametrize("data", [HEAD, HEAD.replace(b" * ", b""), HEAD.replace(b"\n", b"\r\n")])
def test_head(data: bytes) -> None:
    (package,), warnings = read_all({AT: data})
    assert warnings == []
    assert package.purl == "pkg:wordpress-plugin/Akismet:%20Spam%20Protection@5.3"
    assert (package.licenses, package.homepage) == (("GPLv2 or later",), "https://akismet.com/")
    assert package.supplier == "Organization: Automattic - Anti-spam Team"


def test_other_files_of_a_plugin() -> None:
    assert purls({AT: b"<?php // Version: 1", AT.replace("akismet.php", "lib/x.php"): HEAD}) == []
    assert purls({AT: b" " * 9000 + HEAD}) == []
