"""gensim's LdaSeqModel."""

import dynamic_problem as problem
import evaluation as ev
import gensim
import numpy as np
from gensim.models import LdaSeqModel
from gensim_lda import bags


class Timed(LdaSeqModel):
    """One iteration, timed without the static topics it starts from."""

    def fit_lda_seq(self, *arguments):
        self.watch = ev.Stopwatch()
        with self.watch:
            return super().fit_lda_seq(*arguments)


def iteration(k=5, width=10, n_words=1000):
    """CPU seconds of an iteration."""
    X, years = problem.sotu()[:2]
    X = problem.cut(X, n_words)
    order = np.argsort(years, kind="stable")
    sizes = np.bincount(years // width - years.min() // width)
    model = Timed(
        bags(X[order].tocsr()), time_slice=sizes.tolist(), num_topics=k, passes=1,
        id2word={w: str(w) for w in range(n_words)}, em_min_iter=1, em_max_iter=1,
        random_state=0,
    )  # fmt: skip
    return {"cpu": model.watch.cpu, "version": gensim.__version__}


if __name__ == "__main__":
    ev.main(iteration)
