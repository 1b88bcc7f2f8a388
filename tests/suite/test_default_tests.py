"""The tests on the emulated GPU that run by default exist: a renamed one would run in tests-full only."""

import ast
import pathlib

import pytest

KERNELS = pathlib.Path(__file__).parents[1] / "kernels"


def _by_default():
    tree = ast.parse((KERNELS / "conftest.py").read_text(encoding="utf-8"))
    (table,) = (node.value for node in tree.body if isinstance(node, ast.AnnAssign) and node.target.id == "BY_DEFAULT")
    for file, tests in zip(table.keys, table.values, strict=True):
        yield from ((file.value, test.value) for test in tests.keys)


@pytest.mark.parametrize(("file", "test"), list(_by_default()))
def test_default_test_exists(file, test):
    tree = ast.parse((KERNELS / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
