"""hmmlearn's own tests with these classes in place; minutes where hmmlearn is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "bench" / "hmmlearn_tests.py"


@pytest.mark.slow
def test_only_known_tests_of_hmmlearn_fail():
    pytest.importorskip("hmmlearn", reason="hmmlearn is not installed: pip install hmmlearn")
    found = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-3000:]
