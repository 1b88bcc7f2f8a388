"""The documentation site: `tox run -e docs` builds it, with warnings as errors and without network."""

import fnmatch
import pathlib
import re
import shutil
import sys
from typing import Any

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

project = "msssim"
copyright = "The msssim authors"
version = release = re.search(r'__version__ = "(.*)"', (HERE.parent / "msssim/__init__.py").read_text("utf-8"))[1]

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "_site.mathml"]
exclude_patterns = ["_*"]
smartquotes = False  # they would change the quotes of code in tables: normalize="relu"
templates_path = ["_templates"]
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
    app.connect("builder-inited", _remove_old_pages, priority=1)
    app.connect("builder-inited", _make_reports)
    app.connect("source-read", _list_pages)
    app.connect("source-read", _close_blocks)
    app.connect("source-read", _keep_numbers)
    app.connect("source-read", _take_document)
    app.add_role("doi", _doi)


def _remove_old_pages(app: Any) -> None:
    """Remove the pages that autosummary made earlier: a name may not exist any more."""
    shutil.rmtree(HERE / "api", ignore_errors=True)


def _make_reports(app: Any) -> None:
    from _site import reports

    reports.make(pathlib.Path(app.srcdir) / "reports")


def _list_pages(app: Any, name: str, source: list[str]) -> None:
    """In the index, drop patterns of pages that do not exist, and list the pages that it does not name."""
    if name == "index":
        pages = sorted(path.stem for path in HERE.glob("*.md") if path.stem != "index")
        patterns = re.findall(r"^(?:.*<)?([\w*-]+)>?$", source[0], re.MULTILINE)
        for pattern in patterns:
            if "*" in pattern and not fnmatch.filter(pages, pattern):
                source[0] = source[0].replace(f"\n{pattern}\n", "\n")
        others = [page for page in pages if not any(fnmatch.fnmatch(page, pattern) for pattern in patterns)]
        source[0] = source[0].replace("OTHER-PAGES", "\n".join(others))


def _close_blocks(app: Any, name: str, source: list[str]) -> None:
    """Drop the empty line at the end of a block, which only doctest needs."""
    source[0] = source[0].replace("\n\n```\n", "\n```\n")


def _keep_numbers(app: Any, name: str, source: list[str]) -> None:
    """Keep numbers such as 1e-5 in cells of tables in one line, by a hyphen at which lines do not break."""
    cells = r"^\|[^`\n]*\|$"
    source[0] = re.sub(cells, lambda row: re.sub(r"(?<=\de)-(?=\d)", "\u2011", row[0]), source[0], flags=re.MULTILINE)


def _take_document(app: Any, name: str, source: list[str]) -> None:
    """Replace a page that points to a document in the root of the repository by that document."""
    if name in _DOCUMENTS:
        text = (HERE.parent / f"{name.upper()}.md").read_text(encoding="utf-8")
        text = text.replace("](docs/", "](")
        source[0] = re.sub(rf"\]\(({'|'.join(map(str.upper, _DOCUMENTS))})\.md", _in_the_site, text)


_DOCUMENTS = ("architecture", "contributing", "changelog")


def _in_the_site(link: re.Match[str]) -> str:
    return f"]({link[1].lower()}.md"


def _doi(name: str, rawtext: str, text: str, *_: Any, **__: Any) -> tuple[list[Any], list[Any]]:
    """Link a DOI."""
    from docutils import nodes

    return [nodes.reference(rawtext, f"doi:{text}", refuri=f"https://doi.org/{text}")], []
