"""List, check and download datasets.

python -m datasets list          every dataset, and how much of it is available
python -m datasets where NAME    folder, source, licence and layout
python -m datasets check NAME    open or generate every image; print one line per problem, exit code 1 if there is any
python -m datasets get NAME      download, or print how to download by hand
"""

import argparse
import os
import sys
from collections.abc import Sequence

from . import DatasetMissing, download, generator, load, names, references, registry, subjective

_INSPECT = {"subjective": subjective.inspect, "references": references.inspect}
_COMMANDS = {
    "where": "print folder, source, licence and layout",
    "check": "open every image and print the problems",
    "get": "download, or print how to download by hand",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, or 1 if something is missing or broken."""
    parser = argparse.ArgumentParser(
        prog="python -m datasets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="print every dataset and how much of it is available")
    for command, text in _COMMANDS.items():
        one = commands.add_parser(command, help=text)
        one.add_argument("name", type=str.lower, choices=names(), metavar="NAME")
    options = parser.parse_args(arguments)
    if options.command == "list":
        return _list()
    entry = registry.entries().get(options.name)
    if entry is None:
        return _generated(options.name, options.command == "check")
    return {"where": _where, "check": _check, "get": _get}[options.command](entry)


def _list() -> int:
    print(registry.describe_variable())
    for name in names():
        entry = registry.entries().get(name)
        note = "generated, no download needed" if entry is None else f"{_availability(name):<32} {entry.title}"
        print(f"{name:<18}{note}")
    return 0


def _availability(name: str) -> str:
    try:
        return load(name).note
    except DatasetMissing:
        return "not available"


def _generated(name: str, check: bool) -> int:
    pairs = load(name)
    print(f"{name}: {len(pairs)} pairs, generated, no download needed")
    print((generator(name).__doc__ or "").strip().partition("\n")[0])
    if not check:
        return 0
    problems = 0
    for index in range(len(pairs)):
        try:
            pairs[index]
        except ValueError as error:
            print(error)
            problems += 1
        except ImportError as error:
            print(f"{name}: {error}")
            return 1
    print(f"{name}: {len(pairs) - problems} of {len(pairs)} pairs generated, {problems} problems")
    return int(problems > 0)


def _where(entry: registry.Entry) -> int:
    base = os.environ.get(registry.VARIABLE) or f"${registry.VARIABLE}"
    folder = (subjective.FOLDER, entry.folders[0]) if entry.kind == "subjective" else (entry.folders[0],)
    lines = {
        "folder": os.path.join(base, *folder),
        "available": _availability(entry.name),
        "source": entry.home,
        "licence": entry.licence,
        "layout": entry.layout,
        "scores": entry.score,
        "MATLAB": _matlab(entry, base),
        "by hand": entry.by_hand,
    }
    print(entry.title)
    for key, text in lines.items():
        if text:
            print(f"  {key:<10}{text}")
    for remote in download.files(entry.name):
        print(f"  {'file':<10}{remote.url}  {remote.hash or 'no published hash'}")
    return 0


def _matlab(entry: registry.Entry, base: str) -> str:
    """Say where the scores of Wang's MATLAB code are looked for; they cannot be downloaded."""
    if entry.kind != "subjective":
        return ""
    path = os.path.join(base, subjective.FOLDER, subjective.matlab_file(entry.name))
    columns = ", ".join(subjective.MATLAB_COLUMNS)
    return f"{path} ({'found' if os.path.isfile(path) else 'not found'}): a CSV file with {columns}; optional"


def _check(entry: registry.Entry) -> int:
    try:
        found, problems = _INSPECT[entry.kind](entry.name)
    except DatasetMissing as missing:
        print(missing)
        return 1
    for problem in problems:
        print(problem)
    print(f"{entry.name}: {found} of {entry.count} images found, {len(problems)} problems")
    return int(bool(problems) or not found)


def _get(entry: registry.Entry) -> int:
    try:
        registry.data_folder(entry.name)
        if _availability(entry.name).startswith(f"{entry.count} of "):
            print(f"{entry.name}: already complete")
            return 0
        print(f"{entry.title}; licence: {entry.licence}")
        download.get(entry.name)
    except DatasetMissing as missing:
        print(missing)
        return 1
    except (OSError, ValueError, ImportError) as error:
        print(f"{entry.name}: {error}")
        print(f"By hand, from {entry.home}: {entry.by_hand}. Folders are relative to {registry.VARIABLE}.")
        return 1
    return _check(entry)


if __name__ == "__main__":
    sys.exit(main())
