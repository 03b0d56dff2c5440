"""The topic-model tables in full, and the plot of the curves."""

import harness as h
from harness import NAMES


def extra_tables(result):
    """Word-updates and compile times in full, as text."""
    lines = []
    table = result["details"].get("updates", [])
    if table:
        names = ["fastvi", "C", "scikit-learn", "gensim", "Python"]
        lines += ["Word-updates/s (entries x inner iterations), one thread:", ""]
        lines += ["| corpus, K, inner iterations | " + " | ".join(names) + " |"]
        lines += ["|---" * (len(names) + 1) + "|"]
        for t in table:
            cells = [h.number(t["rates"].get(n)) for n in names]
            head = f"{NAMES[t['corpus']]}, {t['k']}, {t['iterations']}"
            lines.append(f"| {head} | " + " | ".join(cells) + " |")
        lines.append("")
    for solver, t in result["details"].get("compile", {}).items():
        lines.append(
            f"First call of {solver}: {t['empty']:.2g} s with an empty cache, "
            f"{t['cached']:.2g} s after.  "
        )
    return "\n".join(lines).strip()


def plot(result, path):
    """Perplexity against CPU seconds, one panel per corpus and number of topics."""
    plt = h.pyplot()
    panels = sorted({(c["corpus"], c["k"]) for c in result["curves"]})
    if not panels:
        raise SystemExit("--plot: no curves were measured; add `curves` to --only")
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5 * len(panels), 4.5), squeeze=False, layout="constrained"
    )
    names = sorted({c["name"] for c in result["curves"]})
    colours = {n: plt.get_cmap("tab20")(i % 20) for i, n in enumerate(names)}
    for axis, panel in zip(axes[0], panels):
        for c in result["curves"]:
            if (c["corpus"], c["k"]) == panel:
                x, y = ([p[key] for p in c["points"]] for key in ("cpu", "perplexity"))
                known = axis.get_legend_handles_labels()[1]
                label = None if c["name"] in known else c["name"]
                style = "-" if c["name"].startswith("fastvi") else "--"
                axis.plot(
                    x, y, style, color=colours[c["name"]], label=label, lw=1.2, marker="o", ms=3
                )
        axis.set(
            xscale="log", title=f"{NAMES[panel[0]]}, K={panel[1]}", xlabel="CPU seconds",
            ylabel="held-out perplexity (document completion)",
        )  # fmt: skip
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=80)
