"""Draw docs/choose.svg, the way from data and question to a call: `python docs/choose.py`."""

from html import escape
from pathlib import Path

TREE = {
    "Texts, counts": {
        "topics": "LatentDirichletAllocation",
        "their number, too": "HierarchicalDirichletProcess",
        "over time": "DynamicTopicModel",
        "correlated, with covariates": "CorrelatedTopicModel",
        "labels of texts": "TopicClassifier",
        "who likes what": "PoissonFactorization",
    },
    "Rows of numbers": {
        "groups": "BayesianGaussianMixture",
        "few directions": "BayesianPCA, BayesianGPLVM",
        "present or absent": "BetaBernoulliFeatures",
        "images, new rows": "VariationalAutoencoder",
        "predict a number": "SparseGPRegressor, SVGP, DeepGPRegressor",
        "predict a label": "SparseGPClassifier, BayesianLogisticRegression",
    },
    "Sequences, times": {
        "states that switch": "GaussianHMM, PoissonHMM, CategoricalHMM",
        "states that move": "LinearGaussianSSM",
        "both": "SwitchingSSM",
        "a smooth curve": "TemporalGPRegressor",
    },
    "A model of my own": {
        "a posterior": "fastvi.fit",
        "verdict is not good": 'fastvi.fit(target, "mixture"), "copula", "maf"',
        "particles": "fastvi.svgd",
        "many simple factors": "fastvi.ep",
        "are draws right?": "fastvi.ksd_test",
    },
}
ROW, WIDTH = 30, 860
LEFT, MIDDLE, RIGHT = (10, 170), (240, 200), (500, 350)  # left edges and widths
BLUE, ORANGE, GREEN = "#0072b2", "#b34f00", "#006d50"


def box(place: tuple[int, int], y: float, text: str, colour: str, mono: bool = False) -> str:
    """A frame with a line of text, whose middle is at y."""
    x, width = place
    family = "monospace" if mono else "sans-serif"
    size = min(13.0, 1.6 * (width - 12) / len(text)) if mono else 13
    return (
        f'<rect x="{x}" y="{y - 12}" width="{width}" height="24" rx="5" fill="white" '
        f'stroke="{colour}" stroke-width="1.5"/>'
        f'<text x="{x + width / 2}" y="{y + 4.5}" text-anchor="middle" font-size="{size:.1f}" '
        f'font-family="{family}" fill="#111">{escape(text)}</text>'
    )


def line(start: tuple[int, int], y: float, end: tuple[int, int], z: float) -> str:
    """A curve from the right of one box to the left of another."""
    a, b = sum(start), end[0]
    bend = (a + b) / 2
    return f'<path d="M{a} {y}C{bend} {y} {bend} {z} {b} {z}" fill="none" stroke="#777"/>'


def draw() -> str:
    """The picture."""
    parts, y = [], 50.0
    for data, questions in TREE.items():
        middle = y + ROW * (len(questions) - 1) / 2
        for question, call in questions.items():
            parts += [line(LEFT, middle, MIDDLE, y), line(MIDDLE, y, RIGHT, y)]
            parts += [box(MIDDLE, y, question, ORANGE), box(RIGHT, y, call, GREEN, mono=True)]
            y += ROW
        parts.append(box(LEFT, middle, data, BLUE))
        y += 14
    heads = zip((LEFT, MIDDLE, RIGHT), ("What you have", "What you want", "What to call"))
    for (x, width), text in heads:
        parts.append(
            f'<text x="{x + width / 2}" y="22" text-anchor="middle" font-size="14" '
            f'font-weight="bold" font-family="sans-serif" fill="#111">{text}</text>'
        )
    title = "<title>What you have, what you want, and what to call</title>"
    frame = f'<rect width="{WIDTH}" height="{y - 20:.0f}" fill="white"/>'
    size = f'viewBox="0 0 {WIDTH} {y - 20:.0f}" role="img"'
    body = "\n".join([title, frame, *parts])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{body}\n</svg>\n'


if __name__ == "__main__":
    Path(__file__).with_name("choose.svg").write_text(draw())
