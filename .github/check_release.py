"""Check that a tag, the version, CHANGELOG.md and CITATION.cff agree: ``python .github/check_release.py v1.1.0``."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[1]


def problems(tag: str, root: pathlib.Path = ROOT) -> list[str]:
    """Return what is wrong with a release of this tag."""
    version = tag.removeprefix("v")
    texts = {
        name: (root / name).read_text(encoding="utf-8")
        for name in ("msssim/__init__.py", "CHANGELOG.md", "CITATION.cff")
    }
    found = []
    if not re.fullmatch(r"v\d+\.\d+\.\d+((a|b|rc)\d+)?", tag):
        found.append(f"the tag must be like v1.2.3, got {tag}")
    if f'__version__ = "{version}"' not in texts["msssim/__init__.py"]:
        found.append(f"msssim/__init__.py must have __version__ = {version!r}")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", texts["CHANGELOG.md"], re.MULTILINE):
        found.append(f"CHANGELOG.md must have a section ## [{version}] with the date")
    if not re.search(rf"^version: {re.escape(version)}$", texts["CITATION.cff"], re.MULTILINE):
        found.append(f"CITATION.cff must have version: {version}")
    return found


if __name__ == "__main__":
    found = problems(sys.argv[1])
    print(*found, sep="\n", file=sys.stderr)
    sys.exit(bool(found))
