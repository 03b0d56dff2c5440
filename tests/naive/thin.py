"""Plain twin of products with few columns."""


def product(a, b):
    """a (m, n) times b (n, K), as lists of Python's numbers."""
    return [
        [sum((float(x) * float(row[k]) for x, row in zip(line, b)), 0.0) for k in range(b.shape[1])]
        for line in a
    ]
