"""Vowpal Wabbit's online LDA: one run of the command line for every number of passes."""

import tempfile
from pathlib import Path

import evaluation as ev
import numpy as np
import vowpalwabbit


def write_text(X, path):
    """Write one document per line, `| word:count ...`, the form Vowpal Wabbit takes."""
    with open(path, "w") as f:
        for a, b in zip(X.indptr[:-1], X.indptr[1:]):
            pairs = zip(X.indices[a:b].tolist(), X.data[a:b].tolist())
            f.write("| " + " ".join(f"{w}:{c}" for w, c in pairs) + "\n")


def read_topics(path, k, n_words):
    """lambda (K, V) from a readable model: `word weight weight ...`, rho added."""
    with open(path) as f:
        rows = [line.split() for line in f]
    rows = [r for r in rows if len(r) == k + 1 and r[0].isdigit()][:n_words]
    return np.array(rows, dtype=np.float64)[:, 1:].T


def fit(text, folder, X, k, passes, options):
    """Fit and return (stopwatch, lambda); writing the readable model is not counted."""
    bits = int(np.ceil(np.log2(X.shape[1])))
    model = folder / "model.txt"
    command = (
        f"-d {text} --lda {k} --lda_alpha {1 / k} --lda_rho {1 / k} --lda_D {X.shape[0]}"
        f" -b {bits} --passes {passes} --readable_model {model} --quiet {options}"
    )
    if passes > 1:
        command += f" --cache_file {folder / 'cache'} -k --holdout_off"
    with ev.Stopwatch() as watch:
        vw = vowpalwabbit.Workspace(arg_list=command.split())
    vw.finish()
    return watch, read_topics(model, k, X.shape[1])


def curve(corpus, k, seed=0, passes=(1, 2, 5, 10), options=""):
    options = options or "--minibatch 256 --power_t 0.5 --initial_t 1"
    X, obs, score = ev.load(corpus, seed)
    out = ev.Curve(obs, score)
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "documents.vw"
        write_text(X, text)
        for n in passes:
            out.watch, topics = fit(text, Path(folder), X, k, n, options)
            out.add(n, topics)
    return {"points": out.points, "unit": "passes", "version": vowpalwabbit.__version__}


if __name__ == "__main__":
    ev.main(curve)
