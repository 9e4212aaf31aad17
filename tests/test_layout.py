"""What stands where among the tests."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
TEST_OR_CONFTEST = re.compile(r"^\s*(?:from|import) tests\.(?:\w+\.)*(?:test_\w+|conftest)\b", re.MULTILINE)


def test_what_tests_share_stands_in_support_and_no_test_imports_another() -> None:
    found = {path.relative_to(TESTS): TEST_OR_CONFTEST.findall(path.read_text()) for path in TESTS.rglob("*.py")}
    assert not {str(path): lines for path, lines in found.items() if lines}
