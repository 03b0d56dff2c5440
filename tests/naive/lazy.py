"""A plain twin of `LazyTable`: a dense float64 table, every row of which takes every step."""

import numpy as np


class DenseTable:
    def __init__(self, values, anchor):
        self.values = np.array(values, np.float64)
        self.anchor = np.broadcast_to(np.float64(anchor), self.values.shape)

    def add(self, rows, values, anchor, rate, factor):
        """table <- (1 - rate) table + rate anchor + factor scatter(rows, values)."""
        self.anchor = np.broadcast_to(np.float64(anchor), self.values.shape)
        for v in range(len(self.values)):
            self.values[v] = (1 - rate) * self.values[v] + rate * self.anchor[v]
        for row, value in zip(rows, values):
            self.values[row] += factor * value
