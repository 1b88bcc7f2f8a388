"""Types of command-line options."""

import argparse
import tempfile


def positive(text):
    """A whole number of at least 1."""
    return whole(1)(text)


def whole(least):
    """What takes a whole number of at least so much."""

    def number(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"a whole number, at least {least}, is wanted, {text} came")
        return int(text)

    return number


def writable(parser, folder):
    """Make the folder that is to be written to; where it cannot be, say so before any work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        parser.error(f"--out: {error}")
