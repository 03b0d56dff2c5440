"""scikit-learn's kernel objects as programs for compiled code, without importing scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from fastvi.base.blas import aligned
from fastvi.base.tree import read_only
from fastvi.base.typing import Array
from fastvi.kernels import covariance as kernels
from fastvi.kernels.covariance import Program

__all__ = ["Covariance", "node_diagonals", "readable"]

MATERN = {
    0.5: kernels.MATERN12,
    1.5: kernels.MATERN32,
    2.5: kernels.MATERN52,
    np.inf: kernels.RBF,
}
BLOCK_ENTRIES = 2048  # of a block of rows, which stays in a core's first cache
KNOWN = (
    "ConstantKernel, WhiteKernel, RBF, Matern, RationalQuadratic, ExpSineSquared, DotProduct, "
    "their sums, products and whole powers"
)


class Node(NamedTuple):
    """A node of the tree, with the numbers of the hyperparameters it takes."""

    kind: int
    left: int = 0
    right: int = 0
    amplitudes: tuple[int, ...] = ()
    shape: int = -1
    lengths: tuple[int, ...] = ()


Terms = list[tuple[int, ...]]  # a sum of products of hyperparameters


class Parsed(NamedTuple):
    """A part of a kernel: its root or None, its white noise, and what it is if it is constant."""

    root: int | None
    noise: Terms
    constant: Terms | None = None


class Covariance:
    """A kernel's structure: how hyperparameters make a `Program`, and how gradients come back.

    `theta` below is scikit-learn's: logarithms of the hyperparameters that are not fixed, in the
    order of ``kernel.theta``. White noise is apart from the rest, the variance of the likelihood.

    Parameters
    ----------
    kernel : sklearn.gaussian_process.kernels.Kernel
    n_features : int
        D.
    alpha : float
        Noise variance beside that of white noise.

    Raises
    ------
    ValueError
        If the kernel holds what is not known here, or length scales do not fit `n_features`.
    """

    def __init__(self, kernel: Any, n_features: int, alpha: float = 0.0) -> None:
        self.n_features = n_features
        self.alpha = alpha
        self.nodes: list[Node] = []
        values: list[float] = []
        fixed: list[bool] = []
        parsed = self._parse(kernel, values, fixed)
        if parsed.root is None:
            raise ValueError(f"kernel is {kernel}, noise only; wanted something beside WhiteKernel")
        self.white = parsed.noise
        self.values = np.array(values)
        self.free = ~np.array(fixed, bool)
        self.inputs = [i for i, node in enumerate(self.nodes) if node.kind > kernels.CONSTANT]
        slots = np.full(len(self.nodes), -1)
        slots[self.inputs] = np.arange(len(self.inputs))
        tree = ([node[k] for node in self.nodes] for k in range(3))  # kinds, left, right
        self._tree = *(np.array(part, np.int64) for part in tree), slots
        self.is_gaussian = [node.kind for node in self.nodes] == [kernels.RBF]
        self.is_stationary = all(node.kind != kernels.LINEAR for node in self.nodes)

    # Parsing

    def _parse(self, kernel: Any, values: list[float], fixed: list[bool]) -> Parsed:
        name = type(kernel).__name__
        if not type(kernel).__module__.startswith("sklearn.gaussian_process."):
            raise ValueError(f"kernel {kernel!r} is not scikit-learn's; wanted {KNOWN}")
        if name in ("Sum", "Product"):
            parts = [self._parse(part, values, fixed) for part in (kernel.k1, kernel.k2)]
            return self._sum(*parts) if name == "Sum" else self._product(*parts)
        if name == "Exponentiation":
            return self._power(kernel, values, fixed)
        at: dict[str, tuple[int, ...]] = {}
        for parameter in kernel.hyperparameters:
            value = np.atleast_1d(np.asarray(getattr(kernel, parameter.name), float))
            at[parameter.name] = tuple(range(len(values), len(values) + len(value)))
            values.extend(value)
            fixed.extend([parameter.fixed] * len(value))
            if len(value) not in (1, self.n_features):
                raise ValueError(
                    f"{parameter.name} of {kernel} has {len(value)} entries; "
                    f"wanted 1 or one a column of X, {self.n_features}"
                )
        return self._leaf(kernel, name, at)

    def _leaf(self, kernel: Any, name: str, at: dict[str, tuple[int, ...]]) -> Parsed:
        if name == "WhiteKernel":
            return Parsed(None, [at["noise_level"]])
        if name == "ConstantKernel":
            amplitude = at["constant_value"]
            return Parsed(self._add(Node(kernels.CONSTANT, amplitudes=amplitude)), [], [amplitude])
        lengths = at.get("length_scale", ())
        if name == "RBF":
            node = Node(kernels.RBF, lengths=lengths)
        elif name == "Matern" and kernel.nu in MATERN:
            node = Node(MATERN[kernel.nu], lengths=lengths)
        elif name == "RationalQuadratic":
            node = Node(kernels.RATIONAL, shape=at["alpha"][0], lengths=lengths)
        elif name == "ExpSineSquared":
            node = Node(kernels.PERIODIC, shape=lengths[0], lengths=at["periodicity"])
        elif name == "DotProduct":
            node = Node(kernels.LINEAR, shape=at["sigma_0"][0])
        elif name == "Matern":
            raise ValueError(f"nu of {kernel} is {kernel.nu}; wanted 0.5, 1.5, 2.5 or inf")
        else:
            raise ValueError(f"kernel {kernel} is not known here; wanted {KNOWN}")
        return Parsed(self._add(node), [])

    def _power(self, kernel: Any, values: list[float], fixed: list[bool]) -> Parsed:
        power = kernel.exponent
        if power != int(power) or not 1 <= power <= 8:
            raise ValueError(f"exponent of {kernel} is {power}; wanted a whole number from 1 to 8")
        before = len(values)
        result = self._parse(kernel.kernel, values, fixed)
        for _ in range(int(power) - 1):  # the same hyperparameters once more
            factor = self._parse(kernel.kernel, again := values[:before], fixed[:before])
            assert len(again) == len(values)
            result = self._product(result, factor)
        return result

    def _add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _sum(self, a: Parsed, b: Parsed) -> Parsed:
        noise = a.noise + b.noise
        if a.root is None or b.root is None:
            rest = b if a.root is None else a
            return Parsed(rest.root, noise, rest.constant)
        both = a.constant is not None and b.constant is not None
        constant = (a.constant or []) + (b.constant or []) if both else None
        return Parsed(self._add(Node(kernels.SUM, a.root, b.root)), noise, constant)

    def _product(self, a: Parsed, b: Parsed) -> Parsed:
        noise = _times(a.noise, b.noise)
        for part, other in ((a, b), (b, a)):
            if part.noise and other.root is not None:
                if other.constant is None:
                    raise ValueError(
                        "kernel multiplies white noise with a function of X; "
                        "wanted it added, or multiplied with constants"
                    )
                noise += _times(part.noise, other.constant)
        if a.root is None or b.root is None:
            return Parsed(None, noise)
        constant = None
        if a.constant is not None and b.constant is not None:
            constant = _times(a.constant, b.constant)
        return Parsed(self._multiply(a.root, b.root), noise, constant)

    def _multiply(self, a: int, b: int) -> int:
        """Constants become amplitudes of leaves where they can."""
        for i, j in ((a, b), (b, a)):
            one, other = self.nodes[i], self.nodes[j]
            if one.kind == kernels.CONSTANT and other.kind > kernels.PRODUCT:
                if i not in (last := len(self.nodes) - 1, last - 1) or j not in (last, last - 1):
                    continue
                self.nodes[-2:] = []
                return self._add(other._replace(amplitudes=one.amplitudes + other.amplitudes))
        return self._add(Node(kernels.PRODUCT, a, b))

    # Hyperparameters

    @property
    def theta(self) -> Array:
        """Those the kernel was given with."""
        return np.asarray(np.log(self.values[self.free]))

    def hyperparameters(self, theta: Array) -> Array:
        """All of them, fixed ones as well, as they are."""
        values = self.values.copy()
        values[self.free] = np.exp(theta)
        return values

    def program(self, theta: Array) -> Program:
        """What the compiled code walks."""
        values = self.hyperparameters(theta)
        n = len(self.nodes)
        amplitudes, shapes, scales = np.ones(n), np.ones(n), np.ones((n, self.n_features))
        for i, node in enumerate(self.nodes):
            amplitudes[i] = np.prod(values[list(node.amplitudes)])
            if node.shape >= 0:
                shapes[i] = values[node.shape] ** (2 if node.kind == kernels.LINEAR else 1)
            if node.lengths:
                scales[i] = 1.0 / values[list(node.lengths)]
        return Program(*self._tree, amplitudes, shapes, scales)

    def noise(self, theta: Array) -> float:
        """Variance of the likelihood."""
        return self.white_noise(theta) + self.alpha

    def white_noise(self, theta: Array) -> float:
        """Variance of the kernel's white noise."""
        values = self.hyperparameters(theta)
        return float(sum(np.prod(values[list(term)]) for term in self.white))

    def noise_gradient(self, theta: Array) -> Array:
        """Derivative of the noise by theta."""
        values = self.hyperparameters(theta)
        gradient = np.zeros(len(values))
        for term in self.white:
            np.add.at(gradient, list(term), np.prod(values[list(term)]))
        return np.asarray(gradient[self.free])

    # Matrices

    def scaled(self, program: Program, z: Array) -> Array:
        """Columns of a covariance matrix as `fill` and `Reverse.add` take them."""
        width = -(-len(z) // kernels.WIDTH) * kernels.WIDTH
        zt = aligned((len(self.nodes), self.n_features, width))
        zt[:, :, len(z) :] = 0.0
        scales = program.scales * kernels.BINARY if self.is_gaussian else program.scales
        np.multiply(z.T, scales[:, :, None], out=zt[:, :, : len(z)])
        return zt

    def fill(
        self, program: Program, x: Array, zt: Array, out: Array, scratch: Array | None = None
    ) -> Array:
        """Write k(x, z) (n, M) into `out`."""
        function = kernels.gaussian if self.is_gaussian else kernels.covariance
        scratch = self.scratch(len(x), zt) if scratch is None else scratch
        function(readable(program), read_only(x), read_only(zt), scratch, out)
        return out

    def scratch(self, n: int, zt: Array) -> Array:
        """What `fill` takes for up to n rows."""
        width = zt.shape[2]
        size = max(width, min(n * width, BLOCK_ENTRIES))
        return aligned((len(self.nodes) + 1, size))

    def matrix(self, program: Program, x: Array, z: Array) -> Array:
        """k(x, z), (n, M)."""
        return self.fill(program, x, self.scaled(program, z), np.empty((len(x), len(z))))

    def diagonal(self, program: Program, x: Array) -> Array:
        """k(x, x), (n,)."""
        return node_diagonals(program, x)[-1]


def readable(program: Program) -> Program:
    """The program as kernels take it: compiled once, for arrays that can be written to or not."""
    return Program(*map(read_only, program))


def node_diagonals(program: Program, x: Array) -> list[Array]:
    """k(x, x) of each node, (n,); that of the last is the whole function's."""
    values: list[Array] = []
    for kind, left, right, amplitude, shape, scales in zip(
        program.kinds, program.left, program.right,
        program.amplitudes, program.shapes, program.scales,
    ):  # fmt: skip
        if kind == kernels.SUM:
            values.append(values[left] + values[right])
        elif kind == kernels.PRODUCT:
            values.append(values[left] * values[right])
        elif kind == kernels.LINEAR:
            values.append(amplitude * (shape + np.square(x * scales).sum(axis=1)))
        else:
            values.append(np.full(len(x), amplitude))
    return values


def _times(a: Terms, b: Iterable[tuple[int, ...]]) -> Terms:
    return [p + q for p in a for q in b]
