"""What stands where among the tests."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
SRC = TESTS.parent / "src"
OTHERS = {
    "server": "docker/",
    "test_coverage.py": "tests/benchmarks/coverage.py",
    "test_experiments.py": "conf/experiment/",
    "test_help.py": "all commands",
    "test_inner_folds.py": "inner_folds= and threshold= of src/run.py, src/predict.py and src/compare.py",
    "test_layout.py": "the tests",
    "test_own_operators.py": "src/README.md",
    "test_readme.py": "README.md and conf/README.md",
    "test_scale.py": "tests/benchmarks/scale.py",
}
"""Tests that are of no module of `src/`, and of what they are."""
TEST_OR_CONFTEST = re.compile(r"^\s*(?:from|import) tests\.(?:\w+\.)*(?:test_\w+|conftest)\b", re.MULTILINE)


def test_what_tests_share_stands_in_support_and_no_test_imports_another() -> None:
    found = {path.relative_to(TESTS): TEST_OR_CONFTEST.findall(path.read_text()) for path in TESTS.rglob("*.py")}
    assert not {str(path): lines for path, lines in found.items() if lines}


def test_tests_of_a_module_stand_where_it_stands() -> None:
    tests = [path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")]
    assert not [
        str(path)
        for path in tests
        if path.parts[0] not in OTHERS and not (SRC / path.parent / path.name.removeprefix("test_")).is_file()
    ]
