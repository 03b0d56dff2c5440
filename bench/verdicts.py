"""Do verdicts on fits hold? Hard targets with known moments: `python bench/verdicts.py`.

Counts misses (a fit that is certified with a mean off by more than 0.3 standard deviations, or
called good with a standard deviation outside 0.8 to 1.25 of the true one) and false alarms (right
means within 0.2 that are not certified, right standard deviations within 10 % that are not called
good) over cases x seeds x {fullrank, meanfield, lowrank, svgd}. `--json` keeps one line per fit and
skips those that are there. FASTVI_TEST_DATA names the folder of the real data.
"""

import argparse
import contextlib
import inspect
import itertools
import json
import sys
import time
import warnings
from pathlib import Path

import evaluation as ev
import numpy as np

import fastvi
from fastvi.families import bernoulli, blocks

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import hard_targets

METHODS = ("fullrank", "meanfield", "lowrank", "svgd")
FAR, SDS = 0.3, (0.8, 1.25)  # a miss is beyond
NEAR, RIGHT = 0.2, (0.9, 1.1)  # within, a fit should be certified
PARTICLES, STEPS = 100, 1000
PLURALS = {
    "mean miss": "misses, means",
    "sd miss": "misses, sds",
    "mean alarm": "false alarms, means",
    "sd alarm": "false alarms, sds",
}


def fitted(case, target, method, seed, **options):
    """The posterior of a method."""
    options = {**case.options, "start": case.start, "random_state": seed, **options}
    if method == "svgd":
        options |= later(fastvi.svgd)
        return fastvi.svgd(target, PARTICLES, **{"max_iter": STEPS, **options})
    options |= later(fastvi.fit)
    if case.discrete:
        return fastvi.fit(target, blocks(bernoulli(np.full(target.dim, 0.5))), **options)
    return fastvi.fit(target, method, **options)


def later(fit):
    """The option that leaves the verdict to when it is asked for, so that it can be timed."""
    return {"verdict": False} if "verdict" in inspect.signature(fit).parameters else {}


def methods_of(case):
    """Methods that suit a case, out of `METHODS`; blocks take the place of "fullrank"."""
    return METHODS[:1] if case.discrete else METHODS


def warm_up(case, target, method):
    """Compile everything that a fit calls."""
    with contextlib.suppress(ArithmeticError):
        _ = fitted(case, target, method, 1, max_iter=2).converged


def judged(case, target, method, seed, refine=False):
    """What a fit came to, and what it says of itself, as a record."""
    record = {"case": case.name, "method": method, "seed": seed}
    began = time.process_time()
    try:
        found = fitted(case, target, method, seed)
    except ArithmeticError as error:  # a refusal certifies nothing
        return record | {"refused": str(error)}
    fit_seconds = time.process_time() - began
    verdict = found.refined_verdict() if refine and not case.discrete else found.verdict
    certified = verdict.word in ("good", "means only")
    seconds = time.process_time() - began - fit_seconds
    record |= {"certified": certified, "good": verdict.word == "good"}
    record |= {"verdict": verdict.word, "settled": bool(found.settled), "n_iter": found.n_iter}
    record |= {"fit_seconds": fit_seconds, "verdict_seconds": seconds}
    return record | errors(case, found.mean, found.sd) | corrected(case, found, refine)


def errors(case, mean, sd):
    """Largest error of a mean in standard deviations, and range of their ratios."""
    if case.mean is None:
        return {"off": None, "ratios": None}
    ratios = sd / case.sd
    off = float(np.max(np.abs(mean - case.mean) / case.sd))
    return {"off": off, "ratios": [float(ratios.min()), float(ratios.max())]}


def corrected(case, found, refine):
    """Errors of corrected moments, where they are given."""
    if not hasattr(found, "corrected"):
        return {}
    try:
        moments = found.corrected(refine=True) if refine else found.corrected()
    except (ValueError, ArithmeticError):
        return {}
    return {f"corrected_{k}": v for k, v in errors(case, moments.mean, moments.sd).items()}


# What a record comes to


def outside(ratios, limits):
    """Whether a ratio of standard deviations lies outside, or there is no true one."""
    return ratios is None or ratios[0] < limits[0] or ratios[1] > limits[1]


def judgement(r):
    """Misses and false alarms of one record: {"mean miss", "sd miss", ...} to bool or None."""
    if "refused" in r:
        certified = good = False
        off, ratios = None, None
    else:
        certified, good, off, ratios = r["certified"], r["good"], r["off"], r["ratios"]
    far = off is None or off > FAR
    near = off is not None and off < NEAR
    right = near and not outside(ratios, RIGHT)
    return {
        "mean miss": certified and far,
        "sd miss": bool(good) and outside(ratios, SDS),
        "mean alarm": not certified if near else None,
        "sd alarm": not good if right and good is not None else None,
    }


