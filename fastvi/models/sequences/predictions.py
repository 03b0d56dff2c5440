"""What a hidden Markov model says of sequences: posteriors, paths, scores, draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from fastvi.base import checks
from fastvi.base.parallel import single_threaded_blas
from fastvi.base.typing import Array, ArrayLike, RandomState, RowsLike
from fastvi.models.estimator import Estimator, generator_of
from fastvi.models.sequences.chains import Chain
from fastvi.models.sequences.documentation import TEXTS
from fastvi.models.sequences.model import Parameters, Rows, States
from fastvi.models.sequences.online import Likelihood, OnlineFilter
from fastvi.models.sequences.overlay import Emissions
from fastvi.models.sequences.paths import best_paths, scored_paths
from fastvi.models.sequences.stream import Stream

__all__ = ["DECODERS", "Decoder"]

DECODERS = ("viterbi", "map")


class Decoder(Estimator):
    """Predictions of hidden Markov models, from their parameters."""

    _texts = TEXTS
    n_components: int
    algorithm: str

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    # Hooks of a subclass

    def _parameters(self) -> Parameters:
        """Check the attributes, and return them as parameters."""
        raise NotImplementedError

    def _checked(self, X: RowsLike, reset: bool) -> Array:
        """Check rows, of which those that are missing are NaN throughout."""
        raise NotImplementedError

    def _stream(self, X: Array, lengths: ArrayLike | None) -> Stream:
        raise NotImplementedError

    def _arranged(self, stream: Stream, X: Array) -> Rows:
        """Lay rows out in the order of the stream."""
        raise NotImplementedError

    def _states(self, n_features: int) -> States:
        """Return the kind of states, with its priors."""
        raise NotImplementedError

    def _likelihood(self, states: Any) -> Likelihood:
        """Return what the likelihood of one row is computed from."""
        raise NotImplementedError

    def _emit(self, states: Any, state: int, rng: np.random.RandomState) -> Array | list[int]:
        """Draw a row from a state."""
        raise NotImplementedError

    def _n_free(self, states: Any) -> int:
        """Count the free parameters of states."""
        raise NotImplementedError

    def _emissions(
        self, X: RowsLike, lengths: ArrayLike | None
    ) -> tuple[Stream, Parameters, Emissions]:
        params = self._parameters()
        X = self._checked(X, reset=False)
        stream = self._stream(X, lengths)
        rows = self._measured(stream, X, params.states)
        coefficients = self._states(X.shape[1]).coefficients(rows, params.states)
        return stream, params, rows.weighed(coefficients)

    def _measured(self, stream: Stream, X: Array, states: Any) -> Rows:
        """Lay rows out for predictions from these states."""
        return self._arranged(stream, X)

    def score_samples(self, X: RowsLike, lengths: ArrayLike | None = None) -> tuple[float, Array]:
        """Log likelihood of all sequences, nats, and posteriors of states, (n_rows, n_components).

        Parameters
        ----------
        {X}
        {lengths}
        """
        with single_threaded_blas():
            stream, params, emissions = self._emissions(X, lengths)
            found = Chain(stream, len(params.start)).expect(params.weights, emissions)
            return found.log_norm, stream.at(found.posterior)

    def score(self, X: RowsLike, lengths: ArrayLike | None = None) -> float:
        """Log likelihood of all sequences, nats.

        Parameters
        ----------
        {X}
        {lengths}
        """
        with single_threaded_blas():
            stream, params, emissions = self._emissions(X, lengths)
            return Chain(stream, len(params.start)).log_norm(params.weights, emissions)

    def predict_proba(self, X: RowsLike, lengths: ArrayLike | None = None) -> Array:
        """Posteriors of states given the whole sequence, (n_rows, n_components).

        Parameters
        ----------
        {X}
        {lengths}
        """
        return self.score_samples(X, lengths)[1]

    def decode(
        self, X: RowsLike, lengths: ArrayLike | None = None, algorithm: str | None = None
    ) -> tuple[float, NDArray[np.int64]]:
        """Find the states of each row, and the log probability of rows and states together.

        Parameters
        ----------
        {X}
        {lengths}
        algorithm : {"viterbi", "map"}, optional
            The most likely path, or the most likely state of each row, for which the first number
            is the sum of its posteriors, as in hmmlearn. By default the constructor's.
        """
        chosen = self.algorithm if algorithm is None else algorithm
        if checks.choice(chosen, "algorithm", DECODERS) == "map":
            posterior = self.predict_proba(X, lengths)
            return float(posterior.max(axis=1).sum()), posterior.argmax(axis=1)
        with single_threaded_blas():
            stream, params, emissions = self._emissions(X, lengths)
            return scored_paths(stream, params.weights, emissions)

    def predict(self, X: RowsLike, lengths: ArrayLike | None = None) -> NDArray[np.int64]:
        """States of each row by `algorithm`, (n_rows,).

        Parameters
        ----------
        {X}
        {lengths}
        """
        if checks.choice(self.algorithm, "algorithm", DECODERS) == "map":
            return np.asarray(self.predict_proba(X, lengths).argmax(axis=1))
        with single_threaded_blas():
            stream, params, emissions = self._emissions(X, lengths)
            return best_paths(stream, params.weights, emissions)

    def sample(
        self, n_samples: int = 1, random_state: RandomState = None, currstate: int | None = None
    ) -> tuple[Array, NDArray[np.int64]]:
        """Draw a sequence; return its rows (n_samples, n_features) and their states.

        Parameters
        ----------
        n_samples : int
        random_state : int, RandomState or Generator, optional
            By default the constructor's.
        currstate : int, optional
            State of the first row, by default drawn from `startprob_`.
        """
        params = self._parameters()
        n_samples = checks.integer(n_samples, "n_samples", 1)
        rng = generator_of(self.random_state if random_state is None else random_state)
        steps, state = np.cumsum(params.transitions, axis=1), currstate
        if state is None:
            state = int((np.cumsum(params.start) > rng.rand()).argmax())
        else:
            state = checks.integer(state, "currstate", 0, self.n_components - 1)
        states, rows = [state], [self._emit(params.states, state, rng)]
        for _ in range(n_samples - 1):
            state = int((steps[state] > rng.rand()).argmax())
            states.append(state)
            rows.append(self._emit(params.states, state, rng))
        return np.array(rows), np.array(states, dtype=np.int64)

    def compiled(self) -> OnlineFilter:
        """Probabilities of states as rows arrive: a bare filter that checks nothing."""
        params = self._parameters()
        return OnlineFilter(params.weights, self._likelihood(params.states))

    def get_stationary_distribution(self) -> Array:
        """Probabilities of states after many steps, (n_components,)."""
        values, vectors = linalg.eig(self._parameters().transitions.T)
        vector = np.real(vectors[:, np.argmax(np.real(values))])
        return np.asarray(vector / vector.sum())

    def _n_parameters(self) -> int:
        params = self._parameters()
        k = len(params.start)
        return k - 1 + k * (k - 1) + self._n_free(params.states)

    def aic(self, X: RowsLike, lengths: ArrayLike | None = None) -> float:
        """Akaike's criterion, -2 log likelihood + 2 free parameters; lower is better.

        Parameters
        ----------
        {X}
        {lengths}
        """
        return -2 * self.score(X, lengths) + 2 * self._n_parameters()

    def bic(self, X: RowsLike, lengths: ArrayLike | None = None) -> float:
        """Schwarz's criterion, -2 log likelihood + log(rows) free parameters; lower is better.

        Parameters
        ----------
        {X}
        {lengths}
        """
        rows = len(np.asarray(X))
        return float(-2 * self.score(X, lengths) + self._n_parameters() * np.log(rows))
