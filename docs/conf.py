"""How the pages become a site: `python -m sphinx -W docs OUT`, without a network.

Why: pages are Markdown that reads well as it lies here; what the code knows (commands, flags, statuses,
variables, and what flags of other tools are here) is asked of the code by generate.py while the site is made.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
if (HERE.parent / "imagesmith").is_dir():
    sys.path.insert(0, str(HERE.parent))  # the checkout, before one that is installed

import generate  # noqa: E402 - it lies beside this file

import imagesmith  # noqa: E402

project = "imagesmith"
author = "the authors of imagesmith"
version = release = imagesmith.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generate"]
exclude_patterns = ["out", "ci"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
suppress_warnings = ["misc.highlighting_failure"]  # a listing may leave out parts of a file, as `…`
highlight_language = "none"  # commands of a shell, with comments, and what they print
smartquotes = False  # -- is a flag's beginning

python_maximum_signature_line_length = 88
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_param = False

html_theme = "furo"
html_title = f"imagesmith {release}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = False
html_permalinks_icon = "#"

generate.write_reference(HERE)