def summary(records):
    """Counts by method, and the fits that are missed, as text."""
    kinds = tuple(PLURALS)
    lines = ["| | fits | " + " | ".join(PLURALS[kind] for kind in kinds) + " |", "|---" * 6 + "|"]
    found = [(r, judgement(r)) for r in records]
    for method in (*METHODS, "all"):
        of = [j for r, j in found if method in (r["method"], "all")]
        cells = []
        for kind in kinds:
            counted = [j[kind] for j in of if j[kind] is not None]
            cells.append(f"{sum(counted)} of {len(counted)}")
        lines.append(f"| {method} | {len(of)} | " + " | ".join(cells) + " |")
    for kind in kinds:
        lines += ["", f"{PLURALS[kind]}:"]
        for key in dict.fromkeys((r["case"], r["method"]) for r, j in found if j[kind]):
            of = [r for r, j in found if j[kind] and (r["case"], r["method"]) == key]
            lines.append("  " + described(of))
    return "\n".join(lines) + corrections(records) + "\n"


def described(of):
    """A line on fits of one case and method."""
    offs = [r["off"] for r in of if r["off"] is not None]
    lows, highs = zip(*[r["ratios"] or (np.nan, np.nan) for r in of])
    words = ", ".join(sorted({str(r.get("verdict") or "converged" * r["certified"]) for r in of}))
    far = f"{min(offs):.2f}-{max(offs):.2f}" if offs else "no mean"
    return (
        f"{of[0]['case']}, {of[0]['method']} x {len(of)}: off {far}, "
        f"sd {min(lows):.2f}-{max(highs):.2f} {words}"
    )


def corrections(records):
    """How far corrected moments are off, and what fits and verdicts cost."""
    given = [r for r in records if r.get("corrected_ratios") is not None]
    lines = [""]
    if given:
        offs = np.array([r["corrected_off"] for r in given])
        factors = np.array([r["corrected_ratios"] for r in given])
        worst = np.maximum(1.0 / factors[:, 0], factors[:, 1])
        lines.append(
            f"corrected, {len(given)} fits: means off by {np.median(offs):.3f} (median), "
            f"{offs.max():.3f} (largest, {given[int(offs.argmax())]['case']}); sds by a factor of "
            f"{np.nanmedian(worst):.3f}, {np.nanmax(worst):.3f} "
            f"({given[int(np.nanargmax(worst))]['case']})"
        )
    timed = [r for r in records if "fit_seconds" in r]
    if timed:
        shares = [r["verdict_seconds"] / max(r["fit_seconds"], 1e-9) for r in timed]
        lines.append(
            f"verdict / fit in CPU seconds: median {np.median(shares):.2f}, "
            f"90 % {np.quantile(shares, 0.9):.2f}"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases whose names hold these")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--largest", type=int, default=10_000, help="leave out larger dimensions")
    parser.add_argument("--json", metavar="FILE", type=Path, help="one line per fit")
    parser.add_argument("--refine", action="store_true", help="chains where weights cannot tell")
    parser.add_argument("--table", action="store_true", help="only print what FILE comes to")
    args = parser.parse_args()
    folder = ev.data_folder().parent / "posteriors"
    records = []
    if args.json and args.json.exists():
        records = [json.loads(line) for line in args.json.read_text().splitlines()]
    done = {(r["case"], r["method"], r["seed"]) for r in records}
    chosen = [] if args.table else hard_targets.cases(folder if folder.exists() else None)
    chosen = [c for c in chosen if not args.only or any(part in c.name for part in args.only)]
    chosen = [c for c in chosen if c.mean is None or len(c.mean) <= args.largest]
    warnings.simplefilter("ignore")
    targets = {}
    for seed, case in itertools.product(range(args.seeds), chosen):
        for method in methods_of(case):
            if method not in args.methods or (case.name, method, seed) in done:
                continue
            if case.name not in targets:
                targets[case.name] = case.make()
            if seed == 0:
                warm_up(case, targets[case.name], method)
            record = judged(case, targets[case.name], method, seed, args.refine)
            records.append(record)
            print(json.dumps(record), file=sys.stderr, flush=True)
            if args.json:
                with args.json.open("a") as f:
                    f.write(json.dumps(record) + "\n")
    print(summary(records))


if __name__ == "__main__":
    main()
