"""Which datasets are there, and how to get the others.

python -m datasets list          every name, and how much of it is here
python -m datasets where NAME    its folder, source, licence and layout
python -m datasets check NAME    open or make every image: a line for each broken or misnamed one, exit code 1 if any is
python -m datasets get NAME      download it, or say how to get it by hand
"""

import argparse
import os
import sys

from . import DatasetMissing, download, load, made, names, opinion, references, registry

_KINDS = {"opinion": opinion, "references": references}


def main(arguments=None):
    """Run a command and return the exit code: 0, or 1 when something is missing or broken."""
    parser = argparse.ArgumentParser(
        prog="python -m datasets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", help="every name, and how much of it is here")
    for command, about in (
        ("where", "folder, source, licence and layout"),
        ("check", "open every image and say what is broken"),
        ("get", "download it, or say how to get it by hand"),
    ):
        one = commands.add_parser(command, help=about)
        one.add_argument("name", type=str.lower, choices=names(), metavar="NAME")
    options = parser.parse_args(arguments)
    if options.command == "list":
        return _list()
    entry = registry.entries().get(options.name)
    if entry is None:
        return _made(options.name, options.command == "check")
    return {"where": _where, "check": _check, "get": _get}[options.command](entry)


def _list():
    print(registry.setting())
    for name in names():
        entry = registry.entries().get(name)
        note = "made here, nothing to download" if entry is None else f"{_there(name):<32} {entry.title}"
        print(f"{name:<18}{note}")
    return 0


def _there(name):
    try:
        return load(name).note
    except DatasetMissing:
        return "not here"


def _made(name, check):
    pairs = load(name)
    print(f"{name}: {len(pairs)} pairs, made here, nothing to download")
    print(made(name).__doc__.strip().partition("\n")[0])
    if not check:
        return 0
    problems = 0
    for each in range(len(pairs)):
        try:
            pairs[each]
        except ValueError as error:
            print(error)
            problems += 1
        except ImportError as error:
            print(f"{name}: {error}")
            return 1
    print(f"{name}: {len(pairs) - problems} of {len(pairs)} pairs were made, {problems} problems")
    return int(problems > 0)


def _where(entry):
    base = os.environ.get(registry.VARIABLE) or f"${registry.VARIABLE}"
    lines = {
        "folder": os.path.join(base, *_folder(entry)),
        "here": _there(entry.name),
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
            print(f"  {key:<9}{text}")
    for url, wanted, _, _ in download.files(entry.name):
        print(f"  {'file':<9}{url}  {wanted or 'no hash is published'}")
    return 0


def _matlab(entry, base):
    """Where the scores that Wang's MATLAB code gave are looked for; no download brings them."""
    if entry.kind != "opinion":
        return ""
    path = os.path.join(base, opinion.FOLDER, opinion.matlab_file(entry.name))
    columns = ", ".join(opinion.MATLAB_COLUMNS)
    return f"{path} ({'here' if os.path.isfile(path) else 'not here'}): a CSV of {columns}; optional"


def _folder(entry):
    return (opinion.FOLDER, entry.folders[0]) if entry.kind == "opinion" else (entry.folders[0],)


def _check(entry):
    try:
        found, problems = _KINDS[entry.kind].inspect(entry.name)
    except DatasetMissing as missing:
        print(missing)
        return 1
    for problem in problems:
        print(problem)
    print(f"{entry.name}: {found} of {entry.count} images are here, {len(problems)} problems")
    return int(bool(problems) or not found)


def _get(entry):
    try:
        registry.root(entry.name)
        if _there(entry.name).startswith(f"{entry.count} of "):
            print(f"{entry.name}: all of it is here already")
            return 0
        print(f"{entry.title}; licence: {entry.licence}")
        download.get(entry.name)
    except DatasetMissing as missing:
        print(missing)
        return 1
    except (OSError, ValueError, ImportError) as error:
        print(f"{entry.name}: {error}")
        print(f"By hand, from {entry.home}: {entry.by_hand}. Folders are meant below {registry.VARIABLE}.")
        return 1
    return _check(entry)


if __name__ == "__main__":
    sys.exit(main())
