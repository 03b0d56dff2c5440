"""Run benchmark scripts in their own processes, and print the results."""

import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import evaluation as ev

BENCH = Path(__file__).resolve().parent
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip


NAMES = {"ap": "AP", "news20": "news20"}


def median(values):
    return statistics.median(values) if values else None


class Missing(Exception):
    """A measurement that cannot be made here; its row says why."""


def peers_python(group):
    """Return the Python of the group's virtual environment, made on first use.

    FASTVI_BENCH_<GROUP> names the Python of an existing one instead.
    """
    given = os.environ.get(f"FASTVI_BENCH_{group.upper()}")
    if given:
        return given
    requirements = BENCH / f"requirements-{group}.txt"
    folder = ev.cache_folder() / group
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making {folder} from {requirements.name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "-r", str(requirements)]
        subprocess.run(install, check=True)
        stamp.write_text(wanted)
    return str(python)


def environment(**extra):
    """Return variables for a script: one thread per library, and shared modules on the path."""
    env = os.environ | dict.fromkeys(THREAD_VARIABLES, "1")
    return env | {"PYTHONPATH": str(BENCH)} | extra


def call(python, script, function, env=None, **arguments):
    """Call `function(**arguments)` of a script in a new process; return its JSON result."""
    command = [python, str(BENCH / script), function, json.dumps(arguments)]
    print("  " + " ".join([script, function, command[-1]]), file=sys.stderr, flush=True)
    done = subprocess.run(
        command, env=environment(**(env or {})), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(f"{script} {function}: " + (done.stderr.strip() or "?").splitlines()[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


class Session:
    """Options of a run, the peers' Python, and measurements besides the rows."""

    def __init__(self, group, script, quick, repeats=None, corpora=()):
        self.script, self.quick, self.corpora = script, quick, corpora
        self.repeats = repeats or (1 if quick else 5)
        self.peers = peers_python(group)
        self.details = {}
        self.curves = []

    def peer(self, script, function, **arguments):
        return call(self.peers, f"peers/{script}", function, **arguments)

    def ours(self, function, env=None, script=None, **arguments):
        return call(sys.executable, script or self.script, function, env=env, **arguments)

    def keep(self, name, corpus, k, runs):
        """Keep curves for the plot and the JSON file."""
        for seed, run in enumerate(runs):
            self.curves.append({"name": name, "corpus": corpus, "k": k, "seed": seed, **run})

    def run(self, parts, only, peers):
        """Measure the named parts (all by default); the result as plain data."""
        m = machine(peer_versions(self.peers, peers)) | {
            "quick": self.quick, "repeats": self.repeats,
        }  # fmt: skip
        rows = []
        for name in only or parts:
            print(name, file=sys.stderr, flush=True)
            try:
                rows += parts[name](self)
            except Missing as why:
                rows.append(missing(name, None, str(why)))
        return {"machine": m, "rows": rows, "details": self.details, "curves": self.curves}


def interleaved(jobs, repeats):
    """Run `{name: job(repeat)}` as A B A B ...; return lists of results by name."""
    results = {name: [] for name in jobs}
    for i in range(repeats):
        for name, job in jobs.items():
            results[name].append(job(i))
    return results


def run_process(command, env=None, cwd=None):
    """Wall seconds and peak memory in bytes of a command."""
    code = (
        "import json, resource, subprocess, sys, time\n"
        "t = time.perf_counter()\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)\n"
        "t = time.perf_counter() - t\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "error = done.stderr.decode(errors='replace')[-300:] if done.returncode else ''\n"
        "print(json.dumps([t, peak * (1 if sys.platform == 'darwin' else 1024), error]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)],
        env=os.environ | (env or {}), cwd=cwd, capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, peak, error = json.loads(done.stdout)
    if error:
        raise Missing(f"{' '.join(map(str, command))}: {error.strip().splitlines()[-1]}")
    return seconds, peak


def machine(peers=None):
    """Describe the machine."""
    cpu = platform.processor() or "?"
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = lines[0].split(":", 1)[1].strip() if lines else cpu
    try:
        ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError):
        ram = float("nan")
    if os.environ.get("NUMBA_CPU_NAME"):
        cpu += f" as {os.environ['NUMBA_CPU_NAME']}"
    names = ["fastvi", "numba", "llvmlite", "numpy", "scipy", "scikit-learn"]
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "ram_gib": round(ram, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {n: metadata.version(n) for n in names},
        "peers": peers or {},
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "date": time.strftime("%Y-%m-%d"),
    }


def peer_versions(python, names):
    """Versions of those peers that this Python has; parts that need another say what is missing."""
    code = (
        "import sys, json; from importlib.metadata import distributions;"
        "found = {d.metadata['Name'].lower(): d.version for d in distributions()};"
        "print(json.dumps({n: found[n] for n in sys.argv[1:] if n in found}))"
    )
    done = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def number(x):
    """Format with three digits, and k or M for large numbers."""
    if x is None:
        return "–"
    if isinstance(x, str):
        return x
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(x) >= size:
            return f"{x / (1e3 if letter == ' k' else size):.3g}{letter}"
    return f"{x:.0f}" if abs(x) >= 1000 else f"{x:.3g}"


def row(what, ours, peer, ratio, target, at_most=False, unit="", note="", sign=None):
    """Make a line of the table; `reached` if the ratio is at least (or at most) the target."""
    reached = None
    if ratio is not None:
        reached = bool(ratio <= target if at_most else ratio >= target)
    sign = ("≤ " if at_most else "≥ ") if sign is None else sign
    return {
        "what": what, "ours": ours, "peer": peer, "ratio": ratio, "target": target,
        "wanted": f"{sign}{number(target)}", "unit": unit, "reached": reached, "note": note,
    }  # fmt: skip


def missing(what, target, why):
    return row(what, None, None, None, target, note=f"not measured: {why}") | {"wanted": "–"}


def markdown(rows, targets=True):
    """Format the rows as a table; without `targets` as in the documents."""
    heads = ["what", "fastvi", "peer", "ratio", *(["wanted", "reached"] if targets else [])]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for r in rows:
        values = [number(r[k]) for k in ("ours", "peer")]
        values = [f"{v} {r['unit']}".strip() if v != "–" else v for v in values]
        cells = [r["what"] + (f" ({r['note']})" if r["note"] else ""), *values]
        if targets:
            reached = {True: "yes", False: "**no**", None: "–"}[r["reached"]]
            cells += [number(r["ratio"]), r["wanted"], reached]
        else:  # where the figure itself has a limit, there is no ratio
            cells.append("–" if r["ratio"] == r["ours"] else number(r["ratio"]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def describe(m):
    """Describe the machine in two lines."""
    versions = m["versions"] | m["peers"]
    load = f", load {m['load'][0]:.0f}" if m.get("load") else ""
    return (
        f"{m['cpu']}, {m['cores']} cores, {m['ram_gib']} GiB, {m['system']}, {m['date']}{load}.\n"
        f"Medians of {m['repeats']} runs and seeds. Python {m['python']}, "
        + ", ".join(f"{n} {v}" for n, v in versions.items())
        + "."
    )


def pyplot():
    """Matplotlib's interface, drawing to files."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install 'fastvi[plot]'") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def replace_block(path, name, text):
    """Put `text` between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`."""
    start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    old = path.read_text()
    if start not in old or end not in old:
        raise SystemExit(f"{path}: no lines {start} and {end}")
    head, rest = old.split(start, 1)
    write(path, head + start + "\n" + text + "\n" + end + rest.split(end, 1)[1])


def write(path, text):
    """Write a file in one step."""
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=path.name)
    with os.fdopen(handle, "w") as f:
        f.write(text)
    os.chmod(name, path.stat().st_mode if path.exists() else 0o644)
    os.replace(name, path)


def joined(results):
    """Join runs of different parts on one machine; later rows replace earlier ones."""
    results = list(results)
    whole = results[0]
    for other in results[1:]:
        rows = {row["what"]: row for row in whole["rows"] + other["rows"]}
        whole["rows"] = list(rows.values())
        whole["details"] |= other["details"]
        whole["curves"] += other["curves"]
    repeats = sorted({result["machine"]["repeats"] for result in results})
    whole["machine"]["repeats"] = " or ".join(map(str, repeats))
    return whole
