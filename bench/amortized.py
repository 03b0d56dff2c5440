"""The benchmarks of amortized inference."""

import harness as h
from harness import median, row

__all__ = ["PARTS", "extra_tables", "plot", "run"]

PEERS = ["torch"]
STEPS = [  # batch, draws, objective, and our target against PyTorch
    (20, 1, "elbo", 2.3), (100, 1, "elbo", 1.4), (20, 5, "iwae", 1.6), (20, 50, "iwae", 1.4),
]  # fmt: skip


DECODERS = "dense", "dense, elu", "conv, elu", "pixelcnn", "draw", "draw, windows"


def steps(s):
    """A training step of 784-200-200-50, Adam included."""
    n, rows = 60 if s.quick else 300, []
    for batch, n_draws, objective, target in STEPS:
        a = {"batch": batch, "n_draws": n_draws, "objective": objective, "steps": n}
        ours, theirs = _medians(s, "step", a)
        what = f"{objective}, {n_draws} draws, batch {batch}"
        rows.append(row(what, ours, theirs, theirs / ours, target, unit="s"))
    return rows


def convolutions(s):
    """A step of two convolutions of 4 x 4 with 16 and 32 maps, 200 units, 50 latent variables, and
    the same back.
    """
    rows = []
    for batch in (20, 100):
        a = {"batch": batch, "steps": 40 if s.quick else 200, "decoder": "conv"}
        ours, theirs = _medians(s, "step", a)
        rows.append(row(f"batch {batch}", ours, theirs, theirs / ours, 1.5, unit="s"))
    return rows


def transform(s):
    """Posterior means of 10,000 images."""
    ours, theirs = _medians(s, "transform", {"n": 1000 if s.quick else 10_000})
    return [row("transform, 10,000 images", ours, theirs, theirs / ours, 2, unit="s")]


def _medians(s, function, a):
    """CPU seconds of fastvi and of PyTorch, in turns."""
    jobs = {
        "ours": lambda i: s.ours(function, **a),
        "peer": lambda i: s.peer("torch_amortized.py", function, **a),
    }
    runs = h.interleaved(jobs, s.repeats)
    s.details[f"{function} {a}"] = runs
    return [median([r["seconds"] for r in runs[side]]) for side in runs]


def quality(s):
    """Bound of the test images of MNIST after 20 passes."""
    seeds = range(1 if s.quick else min(s.repeats, 3))
    runs = [s.ours("quality", seed=i, passes=2 if s.quick else 20) for i in seeds]
    s.details["quality"] = runs
    bound, log_p = (median([r[name] for r in runs]) for name in ("bound", "log_p"))
    return [
        row("bound of test images, nats", bound, None, None, None),
        row("log p(x) of test images by 1000 draws, nats", log_p, None, None, None),
    ]


def decoders(s):
    """Log p(x) of test images for decoders of 20 latent variables, after some passes over 5000
    images, and CPU seconds of these.
    """
    rows = []
    for name in DECODERS:
        a = {"name": name, "n": 200, "passes": 1} if s.quick else {"name": name}
        run = s.ours("decoder", **a)
        s.details[f"decoder {name}"] = run
        rows.append(row(f"{name}: log p(x), nats", run["log_p"], None, None, None))
        rows.append(row(f"{name}: CPU seconds", run["seconds"], None, None, None, unit="s"))
        rows.append(row(f"{name}: a step of 100", run["step"], None, None, None, unit="s"))
    return rows


PARTS = {
    "steps": steps, "convolutions": convolutions, "transform": transform, "quality": quality,
    "decoders": decoders,
}  # fmt: skip


def run(only=None, quick=False, repeats=None, corpora=None):
    """Measure the parts (all by default); the result as plain data."""
    return h.Session("amortized", "ours_amortized.py", quick, repeats).run(PARTS, only, PEERS)


def extra_tables(result):
    """No tables beside the rows."""
    return ""


def plot(result, path):
    """There are no curves to draw."""
    raise SystemExit("--plot: this suite has no curves")
