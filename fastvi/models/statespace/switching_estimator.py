"""Switching linear systems as a scikit-learn estimator."""

from __future__ import annotations

import os
from typing import Self

import numpy as np

from fastvi.base import checks, tree
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import ArrayLike, RandomState, RowsLike
from fastvi.checkpoints import Callback, Watching
from fastvi.core import Optimizer
from fastvi.models.estimator import generator_of
from fastvi.models.files import Saved
from fastvi.models.statespace.regimes import Regimes, SwitchingPriors
from fastvi.models.statespace.rows import Source
from fastvi.models.statespace.switching import SwitchingModel
from fastvi.models.statespace.switching_predictions import End, SwitchingPredictions
from fastvi.models.statespace.switching_start import first_regimes, one_regime
from fastvi.models.statespace.system import rescaled

__all__ = ["SwitchingSSM"]


class SwitchingSSM(SwitchingPredictions):
    """A linear system whose transition switches between regimes, which form a hidden Markov chain.

    ``state_t = A_s state_{t-1} + b_s + noise_s`` in regime s, and ``row_t = C state_t + offset +
    noise``. The posterior is a product of two chains, of switches and of states, each exact given
    the other (structured variational inference, Ghahramani and Hinton 2000); the exact posterior
    is a mixture with as many parts as there are sequences of switches. Parameters are points, with
    weak priors, that maximise the bound plus their log prior, which never falls.

    Parameters
    ----------
    n_regimes : int, default=2
    n_components : int, default=2
        Numbers in a state.
    transmat_prior : float or (n_regimes, n_regimes) array, default=1.0
        Concentrations, at least 1, of Dirichlet priors of `transmat_`; larger numbers on the
        diagonal make regimes last longer.
    noise_rows, noise_scale : float, default=3.0 and 0.1
        Prior of the noise of states in each regime: as if so many rows with this variance had been
        seen. States are scaled so that with one regime the variance is 1.
    max_iter : int, default=500
    tol : float, default=1e-4
        The fit ends when the bound rises by less than this per row, in nats.
    n_init : int, default=3
        Number of starts; the fit with the largest bound is kept. A start is the best of some random
        segmentations, whose regimes are fitted to the states of a system without switches, at
        temperatures that fall to 1.
    random_state : int, RandomState, Generator or None, default=None
    verbose : int, default=0
        Show a progress bar.

    Attributes
    ----------
    startprob_, transmat_ : (n_regimes,) and (n_regimes, n_regimes) arrays
        Probabilities of first regimes, and of the next one, [from, to].
    transition_matrices_, transition_offsets_, transition_covariances_ : arrays
        Of regimes, (n_regimes, n_components, n_components), (n_regimes, n_components) and as the
        first.
    observation_matrix_ : (n_features, n_components) array
    observation_offset_, observation_covariance_ : (n_features,) arrays
        The latter are variances.
    initial_mean_, initial_covariance_ : arrays
        Of first states.
    elbo_ : float
        The bound plus the log prior of the parameters, nats; `score` has the bound alone.
    {reported}

    References
    ----------
    Ghahramani and Hinton (2000), "Variational learning for switching state-space models", Neural
    Computation 12(4). Fox, Sudderth, Jordan and Willsky (2011), "Bayesian nonparametric inference
    of switching dynamic linear models", has this form of the model.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import SwitchingSSM
    >>> rng = np.random.default_rng(0)
    >>> speed = np.repeat([0.05, 0.4, 0.05, 0.4], 60)
    >>> angle = np.cumsum(speed)
    >>> X = np.column_stack((np.sin(angle), np.cos(angle))) + 0.05 * rng.normal(size=(240, 2))
    >>> regimes = SwitchingSSM(2, 2, random_state=0).fit(X).predict(X)
    >>> float(max(np.mean(regimes == (speed > 0.1)), np.mean(regimes == (speed < 0.1)))) > 0.95
    True
    """

    _shared = ("n_components", "max_iter", "tol", "random_state", "verbose")

    # What the loop asks for, and these models do not offer
    batch_size: int | None = None
    optimizer: Optimizer | str | float | None = None
    sampling = "uniform"
    variance_reduction = None
    trace_noise = False
    transition_inputs_ = np.zeros((0, 0))

    def __init__(
        self,
        n_regimes: int = 2,
        n_components: int = 2,
        *,
        transmat_prior: ArrayLike = 1.0,
        noise_rows: float = 3.0,
        noise_scale: float = 0.1,
        max_iter: int = 500,
        tol: float = 1e-4,
        n_init: int = 3,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.n_regimes = n_regimes
        self.transmat_prior = transmat_prior
        self.noise_rows = noise_rows
        self.noise_scale = noise_scale
        self.n_init = n_init

    def fit(
        self,
        X: RowsLike,
        lengths: ArrayLike | None = None,
        *,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
    ) -> Self:
        """Fit the regimes. A fit that fails or is interrupted leaves the model as it was.

        Parameters
        ----------
        {X}
        {lengths}
        {watching}

        Raises
        ------
        ValueError
            If X is invalid, `lengths` do not add up to its rows, or a parameter is out of its
            range.
        """
        watching = Watching(callback, checkpoint, checkpoint_interval, resume)
        self._become(watching, X, lengths)
        return self

    def _fit(
        self, last: Self | None, watching: Watching, X: RowsLike, lengths: ArrayLike | None
    ) -> None:
        raw = self._rows(X, lengths, reset=True)
        if not raw.steps.any():
            raise ValueError("all sequences have one row; wanted some that are longer")
        k = checks.integer(self.n_components, "n_components", 1)
        priors, n_init = self._priors(), checks.integer(self.n_init, "n_init", 1)
        if n_init > 1 and watching.checkpoint is not None:
            raise ValueError(f"checkpoint is given with n_init={n_init}; wanted n_init=1")
        tol = checks.number(self.tol, "tol", 0.0) * raw.n_rows
        seed = self._seed(watching)
        rng, runs = generator_of(seed), []
        self._centre, self._scale = raw.scales()
        rows = raw.standardised(self._centre, self._scale)
        constant = -float(rows.counts @ np.log(self._scale))
        with single_threaded_blas():
            for number in range(n_init):
                one = one_regime(rows, k, priors, None if number == 0 else rng)
                start = first_regimes(rows, one, priors, rng)
                fitted = self._ascend(
                    SwitchingModel(start, priors, constant), Source(rows), tree.copy(start),
                    watching, data=(raw.X, raw.patterns, raw.pattern, raw.begins), tol=tol,
                    seed=seed,
                )  # fmt: skip
                runs.append((one, fitted))
            one, best = max(runs, key=lambda run: run[1].history["elbo"][-1])
            self._report(best)
            self._take(best.params._replace(weights=np.zeros((0, self.n_regimes))), one)
            own = SwitchingModel(best.params, None, learns=False)
            states = own.local(best.params, Source(rows).batch(), None, np.random.default_rng(0))
            chain = states.variables
            weights = states.statistics.weights[-1]
            self._end = End(weights, chain.means[-1], chain.covariances[-1])
        self._warn_unless_converged(best)

    def _priors(self) -> SwitchingPriors:
        m = checks.integer(self.n_regimes, "n_regimes", 1)
        rows = checks.number(self.noise_rows, "noise_rows", 0.0, open_low=True)
        scale = checks.number(self.noise_scale, "noise_scale", 0.0, open_low=True)
        moves = np.asarray(self.transmat_prior, np.float64)
        if moves.shape not in ((), (m, m)):
            raise ValueError(f"transmat_prior has shape {moves.shape}; wanted a number or {(m, m)}")
        if not np.all(moves >= 1) or not np.isfinite(moves).all():
            raise ValueError("transmat_prior must hold numbers >= 1")
        return SwitchingPriors(rows, scale, 1.0, 1e-3, 1e-2, np.broadcast_to(moves, (m, m)).copy())

    def _take(self, params: Regimes, one: Regimes) -> None:
        """Set the attributes with parameters, in the units of X."""
        self._params, self._one = params, one._replace(weights=np.zeros((0, 1)))
        observed = rescaled(params.observed, self._centre, self._scale)
        k = len(params.mean)
        self.startprob_, self.transmat_ = params.start, params.moves
        self.transition_matrices_ = params.steps[:, :, :k]
        self.transition_offsets_ = params.steps[:, :, k]
        self.transition_covariances_ = params.noises
        self.observation_matrix_, self.observation_offset_ = (
            observed.loadings,
            observed.offsets[:, 0],
        )
        self.observation_covariance_ = observed.rows_noise
        self.initial_mean_, self.initial_covariance_ = params.mean, params.covariance

    # Files

    def _saved(self) -> dict[str, object]:
        return {
            "parameters_": self._params, "one": self._one, "end": self._end,
            "centre": self._centre, "scale": self._scale,
        }  # fmt: skip

    def _restore(self, saved: Saved) -> None:
        d, k = saved.n_features, checks.integer(self.n_components, "n_components", 1)
        m = checks.integer(self.n_regimes, "n_regimes", 1)
        self._centre, self._scale = saved.array("centre", d), saved.positive("scale", d)
        one = saved.tree("one", Regimes.empty(d, k, 1))
        self._take(saved.tree("parameters_", Regimes.empty(d, k, m)), one)
        end = saved.array("end.weights", m), saved.array("end.mean", k)
        self._end = End(*end, saved.array("end.covariance", k, k))
