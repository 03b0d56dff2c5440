"""The benchmarks of Stein variational gradient descent."""

from functools import partial

import harness as h
from harness import median, row

__all__ = ["PARTS", "extra_tables", "plot", "run"]

PEERS = ["blackjax", "numpyro", "pymc", "jax"]
SIZES = [(100, 50), (1000, 50), (5000, 20)]
FORMS = {"usual": "NumPy as usually written, float64", "careful": "NumPy at its best, float32"}
WANTED = [("usual", 5), ("careful", 5), ("blackjax", 50)]  # at 1000 particles and more
# Peers whose memory is n x n x D or that take minutes a step are not asked at n = 5000.
LARGEST = {"blackjax": 5000, "numpyro": 1000, "pymc": 1000}


def jobs_of(s, n, d):
    """Tools timed at this size: name -> job."""
    a = {"n": n, "d": d}
    jobs = {}
    for kind in ("float32", "float64"):
        jobs[kind] = partial(_ours, s, a | {"dtype": kind})
    for form, dtype in (("usual", "float64"), ("careful", "float32")):
        jobs[form] = partial(
            _peer, s, "numpy_stein.py", "iteration", a | {"form": form, "dtype": dtype}
        )
    for peer, largest in LARGEST.items():
        if n <= largest:
            jobs[peer] = partial(_peer, s, "jax_stein.py", peer, a)
    return jobs


def _ours(s, arguments, repeat):
    return s.ours("iteration", **arguments)


def _peer(s, script, function, arguments, repeat):
    return s.peer(script, function, **arguments)


def iteration(s):
    """A step of each size: scores, bandwidth, direction, AdaGrad, on a standard normal."""
    rows = []
    for n, d in SIZES[:2] if s.quick else SIZES:
        runs = h.interleaved(jobs_of(s, n, d), s.repeats)
        ms = {name: median([r["ms"] for r in x]) for name, x in runs.items()}
        s.details[f"{n}, {d}"] = ms
        for peer, target in WANTED if n >= 1000 else ():
            what = f"SVGD, a step, n={n}, D={d}, float32, against {FORMS.get(peer, peer)}"
            ratio = ms[peer] / ms["float32"]
            rows.append(row(what, ms["float32"], ms[peer], ratio, target, unit="ms"))
    return rows


def peak(s):
    """Flops of the definition's two products relative to the peak of a large product."""
    rows = []
    for n, d in ((1000, 50), (5000, 20), (5000, 50)):
        runs = [s.ours("direction", n=n, d=d) for _ in range(s.repeats)]
        rate, most = (median([r[k] for r in runs]) for k in ("rate", "peak"))
        what = f"SVGD, sums over pairs, n={n}, D={d}, float32: share of the sgemm peak"
        note = "4 n^2 D flops, of which symmetry saves a quarter"
        rows.append(row(what, rate, most, rate / most, 0.5, unit="G flop/s", note=note))
    return rows


PARTS = {"iteration": iteration, "peak": peak}


def extra_tables(result):
    """CPU milliseconds per step of all tools."""
    details = result["details"]
    names = list(dict.fromkeys(name for ms in details.values() for name in ms))
    if not names:
        return ""
    heads = {"float32": "fastvi float32", "float64": "fastvi float64", **FORMS}
    lines = ["CPU milliseconds of a step, one thread:", ""]
    lines += ["| n, D | " + " | ".join(heads.get(n, n) for n in names) + " |"]
    lines += ["|---" * (len(names) + 1) + "|"]
    for size, ms in details.items():
        lines.append(f"| {size} | " + " | ".join(h.number(ms.get(n)) for n in names) + " |")
    return "\n".join(lines)


def plot(result, path):
    """No plot."""
    raise SystemExit("the suite 'stein' has no picture")


def run(only, quick, repeats=None, corpora=None):
    """Measure the named parts (all by default); return the result as plain data."""
    session = h.Session("stein", "ours_stein.py", quick, repeats, corpora or ())
    return session.run(PARTS, only, PEERS)
