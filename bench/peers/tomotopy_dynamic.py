"""tomotopy's DTModel, one worker."""

import dynamic_problem as problem
import evaluation as ev
import numpy as np
import tomotopy as tp
from tomotopy_lda import ONE, words_of


def iteration(k=20, width=10, iterations=20):
    """CPU seconds per iteration."""
    X, years = problem.sotu()[:2]
    slices = years // width - years.min() // width
    model = tp.DTModel(k=k, t=int(slices.max()) + 1, seed=1)
    for words, t in zip(words_of(X), slices):
        model.add_doc(words, timepoint=int(t))
    model.train(2, **ONE)
    times = []
    for _ in range(iterations):
        watch = ev.Stopwatch()
        with watch:
            model.train(1, **ONE)
        times.append(watch.cpu)
    return {"cpu": float(np.median(times)), "version": tp.__version__}


if __name__ == "__main__":
    ev.main(iteration)
