"""Benchmarks of fastvi: `python bench/run.py SUITE [--json FILE] [--only NAME ...]`."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import amortized
import generic
import gp
import harness
import lda
import sequences
import statespace
import stein
import stochastic
import topics

SUITES = {
    "lda": lda, "stochastic": stochastic, "generic": generic, "stein": stein, "gp": gp,
    "topics": topics, "sequences": sequences, "statespace": statespace, "amortized": amortized,
}  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything measured")
    parser.add_argument("--quick", action="store_true", help="small data, one run of each")
    parser.add_argument("--repeats", metavar="N", type=int, help="runs and seeds, 5 by default")
    parser.add_argument(
        "--corpora", metavar="NAME", nargs="+",
        help="of the data, all by default; lda: ap, news20; gp: boston, concrete and so on",
    )  # fmt: skip
    parts = "; ".join(f"{name}: {', '.join(suite.PARTS)}" for name, suite in SUITES.items())
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"parts of {parts}")
    parser.add_argument(
        "--docs", nargs="?", metavar="BLOCK", const="",
        help="replace the tables of the suite, or of another block, in docs/benchmarks.md",
    )  # fmt: skip
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the curves")
    parser.add_argument(
        "--again", metavar="FILE", type=Path, nargs="+",
        help="print what earlier --json runs measured, of different parts",
    )  # fmt: skip
    args = parser.parse_args()
    suite = SUITES[args.suite]
    unknown = set(args.only or ()) - set(suite.PARTS)
    if unknown:
        parser.error(f"--only {', '.join(sorted(unknown))}; parts are {', '.join(suite.PARTS)}")

    earlier = harness.joined(json.loads(f.read_text()) for f in args.again) if args.again else None
    result = earlier or suite.run(args.only, args.quick, args.repeats, args.corpora)
    if args.json:
        harness.write(args.json, json.dumps(result, indent=1) + "\n")
    print(report(suite, result, targets=True))
    if args.docs is not None:
        harness.replace_block(PAGE, args.docs or args.suite, report(suite, result, targets=False))
    if args.plot:
        suite.plot(result, args.plot)


def report(suite, result, targets):
    """The machine, the table of figures with or without their targets, and further tables."""
    table = harness.markdown(result["rows"], targets)
    parts = [harness.describe(result["machine"]), table, suite.extra_tables(result)]
    return "\n\n".join(part for part in parts if part)


if __name__ == "__main__":
    main()
