"""Threads, memory and start-up: parts of the topic-model benchmarks without peers."""

import sys
import tempfile
from pathlib import Path

import harness as h
import numpy as np
from harness import NAMES, Missing, median, row


def threads(s):
    """Wall time with 1 and 2 threads, and whether the bits agree."""
    corpus = s.corpora[-1]
    rows = []
    for solver, passes in (("cvb0", 20), ("vb", 5)):
        a = {"corpus": corpus, "k": 50, "solver": solver, "passes": passes}
        jobs = {n: lambda i, n=n, a=a: s.ours("threads", n_threads=n, **a) for n in (1, 2)}
        runs = h.interleaved(jobs, s.repeats)
        one, two = (median([r["wall"] for r in runs[n]]) for n in (1, 2))
        same = len({r["bits"] for x in runs.values() for r in x}) == 1
        what = f"2 threads against 1, {NAMES[corpus]}, {solver.upper()}, {passes} passes, wall"
        later = [median([r["passes"] for r in runs[n]]) for n in (1, 2)]
        note = "same bits" if same else "BITS DIFFER"
        note += f"; {later[0] / later[1]:.3g} without start and first pass"
        r = row(what, two, one, one / two, 1.8, unit="s", note=note)
        r["reached"] = r["reached"] and same
        rows.append(r)
    return rows


def vocabulary(s):
    """Cost of an SVI step as the vocabulary grows, with the same batch."""
    jobs = {n: lambda i, n=n: s.ours("svi_step", n_words=n) for n in (10_000, 1_000_000)}
    runs = h.interleaved(jobs, s.repeats)
    small, large = (median([r["seconds"] for r in x]) for x in runs.values())
    what = "SVI step, vocabulary of 1M words against 10k, same batch"
    return [row(what, large * 1e3, small * 1e3, large / small, 1.3, at_most=True, unit="ms")]


def command():
    """The `fastvi` command of this Python."""
    path = Path(sys.executable).parent / "fastvi"
    if not path.exists():
        raise Missing(f"no command {path}")
    return path


def write_ldac(folder, n_documents, n_words, words_each):
    """A synthetic corpus in Blei's LDA-C format, words drawn evenly."""
    rng = np.random.default_rng(0)
    path = Path(folder) / f"{n_documents}.ldac"
    with open(path, "w") as f:
        for _ in range(n_documents):
            words = np.unique(rng.integers(0, n_words, words_each)).tolist()
            f.write(f"{len(words)} " + " ".join(f"{w}:1" for w in words) + "\n")
    return path


def memory(s):
    """Peak memory of a streamed fit above a fit of 10 documents, in copies of the topics."""
    sizes = [10, 10_000, 20_000] if s.quick else [10, 20_000, 60_000]
    n_words, k, words_each, batch = 100_000, 100, 80, 256
    options = f"--topics {k} --passes 1 --batch-size {batch} --solver svi --stream --threads 1"
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            # ten documents have a vocabulary of their own, so that no large table is taken off
            path = write_ldac(folder, n, n_words if n > 10 else 200, words_each)
            line = [command(), "lda", path, *options.split(), "--output", f"{folder}/model.npz"]
            h.run_process(line, cwd=folder, env=h.environment())  # compiles
            peaks.append(h.run_process(line, cwd=folder, env=h.environment())[1])
    s.details["memory"] = {"documents": sizes, "peak": peaks}
    width = -(-k // 8) * 8
    topics = n_words * width * 4
    a_batch = batch * (words_each * 8 + 2 * width * 4)  # entries, and a row of gamma and of weights
    copies = [(p - peaks[0] - 2 * a_batch) / topics for p in peaks[1:]]
    what = f"peak memory of a streamed fit, {sizes[-1]} documents, V={n_words}, K={k}"
    note = "copies of the topic-word array and 2 batches above a fit of 10 documents; "
    note += f"{copies[0]:.3g} with {sizes[1]} documents"
    mib = [p / 2**20 for p in peaks]
    return [row(what, mib[-1], mib[0], max(copies), 2.5, at_most=True, unit="MiB", note=note)]


def startup(s):
    """Wall time of import and help, compared with an empty Python."""
    lines = {
        "pass": [sys.executable, "-c", "pass"],
        "import": [sys.executable, "-c", "import fastvi"],
        "help": [command(), "--help"],
    }
    jobs = {n: lambda i, x=x: h.run_process(x)[0] for n, x in lines.items()}
    runs = {n: median(x) for n, x in h.interleaved(jobs, 5 if s.quick else 21).items()}
    rows = []
    for name, target in (("import", 0.05), ("help", 0.15)):
        what = {"import": "`import fastvi`", "help": "`fastvi --help`"}[name]
        what += " beyond `python -c pass`, difference"
        more = runs[name] - runs["pass"]
        rows.append(row(what, runs[name], runs["pass"], more, target, at_most=True, unit="s"))
    return rows


def main_job(s):
    """`fastvi lda --passes 10` with an empty cache, and again."""
    seconds = []
    for _ in range(s.repeats):
        with tempfile.TemporaryDirectory() as folder:
            env = {"NUMBA_CACHE_DIR": f"{folder}/numba", "XDG_CACHE_HOME": f"{folder}/cache"}
            seconds.append(
                [
                    h.run_process([command(), "lda", "--passes", "10"], env, folder)[0]
                    for _ in range(2)
                ]
            )
    rows = []
    for i, (name, target) in enumerate((("first time", 30), ("second time", 6))):
        value = median([x[i] for x in seconds])
        what = f"`fastvi lda --passes 10`, start to result, {name}, wall"
        rows.append(row(what, value, None, value, target, at_most=True, unit="s", sign="≤ "))
    return rows


def compile_time(s):
    """Seconds of the first call with an empty cache and with a full one."""
    for solver in ("cvb0", "svi", "vb"):
        with tempfile.TemporaryDirectory() as folder:
            env = {"NUMBA_CACHE_DIR": folder}
            a = [s.ours("warm_up", env, k=50, solver=solver)["seconds"] for _ in range(2)]
        s.details.setdefault("compile", {})[solver] = {"empty": a[0], "cached": a[1]}
    return []
