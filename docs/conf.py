"""How Sphinx builds the site: `sphinx-build -W --keep-going docs site`."""

import os
import re
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import api_pages  # noqa: E402
from docutils import nodes  # noqa: E402
from sphinx.errors import ExtensionError  # noqa: E402
from sphinx.util.nodes import make_refnode  # noqa: E402

import fastvi  # noqa: E402

project = "fastvi"
author = "the developers of fastvi"
copyright = author
version = release = fastvi.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["examples"]
suppress_warnings = ["config.cache"]  # of functions in the options of the gallery
default_role = "code"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_typehints = "none"  # numpydoc's sections say it
autodoc_preserve_defaults = True
autodoc_member_order = "groupwise"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

INCLUDED = {"../bench/README.md": "running.md", "../CHANGELOG.md": "changes.md"}

sphinx_gallery_conf: dict[str, Any] = {
    "examples_dirs": ["examples"],
    "gallery_dirs": ["gallery"],
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "show_memory": False,
    "write_computation_times": False,
    "within_subsection_order": "FileNameSortKey",
    "reset_modules": ("matplotlib",),
    "matplotlib_animations": True,
    "image_scrapers": ("pictures.scrape",),
}

html_theme = "pydata_sphinx_theme"
html_title = "fastvi"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "show_nav_level": 1,
    "navigation_depth": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

api_pages.write(HERE / "api")


def not_ours(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn's base classes bring along; the API's first page names it."""
    module = getattr(member, "__module__", None) or type(member).__module__
    return True if module.startswith("sklearn") or name.endswith("_request") else None


def plain(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Escape what would be markup, before numpydoc reads the sections."""
    lines[:] = api_pages.escaped("\n".join(lines)).split("\n")


def within(app: Any, name: str, source: list[str]) -> None:
    """Lead links to files outside of this folder to the pages that include them."""
    for outside, inside in INCLUDED.items():
        source[0] = re.sub(rf"\]\({re.escape(outside)}(?=[)#])", f"]({inside}", source[0])


def listed(app: Any, name: str, source: list[str]) -> None:
    """Add pages that no table of contents names to the guides."""
    if name == "guides":
        pages = {path.stem: path.read_text() for path in HERE.glob("*.md")}
        trees = re.findall(r"^```{toctree}\n(.*?)^```", "\n".join(pages.values()), re.M | re.S)
        named = {line.strip() for tree in trees for line in tree.splitlines()}
        left = sorted(set(pages) - named - {"index"})
        source[0] = source[0].rstrip().removesuffix("```") + "\n".join([*left, "```", ""])


PAIR = re.compile(
    r"(^```(?:stan\n|python\n# ).*?^```\n)\n(^```python\n# fastvi\n.*?^```\n)", re.M | re.S
)


def beside(app: Any, name: str, source: list[str]) -> None:
    """Put a program of another tool and that of fastvi beside each other."""
    if name.startswith("coming-from/"):
        source[0] = PAIR.sub(r"::::{container} pair\n\1\n\2::::\n", source[0])


def wider(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Give programs side by side the room of the contents of the page."""
    if page.startswith("coming-from/"):
        context["meta"] = {**(context.get("meta") or {}), "html_theme.sidebar_secondary.remove": ""}


CALL = re.compile(r"(?:fastvi\.)?([A-Za-z_][\w.]*)(?:\(.*\))?", re.DOTALL)


def linked(app: Any, tree: Any, page: str) -> None:
    """Lead the names of public things in running text to their documentation."""
    objects = {o[0]: (o[3], o[4]) for o in app.env.domains["py"].get_objects() if o[2] != "module"}
    for node in list(tree.findall(nodes.literal)):
        called = CALL.fullmatch(node.astext())
        place = objects.get(f"fastvi.{called[1]}") if called else None
        if place is None or isinstance(node.parent, nodes.reference):
            continue
        if place[0] != page:
            node.replace_self(make_refnode(app.builder, page, *place, node.deepcopy()))


def whole(app: Any, failure: Exception | None) -> None:
    """Refuse a site on which a public name is missing."""
    found = {entry[0] for entry in app.env.domains["py"].get_objects()}
    missing = set(api_pages.documented()) - found
    if missing and failure is None:
        raise ExtensionError(f"public names without documentation: {sorted(missing)}")


def setup(app: Any) -> None:
    """Connect what is above."""
    app.connect("doctree-resolved", linked)
    app.connect("html-page-context", wider)
    app.connect("build-finished", whole)
    app.connect("autodoc-process-docstring", plain, priority=100)
    app.connect("source-read", within)
    app.connect("source-read", beside)
    app.connect("source-read", listed)
    app.connect("autodoc-skip-member", not_ours)
