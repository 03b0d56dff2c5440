"""Poisson matrix factorization as a scikit-learn estimator."""

from __future__ import annotations

from typing import Self

import numpy as np

from fastvi.base import checks
from fastvi.base.typing import RandomState, RowsLike
from fastvi.checkpoints import Watching
from fastvi.core import Optimizer
from fastvi.gradients.reduction import Reduction
from fastvi.models.counts import DocumentSource, padded
from fastvi.models.files import Saved
from fastvi.models.poisson.model import Fitted
from fastvi.models.poisson.options import check_form
from fastvi.models.poisson.stream import PoissonStream, random_start

__all__ = ["PoissonFactorization"]


class PoissonFactorization(PoissonStream):
    """Poisson matrix factorization with Gamma priors, for sparse counts.

    Counts are ``X[u, i] ~ Poisson(sum_k theta[u, k] beta[i, k])`` with ``theta[u, k] ~ Gamma(a,
    xi[u])`` and ``beta[i, k] ~ Gamma(c, eta[i])``. In the hierarchical model of Gopalan, Hofman and
    Blei (2015, "Scalable recommendation with hierarchical Poisson factorization") each row has its
    own activity ``1 / xi[u]`` and each column its own popularity ``1 / eta[i]``: ``xi[u] ~
    Gamma(a_prime, a_prime / b_prime)`` and ``eta[i] ~ Gamma(c_prime, c_prime / d_prime)``. The
    posterior is approximated by independent Gamma factors (their table 2), by coordinate ascent
    over all rows, in which the bound never falls except by rounding (about 1e-6 of it in float32),
    or by stochastic variational inference on mini-batches. Zeros cost nothing. Results have the
    same bits for any `n_jobs`.

    Parameters
    ----------
    n_components : int, default=10
        Number of factors, K.
    a, c : float, default=0.3
        Shapes of the Gamma priors of row and column factors. Small shapes make factors sparse.
    b_prime, d_prime : float, default=1.0
        Prior means of their rates.
    a_prime, c_prime : float, default=0.3
        Shapes of the Gamma priors of the rates, which are learned for each row and column.
    hierarchical : bool, default=True
        If False, the rates are `b_prime` and `d_prime`. Steps on mini-batches then read only the
        columns of the batch, otherwise all.
    max_iter : int, default=200
        Largest number of passes over the rows.
    tol : float, default=1e-2
        Without `batch_size` the fit ends when the bound rises by less than this in a pass, in nats
        per row.
    {toolbox}
    max_row_iter : int, optional
        Largest number of iterations on a row's factors; by default 20 in a step of a fit and 200
        for new rows.
    row_tol : float, default=1e-3
        They end when the mean absolute change of a row's shapes, in counts, is below this.
    total_samples : float, optional
        Number of rows that `partial_fit` represents; by default those it has seen.
    random_state : int, RandomState or None, default=None
        Seed of the start and of the order of rows in mini-batches.
    warm_start : bool, default=False
        Start from the column factors of the last fit.
    {n_jobs}
    {verbose}

    Attributes
    ----------
    components_ : (n_components, n_features) array
        Posterior means of the column factors, E[beta] transposed.
    component_shapes_, component_rates_ : (n_components, n_features) arrays
        Shapes and rates of their Gamma posteriors.
    {found_by_steps}

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import PoissonFactorization
    >>> X = np.array([[3, 2, 0, 0], [4, 3, 0, 0], [0, 0, 5, 2], [0, 0, 3, 3], [2, 0, 0, 0]])
    >>> model = PoissonFactorization(2, random_state=0).fit(X)
    >>> items, _ = model.recommend(X[-1:], 1)
    >>> items.tolist()
    [[1]]
    """

    _over_shards = True

    def __init__(
        self,
        n_components: int = 10,
        *,
        a: float = 0.3,
        a_prime: float = 0.3,
        b_prime: float = 1.0,
        c: float = 0.3,
        c_prime: float = 0.3,
        d_prime: float = 1.0,
        hierarchical: bool = True,
        max_iter: int = 200,
        tol: float = 1e-2,
        batch_size: int | None = None,
        optimizer: Optimizer | str | float | None = None,
        sampling: str = "uniform",
        variance_reduction: Reduction | str | None = None,
        trace_noise: bool = False,
        max_row_iter: int | None = None,
        row_tol: float = 1e-3,
        total_samples: float | None = None,
        random_state: RandomState = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_components = n_components
        self.a = a
        self.a_prime = a_prime
        self.b_prime = b_prime
        self.c = c
        self.c_prime = c_prime
        self.d_prime = d_prime
        self.hierarchical = hierarchical
        self.max_row_iter = max_row_iter
        self.row_tol = row_tol
        self.total_samples = total_samples

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, X_val: RowsLike | None
    ) -> None:
        bags = self._counts(X, reset=True)
        model = self._make_model(bags.n_words, bags.counts.dtype)
        tol = checks.number(self.tol, "tol", 0.0)
        source = DocumentSource(*bags)
        seed = self._seed(watching)
        if last is None:
            params = random_start(model, bags, source.n_rows, seed)
        else:
            check_form(last._found, self.get_params(deep=False), bags.n_words, "warm_start")
            params = last._found.parameters(model)
        fitted = self._ascend(
            model,
            source,
            params,
            watching,
            data=(*bags.parts, bags.n_words),
            held_out=None if X_val is None else self._held_out(model, X_val),
            tol=tol * source.n_rows,
            seed=seed,
            last=last,
        )
        self._found = Fitted(model, fitted.params)
        self.n_batch_iter_, self._n_seen = len(fitted.history["epoch"]), source.n_rows
        self._is_stream = False
        self._warn_unless_converged(fitted)

    def _saved(self) -> dict[str, object]:
        return {
            "factors": self._found.params,
            "dtype": self._found.model.dtype.name,
            "n_seen": self._n_seen,
            "is_stream": self._is_stream,
        }

    def _restore(self, saved: Saved) -> None:
        k, self._dtype = checks.integer(self.n_components, "n_components", 1), saved.dtype()
        shape = saved.n_features, padded(k)
        shapes = saved.array("factors.shapes", *shape, dtype=self._dtype)
        model = self._make_model(saved.n_features, self._dtype)
        params = saved.tree("factors", model.prior._replace(shapes=shapes))
        if np.any(shapes[:, :k] <= 0) or np.any(params.rates[:k] < model.prior.rates[:k]):
            raise ValueError(f"{saved.path}: factors must hold numbers > 0")
        if model.hierarchical:
            saved.positive("factors.popularity", saved.n_features)
        self._n_seen = checks.integer(saved.values["n_seen"], f"{saved.path}: n_seen", 0)
        self._is_stream = checks.flag(saved.values["is_stream"], f"{saved.path}: is_stream")
        self._found = Fitted(model, params)
