"""Types of command-line options."""

import argparse
import pathlib
import tempfile
from collections.abc import Callable


def positive(text: str) -> int:
    """Convert a text to an integer >= 1."""
    return at_least(1)(text)


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a function that converts a text to an integer >= `minimum`."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"must be an integer >= {minimum}, got {text}")
        return int(text)

    return number


def writable(parser: argparse.ArgumentParser, folder: pathlib.Path) -> None:
    """Make the output folder; if it cannot be written to, stop before anything is measured."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        parser.error(f"--out: {error}")
