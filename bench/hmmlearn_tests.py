"""hmmlearn's own tests with fastvi's classes in place: `python bench/hmmlearn_tests.py`.

hmmlearn must be installed beside fastvi; its wheel holds its tests. What they call of hmmlearn's
private hooks is given to subclasses here. `KNOWN` lists the tests that then fail, and why; any
other failure ends the command with status 1.
"""

import os
import sys
from collections import Counter
from pathlib import Path

import hmmlearn
import hmmlearn.hmm
import hmmlearn.vhmm
import pytest

import fastvi

TESTS = Path(hmmlearn.__file__).parent / "tests"
CLASSES = {
    hmmlearn.hmm: ["GaussianHMM", "CategoricalHMM", "PoissonHMM", "MultinomialHMM", "GMMHMM"],
    hmmlearn.vhmm: ["VariationalGaussianHMM", "VariationalCategoricalHMM"],
}
# Parts of names of tests, and why they fail; "For users of hmmlearn" in docs/sequences.md says more
KNOWN = {
    "test_fit_ignored_init_warns": "attributes that are drawn again: a warning, not a log record",
    "test_fit_too_little_data": "no warning of fits with more parameters than numbers",
    "test_fit_with_priors": "n_iter is at least 1",
    "test_issue_385": "covars_ has the shape of its type",
    "test_underflow_from_scaling": "covars_ has the shape of its type",
    "invariant_to_sequence_ordering": "monitor_ cannot be replaced",
    "test_chunked": "covariances of mixtures are about the new means",
    "n_features_n_trials": "private checks",
    "test__check_and_set": "private checks",
    "test_n_features": "n_features is not changed by a fit",
    "test_init_incorrect_priors": "priors set as attributes: wanted as arguments",
    "test_common_initialization": "priors set as attributes: wanted as arguments",
    "test_initialization": "priors set as attributes: wanted as arguments",
}
# Of other classes than those in place: the base class, its helpers, and priors' divergences
OTHERS = ["test_base.py", "test_utils.py", "test_kl_divergence.py"]


def in_place(kind):
    """A subclass with the private hooks that tests call."""

    def check(self):
        self._parameters()

    def init(self, X, lengths=None):
        X = self._checked(X, reset=True)
        stream = self._stream(X, None if isinstance(lengths, int) else lengths)
        rows = self._arranged(stream, X)
        start = self._begin(rows, self._to_begin_with(X), self._given(None), self.random_state)
        self._take(*start)

    covars = property(lambda self: self.covars_)
    return type(kind.__name__, (kind,), {"_check": check, "_init": init, "_covars_": covars})


class Outcomes:
    """A plugin of pytest that keeps what became of each test."""

    def __init__(self):
        self.found = {}

    def pytest_runtest_logreport(self, report):
        name = report.nodeid.rsplit("/", 1)[-1]
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.found[name] = crash.message.splitlines()[0] if crash else "failed"
        elif report.when == "call":
            self.found[name] = ""


def reason_of(name):
    """Why a test is known to fail, or nothing."""
    return next((why for part, why in KNOWN.items() if part in name), "")


def main():
    for module, names in CLASSES.items():
        for name in names:
            setattr(module, name, in_place(getattr(fastvi, name)))
    outcomes = Outcomes()
    options = ["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"]
    folders = ["-c", os.devnull, "--rootdir", str(TESTS), "--confcutdir", str(TESTS)]
    options += [*folders, "-W", "ignore"]
    os.environ.setdefault("HMMLEARN_SEED", "1")
    files = sorted(path for path in TESTS.glob("test_*.py") if path.name not in OTHERS)
    pytest.main([*options, *sys.argv[1:], *map(str, files)], plugins=[outcomes])
    failed = {name: message for name, message in outcomes.found.items() if message}
    why = Counter(reason_of(name) for name in failed)
    print(
        f"\n{len(outcomes.found)} tests of hmmlearn {hmmlearn.__version__}, {len(failed)} failed:"
    )
    for reason, count in why.most_common():
        print(f"{count:4}  {reason or 'NOT KNOWN'}")
    for name, message in failed.items():
        if not reason_of(name):
            print(f"  {name}: {message}")
    return 1 if why[""] else 0


if __name__ == "__main__":
    sys.exit(main())
