"""Optimizers, samplings and variance reduction of the topic model's estimator."""

import pickle
import re

import numpy as np
import pytest
import sklearn
from simulated import best_match, simulate
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastvi import LatentDirichletAllocation as LDA
from fastvi import optimizers
from fastvi.models.plan import SAMPLING

pytestmark = pytest.mark.jit

OPTIMIZERS = [None, 0.1, "adaptive", "adagrad", "rmsprop", "adam", "amsgrad"]
COMBINATIONS = [
    *({"optimizer": name} for name in OPTIMIZERS),
    *({"sampling": name} for name in SAMPLING),
    {"variance_reduction": "svrg", "optimizer": 0.1},
    {"variance_reduction": "window"},
    {"trace_noise": True},
    {"optimizer": optimizers.averaged(optimizers.robbins_monro(), 5)},
]


@pytest.fixture(scope="module")
def data():
    return simulate(300, 60, 4, 40)


def refused_in_streams(estimator):
    """Checks that call `partial_fit`, where SVRG is refused."""
    checks = "check_fit_score_takes_y", "check_n_features_in_after_fitting"
    refused = estimator.variance_reduction == "svrg"
    return dict.fromkeys(checks, "SVRG needs all rows at hand") if refused else {}


@parametrize_with_checks(
    [
        LDA(4, max_iter=3, optimizer="adaptive"),
        LDA(4, max_iter=3, optimizer="adam", sampling="growing"),
        LDA(4, max_iter=3, solver="scvb0", sampling="adaptive", variance_reduction="window"),
        LDA(4, max_iter=3, sampling="importance", variance_reduction="svrg", optimizer=0.2),
    ],
    expected_failed_checks=refused_in_streams,
)
@pytest.mark.slow
def test_more_scikit_learn_checks(estimator, check):
    if getattr(check, "func", check).__name__ == "check_array_api_input":
        pytest.skip("wants SCIPY_ARRAY_API=1 set before SciPy is imported")
    check(estimator)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "options", COMBINATIONS, ids=lambda options: re.sub(" at 0x[0-9a-f]+", "", str(options))
)
def test_topics_are_found(options, data):
    """The median of four topics within 15 % of its words' probability, as the default finds it."""
    lda = LDA(
        4, doc_topic_prior=0.1, topic_word_prior=0.05, max_iter=30, batch_size=50,
        random_state=1, **options,
    ).fit(data.counts)  # fmt: skip
    topics = lda.components_ / lda.components_.sum(axis=1, keepdims=True)
    assert np.median(best_match(topics, data.topics)) < 0.3
    asked = any(value not in (None, "uniform") for value in options.values())
    assert lda.solver_ == ("svi" if asked else "cvb0")
    if asked:
        assert len(lda.history_["batch_size"]) == lda.n_batch_iter_
    wants_noise = options.get("sampling") in ("adaptive", "growing", "coupled")
    if wants_noise or options.get("trace_noise"):
        assert np.all(lda.history_["noise"] > 0)
    else:
        assert "noise" not in lda.history_
    again = pickle.loads(pickle.dumps(sklearn.clone(lda))).fit(data.counts)
    np.testing.assert_array_equal(again.components_, lda.components_)


def test_streams_take_optimizers_and_windows(data):
    for options in (
        {"optimizer": "adaptive"},
        {"optimizer": "adam"},
        {"variance_reduction": "window"},
        {"optimizer": optimizers.averaged(optimizers.robbins_monro(), 2), "solver": "scvb0"},
    ):
        lda = LDA(4, total_samples=300, random_state=0, **options)
        for begin in range(0, 300, 30):
            lda.partial_fit(data.counts[begin : begin + 30])
        assert lda.solver_ == options.get("solver", "svi")
        assert lda.n_batch_iter_ == 10
        assert np.all(np.isfinite(lda.transform(data.counts)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; wanted a fastvi.optimizers.Optimizer, a rate"),
        ({"optimizer": True}, "optimizer is True"),
        ({"optimizer": 0.0}, "rate is 0.0; wanted a number > 0"),
        ({"optimizer": 1.5}, r"optimizer is 1.5; wanted a rate in \(0, 1\]"),
        ({"sampling": "by length"}, "sampling is 'by length'; wanted one of 'uniform'"),
        ({"variance_reduction": "saga"}, "variance_reduction is 'saga'"),
        ({"solver": "cvb0", "optimizer": "adam"}, "optimizer='adam' with solver='cvb0'"),
        ({"solver": "cvb", "sampling": "growing"}, "sampling='growing' with solver='cvb'"),
        ({"solver": "cvb0", "variance_reduction": "svrg"}, "takes no gradient steps"),
        ({"solver": "cvb0", "trace_noise": True}, "trace_noise=True with solver='cvb0'"),
        ({"solver": "vb", "sampling": "importance"}, "every row is in each step"),
        ({"solver": "vb", "variance_reduction": "svrg"}, "has no noise"),
        ({"solver": "scvb0", "optimizer": "adam"}, "LDA has no unconstrained coordinates"),
        (
            {"optimizer": "adam", "variance_reduction": "svrg"},
            "variance_reduction='svrg' works on natural gradients",
        ),
    ],
)
def test_refused_with_a_reason(options, message, data):
    with pytest.raises(ValueError, match=message):
        LDA(4, **options).fit(data.counts)


def test_streams_come_in_their_own_order(data):
    drawn = LDA(4, solver="svi", sampling="importance", random_state=0).partial_fit(data.counts)
    plain = LDA(4, solver="svi", random_state=0).partial_fit(data.counts)
    np.testing.assert_array_equal(drawn.components_, plain.components_)


def test_streams_refuse_what_needs_all_documents(data):
    with pytest.raises(ValueError, match="'svrg' needs all rows"):
        LDA(4, variance_reduction="svrg").partial_fit(data.counts)
