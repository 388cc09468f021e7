"""How the documentation is built: sphinx-build -W docs docs/_build"""

import re
from importlib.metadata import version as installed

from sphinx.util.nodes import make_refnode

project = "Chancy"
author = "the Chancy contributors"
copyright = author
release = version = installed("chancy")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "examples"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {release}"

# The reference is made of the docstrings, in which `code` is written as in Markdown.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
nitpicky = True
# There is no inventory of other projects here, and type variables and protocols have no page.
nitpick_ignore_regex = [
    ("py:.*", r"(?!chancy).*"),
    ("py:class", r"chancy_\w+(\.\w+)+\.(F|P|R|T|R_co|Pusher|SyncPusher|Registered)"),
]


def show_code(app, what, name, obj, options, lines):
    """Have the indented lines of a docstring shown as code."""
    language = "text" if what == "module" else "python"
    block = re.compile(r"(?<=\n\n)(?:^    .*\n?|^\n)+", re.MULTILINE)
    text = block.sub(rf".. code-block:: {language}\n\n\g<0>\n", "\n".join(lines))
    lines[:] = text.split("\n")


def write_factories(app, what, name, obj, options, signature, returns):
    """Write a default that is made afresh for each value, or is a function, as `...`."""
    return signature and re.sub(r"\bNOTHING\b|<function .*?>+", "...", signature), returns


def find_by_last_name(app, env, node, content):
    """Find what an annotation names as its module does: `JobFilter` is `chancy.JobFilter`."""
    last = node["reftarget"].rpartition(".")[2]
    found = {
        (entry.docname, entry.node_id, entry.objtype)
        for name, entry in env.domains.python_domain.objects.items()
        if name.rpartition(".")[2] == last and not entry.aliased
    }
    if node.get("refdomain") != "py" or len(found) != 1:
        return None
    docname, anchor, _ = found.pop()
    return make_refnode(app.builder, node["refdoc"], docname, anchor, content, last)


def setup(app):
    app.connect("autodoc-process-docstring", show_code)
    app.connect("autodoc-process-signature", write_factories)
    app.connect("missing-reference", find_by_last_name)
