"""Posteriors of posteriordb against gold-standard draws: `python bench/posteriors.py`.

Prints the table of docs/posteriors.md. FASTVI_TEST_DATA names the folder of the data.
"""

import sys
import time
from pathlib import Path

import evaluation as ev
import verdicts

import fastvi

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import hard_targets

FAMILIES = ("fullrank", "meanfield")


def everything(folder):
    """(name, target, means, standard deviations) of each."""
    for case in hard_targets.of_posteriordb(folder):
        yield case.name, case.make(), case.mean, case.sd


def main():
    print("| posterior | family | CPU s | steps | mean off, sd | sd ratio | k-hat | verdict |")
    print("|---|---|---|---|---|---|---|---|")
    records = []
    for case in hard_targets.of_posteriordb(ev.data_folder().parent / "posteriors"):
        target = case.make()
        for family in FAMILIES:
            fastvi.fit(target, family, random_state=1, max_iter=2)  # compiles
            began = time.process_time()
            p = fastvi.fit(target, family, random_state=0)
            khat, word = p.khat, verdicts.said(p)
            seconds = time.process_time() - began
            record = {"certified": p.converged, "good": word == "good"}
            record |= verdicts.errors(case, p.mean, p.sd)
            records.append({"case": case.name, "method": family, **record})
            low, high = record["ratios"]
            print(
                f"| {case.name} | {family} | {seconds:.3f} | {p.n_iter} | {record['off']:.3f} "
                f"| {low:.2f} to {high:.2f} | {khat:.2f} | {word} |",
                flush=True,
            )
    counted = [verdicts.judgement(record) for record in records]
    for kind, name in verdicts.PLURALS.items():
        found = [one[kind] for one in counted if one[kind] is not None]
        print(f"{name}: {sum(found)} of {len(found)}")


if __name__ == "__main__":
    main()
