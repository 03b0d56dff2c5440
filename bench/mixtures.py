"""How near mixtures of K Gaussians come to the best ones: ``python bench/mixtures.py [--docs]``.

KL(q || p) in nats, estimated from 200,000 draws, medians of three seeds, beside the least that
quadrature and BFGS found. ``--docs`` puts the table into docs/densities.md.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import fastvi

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import harness
from test_mixture_families import banana, cauchy, four_modes

PAGE = Path(__file__).parents[1] / "docs" / "densities.md"
LEAST = {  # of mixtures of 1, 2, ... components
    "banana": (banana, {1: 1.2726, 2: 0.7097, 3: 0.4416, 4: 0.2892}),
    "standard Cauchy": (cauchy, {1: 0.18276, 2: 0.04994, 3: 0.01477, 4: 0.00439, 5: 0.00222}),
    "four modes": (four_modes, {1: 1.3775, 2: 0.6844, 4: 0.0}),
}
SEEDS, N_DRAWS = range(3), 200_000
WAYS = {
    "joint": {"method": "joint"},
    "fixed-point": {"method": "fixed-point"},
    "boosting": {"method": "boosting"},
    "low-rank": {"method": "boosting", "boosting": "low-rank"},
    "hellinger": {"method": "boosting", "boosting": "hellinger"},
}


def divergence(posterior):
    Z = posterior.sample(N_DRAWS, 1)
    log_p = posterior.target.attempt(Z, with_gradient=False)[0]
    return float(np.mean(posterior.member.log_prob(Z) - log_p))


def measured(target, K, **way):
    """Median divergence and CPU seconds over the seeds."""
    found = []
    for seed in SEEDS:
        began = time.process_time()
        posterior = fastvi.fit(
            target, "mixture", n_components=K, random_state=seed, verdict=False, **way
        )
        seconds = time.process_time() - began
        found.append((divergence(posterior), seconds))
    return np.median(found, axis=0)


def table():
    names = "".join(f" {name} | CPU s |" for name in WAYS)
    lines = [
        f"| target | components | least |{names}",
        "|---|---:|---:|" + "---:|---:|" * len(WAYS),
    ]
    for name, (make, least) in LEAST.items():
        target = make()
        for way in WAYS.values():
            measured(target, 2, **way)  # compiles
        for K, best in least.items():
            found = [measured(target, K, **way) for way in WAYS.values()]
            cells = [f"{x:.3g}" if x > 5e-5 else "0" for pair in found for x in pair]
            lines.append(f"| {name} | {K} | {best:.3g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="store_true", help="put the table into docs/densities.md")
    args = parser.parse_args()
    machine = harness.describe(harness.machine() | {"repeats": len(SEEDS)})
    text = f"{machine}\n\nKL(q || p) in nats:\n\n{table()}"
    print(text)
    if args.docs:
        harness.replace_block(PAGE, "mixtures", text)


if __name__ == "__main__":
    main()
