"""Posteriors: a fitted member of a family, and diagnostics of its quality."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from fastvi import families
from fastvi.base import checks
from fastvi.base.typing import AnyArray, Array, ArrayLike, JsonObject, Options
from fastvi.families.base import Family
from fastvi.posteriors.approximation import Approximation
from fastvi.posteriors.linear_response import LinearResponse, chosen, linear_response
from fastvi.posteriors.modes import Mode
from fastvi.posteriors.psis import Smoothed, psis
from fastvi.targets.base import Target

__all__ = ["Posterior"]

N_DRAWS = 1000  # draws for the diagnostics
TRUSTED = 0.7  # largest reliable k-hat
EVEN = 0.9  # effective share of draws above which weights count as even
ENDLESS = 1e20  # no proper posterior in sensible units has such a standard deviation
FAR = 0.25  # largest error of means, in standard deviations
WIDER = 1.12  # largest ratio of standard deviations; 1.1 is within the noise of 1000 draws


class Posterior(Approximation):
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
    ) -> None:
        super().__init__(
            target, settled=settled, n_iter=n_iter, history=history, names=names, seed=seed,
            modes=modes,
        )  # fmt: skip
        self.member, self.objective = member, objective
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

    # How good it is

    def _draws(self) -> Array:
        """The draws used for diagnostics, the same each time."""
        return self.sample(N_DRAWS, np.random.default_rng([self._seed, 1]))

    @property
    def _standardised(self) -> Array:
        sd = self.sd  # 0 if a probability is 0 or 1; every draw then equals the mean
        return np.asarray((self._draws() - self.mean) / np.where(sd > 0, sd, 1.0))

    @cached_property
    def log_ratios(self) -> Array:
        """Log p(z) - log q(z) for 1000 draws z from q, in nats; -inf where p fails."""
        Z = self._draws()
        values = self._target().attempt(Z, with_gradient=False)[0]
        return np.where(np.isfinite(values), values, -np.inf) - self.log_prob(Z)

    @cached_property
    def _smoothed(self) -> Smoothed:
        return psis(self.log_ratios)

    @property
    def khat(self) -> float:
        """Pareto shape of the importance ratios (Yao et al. 2018); q is usable below 0.7."""
        return self._smoothed.khat

    @property
    def elbo(self) -> float:
        """Evidence lower bound in nats; -inf if a draw has no density."""
        return float(np.mean(self.log_ratios))

    @property
    def elbo_error(self) -> float:
        """Standard error of `elbo` in nats; inf if a draw has no density."""
        if not np.all(np.isfinite(self.log_ratios)):
            return np.inf
        with np.errstate(over="ignore"):
            return float(np.std(self.log_ratios) / np.sqrt(len(self.log_ratios)))

    @property
    def log_evidence(self) -> float:
        """Log evidence by smoothed importance sampling (nats), if `khat` is small."""
        return self._smoothed.log_mean

    @property
    def bounds(self) -> tuple[float, float]:
        """Estimated lower (ELBO) and upper (chi, order 2) bounds on the log evidence (nats)."""
        n = len(self.log_ratios)
        return self.elbo, 0.5 * float(logsumexp(2.0 * self.log_ratios) - np.log(n))

    @property
    def shift(self) -> float:
        """Largest distance from the means of q to the importance-weighted means, in standard
        deviations.

        This estimates the error of the means of q; it is reliable only if `khat` is small.
        """
        weights = np.exp(self._smoothed.log_weights)
        return float(np.max(np.abs(weights @ self._standardised), initial=0.0))

    @property
    def widening(self) -> float:
        """Largest ratio of an importance-weighted standard deviation to that of q.

        Fits that minimise KL(q || p) tend to be too narrow, mean-field ones above all. The ratio is
        reliable only if `khat` is small.
        """
        weights, draws = np.exp(self._smoothed.log_weights), self._standardised
        return float(np.sqrt(np.max(weights @ np.square(draws - weights @ draws), initial=0.0)))

    @property
    def efficiency(self) -> float:
        """Effective share of draws, (sum w)^2 / (n sum w^2) for importance weights w, in (0, 1]."""
        log_w = self.log_ratios - self.log_ratios.max()
        weights = np.exp(log_w)
        return float(weights.sum() ** 2 / (len(weights) * np.square(weights).sum()))

    @property
    def _covers(self) -> bool:
        """Whether draws cover the target; k-hat alone is noise if all weights are nearly equal."""
        return self.khat < TRUSTED or self.efficiency > EVEN

    @property
    def converged(self) -> bool:
        """Whether the fit has settled, its draws cover the target, and its means are right.

        This requires a k-hat below 0.7 or an `efficiency` above 0.9, and a `shift` below 0.25. For
        families with a full covariance, standard deviations must be right as well: a `widening`
        below 1.12.
        """
        return bool(
            self.settled and self._covers and self.shift < FAR and not self._breaks_its_promise
        )

    @property
    def _breaks_its_promise(self) -> bool:
        return self.member.powers.full_covariance and self.widening > WIDER

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
        >>> posterior.sd.round(1)
        array([0.4, 0.4])
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

    def _words(self) -> list[str]:
        words = super()._words()
        if self.sd.max() > ENDLESS:
            words.append(
                f"A standard deviation has reached {self.sd.max():.1g}: is the posterior proper?"
            )
        if self.target is None:
            return words
        n_without = int(np.count_nonzero(np.isneginf(self.log_ratios)))
        if n_without:
            share = f"{n_without} of {len(self.log_ratios)} draws"
            words.append(f"{share} have no density, so there is no ELBO.")
        else:
            words.append(f"ELBO {_nats(self.elbo)} +- {_nats(self.elbo_error)} nats.")
        if self._covers and self.shift >= FAR:
            words.append(
                f"k-hat {self.khat:.2f}, but importance weights move a mean by {self.shift:.2f} "
                "standard deviations: the family does not fit. Try a richer one."
            )
        elif self.efficiency > EVEN:
            share = f"{100 * self.efficiency:.1f} %"
            words.append(
                f"Draws are worth {share} of draws from the target: the approximation is close."
            )
        elif self._covers and self.widening > WIDER:
            words.append(
                f"k-hat {self.khat:.2f}, but importance weights widen a standard deviation by "
                f"{self.widening:.2f}: means are close, but standard deviations too small."
            )
        elif self.khat < 0.5:
            words.append(f"k-hat {self.khat:.2f}: the approximation is close.")
        elif self.khat < TRUSTED:
            words.append(f"k-hat {self.khat:.2f}: usable; importance weights would improve it.")
        else:
            words.append(
                f"k-hat {self.khat:.2f}: the target has mass that the approximation misses; do not "
                "trust its moments. Try a richer family, or other parameters for the model."
            )
        return words

    # Files

    def _saved(self) -> tuple[JsonObject, dict[str, AnyArray]]:
        header = {"family": families.name_of(self.member), "objective": self.objective}
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
        return cls(member, objective=str(header["objective"]), log_ratios=ratios, **options)


def _nats(x: float) -> str:
    return f"{x:.4f}" if abs(x) < 1e9 else f"{x:.6g}"
