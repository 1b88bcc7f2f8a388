"""The part of the metadata that depends on where the project is hosted; the rest is in pyproject.toml.

An index shows README.md without the files beside it, so its relative links are made absolute. The address of the
repository is written nowhere: it comes from the variables that GitHub Actions sets. Without them links stay relative.
"""

import os
import pathlib
import re

from setuptools import setup

ROOT = pathlib.Path(__file__).parent


def repository() -> str:
    """Return the address of the repository, or an empty string if it is unknown."""
    name = os.environ.get("GITHUB_REPOSITORY")
    return f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}" if name else ""


def absolute_links(text: str, address: str, ref: str) -> str:
    """Replace relative links and pictures of a Markdown text by those of a commit or tag of the repository."""
    text = re.sub(r"(?<=\]\()(?![a-z]+:|#)", f"{address}/blob/{ref}/", text)
    return re.sub(r'\b(src|srcset)="(?![a-z]+:)', rf'\1="{address}/raw/{ref}/', text)


def metadata() -> dict[str, object]:
    """Return the long description and the links."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    address, urls = repository(), {}
    if address:
        ref = os.environ.get("GITHUB_REF_NAME", "main")
        text = absolute_links(text, address, ref)
        urls = {
            "Source": address,
            "Documentation": f"{address}/tree/{ref}/docs",
            "Changelog": f"{address}/blob/{ref}/CHANGELOG.md",
            "Issues": f"{address}/issues",
        }
    return {"long_description": text, "long_description_content_type": "text/markdown", "project_urls": urls}


if __name__ == "__main__":
    setup(**metadata())
