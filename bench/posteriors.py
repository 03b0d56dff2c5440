"""Posteriors of posteriordb against gold-standard draws: `python bench/posteriors.py`.

Prints the table of docs/posteriors.md. FASTVI_TEST_DATA names the folder of the data.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import evaluation as ev
import numpy as np

import fastvi

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import posteriors

LOGISTIC = "synthetic_logreg_N10000_D50"
FAMILIES = ("fullrank", "meanfield")


def everything(folder):
    """(name, target, means, standard deviations) of each."""
    for name in sorted(posteriors.POSTERIORS):
        function, data, names = posteriors.load(folder, name)
        rows = ("X", "y") if function is posteriors.regression else None
        given = "grad" in function.__code__.co_varnames
        options = {} if given else {"gradient": "numerical"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a numerical gradient costs
            target = fastvi.target(function, data=data, names=names, rows=rows, **options)
        reference = json.loads((folder / name / "reference.json").read_text())["unconstrained"]
        yield name, target, np.array(reference["mean"]), np.array(reference["sd"])
    with np.load(folder / LOGISTIC / "data.npz") as f:
        data = {"X": f["X"], "y": f["y"].astype(float)}
    reference = json.loads((folder / LOGISTIC / "reference.json").read_text())
    target = fastvi.target(posteriors.logistic, data=data, dim=50)
    yield LOGISTIC, target, np.array(reference["mean"]), np.array(reference["sd"])


def main():
    print("| posterior | family | CPU s | steps | mean off, sd | sd ratio | k-hat | converged |")
    print("|---|---|---|---|---|---|---|---|")
    for name, target, mean, sd in everything(ev.data_folder().parent / "posteriors"):
        for family in FAMILIES:
            fastvi.fit(target, family, random_state=1, max_iter=2)  # compiles
            began = time.process_time()
            p = fastvi.fit(target, family, random_state=0)
            khat, converged = p.khat, p.converged
            seconds = time.process_time() - began
            off, ratio = np.abs((p.mean - mean) / sd).max(), p.sd / sd
            print(
                f"| {name} | {family} | {seconds:.3f} | {p.n_iter} | {off:.3f} "
                f"| {ratio.min():.2f} to {ratio.max():.2f} | {khat:.2f} "
                f"| {'yes' if converged else 'no'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
