"""Long tables of the stochastic benchmarks, and their picture."""

import harness as h

__all__ = ["extra_tables", "plot"]


def extra_tables(result):
    """The grid of Robbins-Monro schedules, and where curves end, as text."""
    lines = []
    scores = result["details"].get("grid")
    if scores:
        lines += [
            "Held-out nats per word with rates (tau + t)^-kappa, and with the adaptive rate:",
            "",
        ]
        names = list(scores)
        lines += ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
        lines += ["| " + " | ".join(f"{scores[n]:.4f}" for n in names) + " |", ""]
    ends = {}
    for curve in result["curves"]:
        ends.setdefault((curve["corpus"], curve["name"]), []).append(curve["points"])
    if ends:
        lines += ["Final scores (medians; held-out nats per word, or per row of the mixture):", ""]
        lines += ["| data | fit | passes | CPU s | held-out score |", "|---|---|---|---|---|"]
        for (corpus, name), runs in ends.items():
            last = [points[-1] for points in runs]
            cells = [h.median([p[key] for p in last]) for key in ("passes", "cpu", "score")]
            corpus = h.NAMES.get(corpus, corpus)
            lines.append(
                f"| {corpus} | {name} | {cells[0]:.0f} | {cells[1]:.3g} | {cells[2]:.4f} |"
            )
    return "\n".join(lines).strip()


def plot(result, path):
    """Held-out score against CPU seconds, one panel per data set."""
    plt = h.pyplot()
    panels = sorted({c["corpus"] for c in result["curves"]})
    if not panels:
        raise SystemExit("--plot: no curves were measured; add `topics` or `mixtures` to --only")
    figure, axes = plt.subplots(
        1, len(panels), figsize=(7 * len(panels), 5), squeeze=False, layout="constrained"
    )
    for axis, panel in zip(axes[0], panels):
        names = list(dict.fromkeys(c["name"] for c in result["curves"] if c["corpus"] == panel))
        for i, name in enumerate(names):
            runs = [c for c in result["curves"] if (c["corpus"], c["name"]) == (panel, name)]
            for run in runs:
                x, y = ([p[key] for p in run["points"]] for key in ("cpu", "score"))
                label = name if run is runs[0] else None
                colour = plt.get_cmap("tab20")(i % 20)
                axis.plot(x, y, color=colour, label=label, lw=1.2, marker="o", ms=3)
        title = "200k x 20 mixture, K=32" if panel == "mixture" else f"{h.NAMES[panel]}, K=50"
        axis.set(xscale="log", title=title, xlabel="CPU seconds")
        axis.set_ylabel("held-out score, nats per " + ("row" if panel == "mixture" else "word"))
        axis.legend(fontsize="small", loc="lower right")
    figure.savefig(path, dpi=80)
