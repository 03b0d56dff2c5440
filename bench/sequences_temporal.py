"""The benchmarks of Gaussian processes in time."""

import harness as h
from harness import median, row

__all__ = ["PARTS"]

KERNELS = {"matern12": "1/2", "matern32": "3/2", "matern52": "5/2"}
PEERS = {"celerite2": ("matern12", "matern32"), "tinygp": tuple(KERNELS)}
WANTED = {"value": 1, "gradient": 2}


def temporal(s):
    """The log likelihood of a Gaussian process and its gradient, against celerite2 and tinygp."""
    rows = []
    for n in (1000,) if s.quick else (1000, 10_000, 100_000):
        for kernel, nu in KERNELS.items():
            a = {"kernel": kernel, "n": n}
            peers = [peer for peer, known in PEERS.items() if kernel in known]
            jobs = {"ours": lambda i, a=a: s.ours("likelihood", script="ours_temporal.py", **a)} | {
                peer: lambda i, a=a, p=peer: s.peer(f"{p}_temporal.py", "likelihood", **a)
                for peer in peers
            }
            runs = h.interleaved(jobs, s.repeats)
            for peer in peers:
                for part, name in (("value", "log likelihood"), ("gradient", "with gradient")):
                    ours, theirs = (median([r[part] for r in runs[k]]) for k in ("ours", peer))
                    what = f"Gaussian process, Matern {nu}, T={n}, {name}, against {peer}"
                    rows.append(row(what, ours, theirs, theirs / ours, WANTED[part], unit="s"))
    return rows


PARTS = {"temporal": temporal}
