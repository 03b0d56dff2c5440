"""Posteriors: a fitted member of a family, and diagnostics of its quality."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fastvi import families
from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import AnyArray, Array, ArrayLike, JsonObject, Options
from fastvi.families.base import Family
from fastvi.posteriors.approximation import Approximation
from fastvi.posteriors.error_bounds import ErrorBounds, bounds_of
from fastvi.posteriors.judged import gaussian_near
from fastvi.posteriors.linear_response import LinearResponse, chosen, linear_response
from fastvi.posteriors.modes import Mode
from fastvi.posteriors.ratios import N_DRAWS, WithDensity
from fastvi.posteriors.sandwich import Sandwich, sandwich_at
from fastvi.targets.base import Target
from fastvi.targets.failures import quiet
from fastvi.targets.standardised import guided

__all__ = ["Posterior"]

OTHER_AIMS = {  # objectives of fits that are not meant to have the posterior's moments
    "averaged-sgd": "Its covariance is meant to be the sandwich (`Posterior.sandwich`), which is "
    "that of the posterior only if the model is right."
}
ENDLESS = 1e20  # no proper posterior in sensible units has such a standard deviation


class Posterior(WithDensity):
    """An approximation of a target, with diagnostics of its quality.

    Attributes
    ----------
    member : family
        The approximation q, in `fastvi.families`.
    target : Target or None
        The fitted target; None after `load` without it.
    names : tuple of str
        Names of the D unconstrained parameters.
    settled : bool
        Whether the optimizer has converged.
    n_iter : int
        Number of steps.
    history : dict of str to array
        Values that each step reported: `seconds`, `rate`, `elbo` (the value of the objective, if it
        is another) and its standard error `elbo_error` (nats), `rejected` draws.
    objective : str
    modes : tuple of Mode
        What the search before the fit found, the mode of highest evidence first; empty if there was
        none.

    Examples
    --------
    >>> import fastvi
    >>> target = fastvi.targets.from_callable(lambda z: (-0.5 * z @ z, -z), dim=2)
    >>> posterior = fastvi.fit(target, random_state=0)
    >>> posterior.sd.round(2), posterior.verdict.word
    (array([1., 1.]), 'good')
    """

    _kind = "posterior"

    def __init__(
        self,
        member: Family,
        target: Target | None,
        *,
        settled: bool,
        n_iter: int,
        history: dict[str, NDArray[np.float64]],
        names: tuple[str, ...],
        objective: str = "elbo",
        seed: int = 0,
        log_ratios: Array | None = None,
        modes: tuple[Mode, ...] = (),
        remarks: dict[str, float] | None = None,
    ) -> None:
        super().__init__(
            target, settled=settled, n_iter=n_iter, history=history, names=names, seed=seed,
            modes=modes,
        )  # fmt: skip
        self.member: Family = guided(member, target)
        self.objective = objective
        self._remarks = remarks or {}
        if log_ratios is not None:
            self.__dict__["log_ratios"] = log_ratios

    # The approximation

    @property
    def mean(self) -> Array:
        """Means of the unconstrained parameters, (D,)."""
        return np.array(self.member.mean)

    @property
    def cov(self) -> Array:
        """Covariance of the unconstrained parameters, (D, D)."""
        return np.array(self.member.cov)

    @property
    def sd(self) -> Array:
        """Standard deviations of the unconstrained parameters, (D,)."""
        return np.array(self.member.sd)

    def _sample(self, n: int, rng: np.random.Generator) -> Array:
        return self.member.draw(n, rng).points

    def log_prob(self, Z: ArrayLike) -> Array:
        """Log density (n,) of the approximation at Z (n, D), unconstrained, in nats.

        Raises
        ------
        ValueError
            If Z has another shape.
        """
        points = np.atleast_2d(np.asarray(Z, np.float64))
        if points.ndim != 2 or points.shape[1] != len(self.names):
            raise ValueError(f"Z has shape {np.shape(Z)}; wanted (n, {len(self.names)})")
        return np.asarray(self.member.log_prob(points))

    def _kind_in_words(self) -> str:
        return f"{families.name_of(self.member)}, {super()._kind_in_words()}"

    def _nearby(self) -> Family:
        if self.member.powers.density == "none":
            return gaussian_near(self.mean, self.cov, N_DRAWS)
        return self.member

    def _log_q(self, Z: Array) -> Array:
        if self.member.powers.density == "none":  # of the same draws, from their noise
            draws = self.member.draw(N_DRAWS, np.random.default_rng([self._seed, 1]))
            return self.member.log_prob_of(draws)
        return self.log_prob(Z)

    def linear_response(
        self, which: int | str | Sequence[int | str] | None = None, *, n_draws: int = 64
    ) -> LinearResponse:
        """Covariance of the target from a mean-field fit, by linear response.

        A mean-field fit has no correlations, and its standard deviations are too small where the
        target has some. How the fit would respond to small changes of the target gives its
        covariance nevertheless (Giordano, Broderick and Jordan 2018), at 2 D gradients per draw. It
        fails where the target is far from a Gaussian, such as on funnels; `LinearResponse.trusted`
        says so.

        Parameters
        ----------
        which : int, str or sequence, optional
            Numbers, by position or name, whose covariance is wanted; it is found by conjugate
            gradients. By default all, up to 200.
        n_draws : int
            At most so many draws, an even number; fewer if they suffice for errors below 2 %.

        Raises
        ------
        ValueError
            If the family is not mean-field, the fit did not maximise the ELBO, the target has no
            gradient, or the bound is not concave near the fit.

        Examples
        --------
        >>> import numpy as np
        >>> import fastvi
        >>> @fastvi.target(dim=2)
        ... def correlated(z):
        ...     return -0.5 * (z[0] ** 2 + z[1] ** 2 - 1.8 * z[0] * z[1]) / 0.19
        >>> posterior = fastvi.fit(correlated, "meanfield", random_state=0)
        >>> posterior.linear_response().cov.round(2)
        array([[1. , 0.9],
               [0.9, 1. ]])
        """
        independent, target = self.member.powers.independent, self._target()
        if independent is None:
            raise ValueError(
                "linear_response is for family='meanfield', but this posterior is "
                f"{families.name_of(self.member)!r}"
            )
        if self.objective != "elbo":
            raise ValueError(
                "linear_response needs a fit with objective='elbo', but this one is of "
                f"{self.objective!r}"
            )
        target.require_gradient("linear_response needs")
        n = checks.integer(n_draws, "n_draws", 4)
        return linear_response(
            target, independent, chosen(which, self.names),
            names=self.names, n_draws=n + n % 2, seed=self._seed,
        )  # fmt: skip

    def error_bounds(self) -> ErrorBounds:
        """Bounds on the errors of means and standard deviations, and on Wasserstein distances.

        From the Rényi divergence of order 2 of the target from a Gaussian approximation (Huggins et
        al. 2020), which must be finite: in every direction the target may have less than twice the
        variance, and no heavier tails. This is judged by the k-hat of squared weights; what lies
        beyond the draws of the `verdict` is left out. The divergence is estimated by importance
        sampling, around all modes that are known, and raised by two standard errors. The bounds
        hold for any shape, and are wider than actual errors, which `corrected` tells.

        Raises
        ------
        ValueError
            If the family is not Gaussian, importance sampling cannot tell (see `corrected`), or the
            divergence seems to be infinite.

        Examples
        --------
        >>> import fastvi
        >>> @fastvi.target(dim=1)
        ... def light(z):
        ...     return z[0] - 0.5 * z[0] ** 2 - 0.1 * z[0] ** 4
        >>> posterior = fastvi.fit(light, random_state=0)
        >>> bounds = posterior.error_bounds()
        >>> bool(bounds.mean[0] < 0.5 * posterior.sd[0])
        True
        """
        if not self.member.powers.gaussian:
            raise ValueError(
                "error_bounds is for Gaussian families, but this posterior is "
                f"{families.name_of(self.member)!r}"
            )
        with single_threaded_blas(), quiet():
            return bounds_of(self._setting.proposals, self._corrected[0])

    def sandwich(self) -> Sandwich:
        """How the mode would vary between data sets, whether or not the model is right.

        The sandwich covariance A^-1 N C A^-1 (Huber 1967; White 1982), of the curvature A and the
        covariance C of the gradients of N rows' log likelihoods, at the first mode that was found
        before the fit, or at the mean. Where the model is wrong it says how far estimates can be
        trusted, which the posterior does not: `Sandwich.ratio` compares the two. It takes one
        gradient per row, of at most 20,000 of them.

        Raises
        ------
        ValueError
            If the target is not there or takes no rows, or the mean is not near a mode.

        Examples
        --------
        >>> import fastvi, numpy as np
        >>> @fastvi.target(dim=1, data={"y": np.linspace(-4.0, 4.0, 101)}, rows="y")
        ... def of_unit_variance(z, data, rows, weights):
        ...     value = 0.0
        ...     for i in range(rows.size):
        ...         value -= 0.5 * weights[i] * (data.y[rows[i]] - z[0]) ** 2
        ...     return value
        >>> fastvi.fit(of_unit_variance, random_state=0).sandwich().ratio.round(2)
        array([2.33])
        """
        proper = self.modes and self.modes[0].cov is not None
        place, cov = (self.modes[0].place, self.modes[0].cov) if proper else (self.mean, None)
        with single_threaded_blas():
            return sandwich_at(self._target(), place, cov, self._seed)

    def _words(self) -> list[str]:
        words = Approximation._words(self)
        if self.objective in OTHER_AIMS:
            words.append(OTHER_AIMS[self.objective])
        if self.sd.max() > ENDLESS:
            words.append(
                f"A standard deviation has reached {self.sd.max():.1g}: is the posterior proper?"
            )
        if self.target is not None:
            words.append(self._bound_in_words())
        return words + self._verdict_in_words()

    # Files

    def _saved(self) -> tuple[JsonObject, dict[str, AnyArray]]:
        header: JsonObject = {"family": families.name_of(self.member)}
        header |= {"objective": self.objective, **self._verdict_header()}
        header |= {"remarks": self._remarks}
        arrays = {f"member.{name}": array for name, array in self.member.save().items()}
        if "log_ratios" in self.__dict__ or self.target is not None:
            arrays["log_ratios"] = self.log_ratios
        return header, arrays

    @classmethod
    def _restored(
        cls, header: JsonObject, arrays: dict[str, Array], path: str, options: Options
    ) -> Self:
        name = checks.choice(header["family"], f"{path}: family", tuple(families.FAMILIES))
        parts = {key.removeprefix("member."): array for key, array in arrays.items()}
        try:
            member = families.load(name, parts, len(header["names"]))
        except ValueError as error:
            raise ValueError(f"{path}: member.{error}") from None
        ratios = arrays.get("log_ratios")
        if ratios is not None and (ratios.dtype != np.float64 or ratios.shape != (N_DRAWS,)):
            raise ValueError(f"{path}: log_ratios must hold {N_DRAWS} float64 numbers")
        remarks = {str(name): float(x) for name, x in header.get("remarks", {}).items()}
        found = cls(
            member, objective=str(header["objective"]), log_ratios=ratios, remarks=remarks,
            **options,
        )  # fmt: skip
        return found._with_verdict(header, path)
