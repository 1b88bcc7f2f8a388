"""Types of command-line options."""

import argparse


def positive(text):
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1 is wanted, {text} came")
    return number
