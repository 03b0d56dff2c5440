"""Linear Gaussian state-space models as a scikit-learn estimator."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np

from fastvi.base import checks, tree
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.checkpoints import Callback, Watching
from fastvi.core import Optimizer
from fastvi.models.acceleration import accelerated
from fastvi.models.estimator import generator_of
from fastvi.models.files import Saved
from fastvi.models.statespace.given import NAMES, continued, given, in_units, kept_of
from fastvi.models.statespace.model import LinearModel
from fastvi.models.statespace.posteriors import Systems
from fastvi.models.statespace.predictions import Forecaster
from fastvi.models.statespace.rows import SequenceRows, Source
from fastvi.models.statespace.sequence_estimator import States
from fastvi.models.statespace.start import begin, diffuse
from fastvi.models.statespace.system import Linear, in_basis, lower_root, rescaled
from fastvi.models.statespace.variational import Priors, VariationalLinear

__all__ = ["LinearGaussianSSM"]

SOLVERS = ("vb", "em")


class LinearGaussianSSM(Forecaster):
    """A linear system with Gaussian noise whose states are hidden (a Kalman filter that learns).

    ``state_t = A state_{t-1} + B input_t + noise`` and ``row_t = C state_t + offset + D input_t +
    noise``. With ``solver="vb"`` all parameters have posteriors (Beal 2003, chapter 5): the noise
    of states is standard normal, the posterior of states is exact given that of parameters, and
    each column of A and of C has a learned precision (ARD), which switches off states that the
    data do not need. With ``solver="em"`` parameters are points of large likelihood (Shumway and
    Stoffer 1982), and those that are given stay as they are, as in structural time series.

    States are known only up to a change of basis: T A T^-1, C T^-1 and T Q T' say the same of
    rows. `predict`, `forecast` and `score` do not depend on it.

    Parameters
    ----------
    n_components : int, default=2
        Number of states; with "vb" those that are not needed are switched off.
    solver : {"vb", "em"}, default="vb"
    observation_noise : {"diag", "full"}, default="diag"
        Covariance of the rows' noise; "full" needs "em".
    state_noise : {"full", "diag"}, default="full"
        Form of the covariance that "em" learns.
    initial : {"learned", "diffuse"}, default="learned"
        What is known of first states: a mean and a covariance that are learned (points), unless
        they are given; or nothing. Log likelihoods of diffuse models are those under a flat
        density of first states.
    initial_mean, initial_covariance, transition_matrix, transition_covariance, observation_matrix,\
 observation_offset, observation_covariance : arrays, optional
        Parameters that are known. "vb" takes only the first two, in units of the states' noise.
    noise_shape, noise_rate : float, default=1e-3
        Gamma prior of the rows' noise precisions, of standardised features.
    column_shape, column_rate : float, default=1e-3
        Gamma prior of the precisions of columns of A and C.
    max_iter : int, default=1000
    tol : float, default=1e-6
        The fit ends when a pass raises the bound, or the log likelihood, by less than this per
        row, in nats. Passes extrapolate from those before them (Anderson 1965).
    n_init : int, default=1
        Number of starts; the fit with the largest bound is kept. The first is from regressions of
        windows of rows on windows before them, as in subspace methods; others are random.
    random_state : int, RandomState, Generator or None, default=None
    warm_start : bool, default=False
        Start from the result of the last fit.
    verbose : int, default=0
        Show a progress bar.

    Attributes
    ----------
    transition_matrix_ : (n_components, n_components) array
    transition_covariance_ : (n_components, n_components) array
    observation_matrix_ : (n_features, n_components) array
    observation_offset_ : (n_features,) array
    observation_covariance_ : (n_features,) or (n_features, n_features) array
        Variances, or the whole covariance, by `observation_noise`.
    transition_inputs_, observation_inputs_ : arrays
        B and D.
    initial_mean_, initial_covariance_ : arrays
        Of first states.
    n_relevant_ : int
        Number of states whose loadings or effects on other states are not switched off.
    {found}

    References
    ----------
    Beal (2003), "Variational algorithms for approximate Bayesian inference", chapter 5. Shumway
    and Stoffer (1982), "An approach to time series smoothing and forecasting using the EM
    algorithm". Barber and Chiappa (2007), "Unified inference for variational Bayesian linear
    Gaussian state-space models", has posteriors of parameters as further rows of a plain smoother.

    Examples
    --------
    >>> import numpy as np
    >>> from fastvi import LinearGaussianSSM
    >>> rng = np.random.default_rng(0)
    >>> level = np.cumsum(rng.normal(size=200))
    >>> X = level[:, None] * [1.0, -0.5, 2.0] + rng.normal(size=(200, 3))
    >>> model = LinearGaussianSSM(3, random_state=0).fit(X)
    >>> model.n_relevant_
    1
    >>> model.forecast(5).mean.shape
    (5, 3)
    """

    _centre: Array
    _scale: Array
    _input_scale: Array
    _params: Linear | Systems
    _system: Linear

    _shared = ("n_components", "max_iter", "tol", "random_state", "warm_start", "verbose")

    # What the loop asks for, and these models do not offer
    batch_size: int | None = None
    optimizer: Optimizer | str | float | None = None
    sampling = "uniform"
    variance_reduction = None
    trace_noise = False

    def __init__(
        self,
        n_components: int = 2,
        *,
        solver: str = "vb",
        observation_noise: str = "diag",
        state_noise: str = "full",
        initial: str = "learned",
        initial_mean: ArrayLike | None = None,
        initial_covariance: ArrayLike | None = None,
        transition_matrix: ArrayLike | None = None,
        transition_covariance: ArrayLike | None = None,
        observation_matrix: ArrayLike | None = None,
        observation_offset: ArrayLike | None = None,
        observation_covariance: ArrayLike | None = None,
        noise_shape: float = 1e-3,
        noise_rate: float = 1e-3,
        column_shape: float = 1e-3,
        column_rate: float = 1e-3,
        max_iter: int = 1000,
        tol: float = 1e-6,
        n_init: int = 1,
        random_state: RandomState = None,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self._share(locals())
        self.solver = solver
        self.observation_noise = observation_noise
        self.state_noise = state_noise
        self.initial = initial
        self.initial_mean = initial_mean
        self.initial_covariance = initial_covariance
        self.transition_matrix = transition_matrix
        self.transition_covariance = transition_covariance
        self.observation_matrix = observation_matrix
        self.observation_offset = observation_offset
        self.observation_covariance = observation_covariance
        self.noise_shape = noise_shape
        self.noise_rate = noise_rate
        self.column_shape = column_shape
        self.column_rate = column_rate
        self.n_init = n_init

    # Fitting

    def fit(
        self,
        X: RowsLike,
        lengths: ArrayLike | None = None,
        *,
        inputs: ArrayLike | None = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_interval: float = 60.0,
        resume: bool = False,
    ) -> Self:
        """Fit the parameters. A fit that fails or is interrupted leaves the model as it was.

        Parameters
        ----------
        {X}
        {lengths}
        inputs : (n_rows, n_inputs) array, optional
            Known numbers that states and rows depend on.
        {watching}

        Raises
        ------
        ValueError
            If X is invalid, `lengths` do not add up to its rows, or a parameter is out of its
            range.
        """
        watching = Watching(callback, checkpoint, checkpoint_interval, resume)
        self._become(watching, X, lengths, inputs)
        return self

    def _fit(
        self,
        last: Self | None,
        watching: Watching,
        X: RowsLike,
        lengths: ArrayLike | None,
        inputs: ArrayLike | None,
    ) -> None:
        checks.choice(self.solver, "solver", SOLVERS)
        rows = self._rows(X, lengths, inputs, reset=True)
        k = checks.integer(self.n_components, "n_components", 1)
        known = given(self, k, rows)
        tol = checks.number(self.tol, "tol", 0.0) * rows.n_rows
        n_init = checks.integer(self.n_init, "n_init", 1)
        if n_init > 1 and watching.checkpoint is not None:
            raise ValueError(f"checkpoint is given with n_init={n_init}; wanted n_init=1")
        seed = self._seed(watching)
        goes_on = last is not None and last._centre.shape == (rows.n_features,)
        self._centre, self._scale = (
            (last._centre, last._scale) if last and goes_on else rows.scales()
        )
        is_like = goes_on and last is not None and len(last._input_scale) == rows.inputs.shape[1]
        self._input_scale = last._input_scale if last and is_like else rows.input_scales()
        self._is_diffuse = self.initial == "diffuse"
        units = rows.standardised(self._centre, self._scale, self._input_scale)
        known = in_units(known, self._centre, self._scale)
        rng, runs = generator_of(seed), []
        with single_threaded_blas():
            for number in range(n_init):
                model, start = self._begin(units, known, None if number == 0 else rng)
                params = start
                if last is not None and number == 0:
                    params = continued(last._params, start, kept_of(self, known))
                fitted = self._ascend(
                    model, Source(units), tree.copy(params), watching,
                    data=(rows.X, rows.patterns, rows.pattern, rows.begins, rows.inputs), tol=tol,
                    seed=seed, last=last, ascent=accelerated,
                )  # fmt: skip
                runs.append((model, fitted))
            model, best = max(runs, key=lambda run: run[1].history["elbo"][-1])
            self._report(best)
            self._take(best.params)
            self._end = self._last(rows)
        self._warn_unless_converged(best)

    def _begin(
        self, rows: SequenceRows, known: dict[str, Array], rng: np.random.RandomState | None
    ) -> tuple[Any, Any]:
        """Return the model, and parameters to start from, for standardised rows."""
        k = self.n_components
        start = begin(rows, k, known, rng, 2 if self.observation_noise == "full" else 1)
        constant, kept = -float(rows.counts @ np.log(self._scale)), kept_of(self, known)
        if self.solver == "vb":
            start = in_basis(start, np.linalg.inv(lower_root(start.noise)))
            own = {name: known[name] for name in ("mean", "covariance") if name in known}
            start = start._replace(**own)
        if self._is_diffuse:
            start = diffuse(start)
            constant += self._constant(start, int(rows.begins.sum()))
        if self.solver == "em":
            return LinearModel(start, kept, constant), start
        model = VariationalLinear(self._priors(), (kept.mean, kept.covariance), constant)
        params = model.begin(start, rows)
        return model, params

    def _priors(self) -> Priors:
        names = "noise_shape", "noise_rate", "column_shape", "column_rate"
        numbers = [checks.number(getattr(self, n), n, 0.0, open_low=True) for n in names]
        return Priors(*numbers)

    # Results

    def _take(self, params: Any) -> None:
        """Set the attributes with parameters, in the units of X."""
        self._params = params
        self._system = rescaled(params.point(), self._centre, self._scale, self._input_scale)
        for name, attribute in NAMES.items():
            setattr(self, f"{attribute}_", getattr(self._system, name))
        self.observation_offset_ = self._system.offsets[:, 0]
        self.observation_inputs_ = self._system.offsets[:, 1:]
        self.transition_inputs_ = self._system.inputs
        self.n_relevant_ = params.n_relevant

    def _parameters(self) -> Linear:
        return self._system

    # Files

    def _saved(self) -> dict[str, object]:
        return {
            "parameters_": self._params, "end": self._end, "centre": self._centre,
            "scale": self._scale, "input_scale": self._input_scale,
            "is_diffuse": self._is_diffuse,
        }  # fmt: skip

    def _restore(self, saved: Saved) -> None:
        d, k = saved.n_features, len(saved.array("parameters_.mean", None))
        self._centre, self._scale = saved.array("centre", d), saved.positive("scale", d)
        self._input_scale = saved.positive("input_scale", None)
        self._is_diffuse = bool(saved.values["is_diffuse"])
        u = len(self._input_scale)
        if "parameters_.steps" in saved.arrays:  # by "vb"; parameters may be set for the next fit
            many = len(saved.arrays["parameters_.rows_covariance"])
            self._take(saved.tree("parameters_", Systems.empty(d, k, u, d if many > 1 else 1)))
        else:
            dimensions = 2 if saved.arrays["parameters_.rows_noise"].ndim == 2 else 1
            self._take(saved.tree("parameters_", Linear.empty(d, k, u, dimensions)))
        self._end = States(saved.array("end.means", k), saved.array("end.covariances", k, k))
