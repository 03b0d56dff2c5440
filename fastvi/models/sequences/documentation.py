"""Documentation that hidden Markov models share."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS = {
    "X": """
X : (n_rows, n_features) array
    Rows of all sequences, one after another. A row of NaN is missing.
""",
    "lengths": """
lengths : (n_sequences,) array of int, optional
    Numbers of rows of the sequences; by default there is one.
""",
    "chain": """
startprob_prior, transmat_prior : float or array, default=1.0
    Concentrations of Dirichlet priors of `startprob_` and of rows of `transmat_`; 1 is flat.
    Transitions that begin at 0 stay there, as in left-right models.
""",
    "decoder": """
algorithm : {"viterbi", "map"}, default="viterbi"
    What `predict` and `decode` find: the most likely path, or the most likely state of each row.
""",
    "steps": """
random_state : int, RandomState, Generator or None, default=None
n_iter : int, default=10
    Largest number of iterations.
tol : float, default=1e-2
    The fit ends when the log likelihood changes by less than this, in nats.
verbose : bool, default=False
    Show a progress bar.
params, init_params : str
    Letters of what is fitted, and of what is drawn or computed at the start of a fit; the rest
    begins where it was set by hand or by the last fit. "s" and "t" are `startprob_` and
    `transmat_`.
implementation : {"log", "scaling"}, default="log"
    Accepted for hmmlearn's sake; both are computed by scaled recursions, exact in either case.
n_init : int, default=1
    Number of starts; the fit with the largest bound is kept.
n_jobs : int, optional
    Threads; -1 for all cores, None for one. Results have the same bits for any number.
""",
    "subchains": """
batch_size : int, optional
    Number of sub-chains per step, drawn anew in each pass (Foti et al. 2014); `n_iter` then counts
    passes, and `tol` is not used. By default a step takes all rows.
optimizer : float, str or Optimizer, optional
    Rates of steps on sub-chains; by default those of `fastvi.optimizers.robbins_monro`.
subchain_length : int, default=1000
    Number of rows of a sub-chain.
buffer : int, default=50
    Rows on either side of a sub-chain that its posterior is computed with, but which do not count:
    about as many as the chain takes to forget a state.
buffer_tol : float, optional
    Buffers of a step are doubled until posteriors of the first and last rows of its sub-chains
    change by less than this (GrowBuf of Foti et al. 2014); by default they stay as they are.
total_samples : float, optional
    Rows that calls of `partial_fit` stand for; by default those seen so far.
""",
    "chain_found": """
startprob_ : (n_components,) array
    Probabilities of first states.
transmat_ : (n_components, n_components) array
    Probabilities of transitions, [from, to].
""",
    "fit_found": """
monitor_ : Monitor
    `history` of log likelihoods before each iteration, `iter`, `converged`.
elbo_, history_, n_iter_, converged_
    As in other estimators; `elbo_` is the log likelihood before the last iteration, nats.
n_features_in_ : int
""",
}
