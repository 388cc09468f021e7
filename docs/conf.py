"""How the documentation is built: sphinx-build -W docs docs/_build"""

from importlib.metadata import version as installed

project = "Chancy"
author = "the Chancy contributors"
copyright = author
release = version = installed("chancy")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "examples"]
nitpicky = True
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {release}"
