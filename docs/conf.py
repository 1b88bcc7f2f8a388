"""The documentation site: `tox run -e docs` builds it, with warnings as errors and without network."""

import fnmatch
import pathlib
import re
import sys
from typing import Any

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

project = "msssim"
copyright = "The msssim authors"
version = release = re.search(r'__version__ = "(.*)"', (HERE.parent / "msssim/__init__.py").read_text("utf-8"))[1]

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "_site.mathml"]
exclude_patterns = ["_*"]
templates_path = ["_templates"]
# A pattern of the index may match nothing: a page of a later version, or reports that were not made.
suppress_warnings = ["toc.empty_glob"]
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings have the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "furo"
html_title = f"msssim {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False


def setup(app: Any) -> None:
    """Make the pages of reports before the sources are read, and list every page in the index."""
    app.connect("builder-inited", _make_reports)
    app.connect("source-read", _list_other_pages)
    app.add_role("doi", _doi)


def _make_reports(app: Any) -> None:
    from _site import reports

    reports.make(pathlib.Path(app.srcdir) / "reports")


def _list_other_pages(app: Any, name: str, source: list[str]) -> None:
    """Replace the line OTHER-PAGES of the index by the pages that no name or pattern in it matches."""
    if name == "index":
        patterns = re.findall(r"^(?:.*<)?([\w*-]+)>?$", source[0], re.MULTILINE)
        pages = sorted(path.stem for path in HERE.glob("*.md") if path.stem != "index")
        others = [page for page in pages if not any(fnmatch.fnmatch(page, pattern) for pattern in patterns)]
        source[0] = source[0].replace("OTHER-PAGES", "\n".join(others))


def _doi(name: str, rawtext: str, text: str, *_: Any, **__: Any) -> tuple[list[Any], list[Any]]:
    """Link a DOI."""
    from docutils import nodes

    return [nodes.reference(rawtext, f"doi:{text}", refuri=f"https://doi.org/{text}")], []
