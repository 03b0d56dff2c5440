"""Vector registers in LLVM's own terms, for loops that its vectoriser does not do well."""

from llvmlite import ir

FLAGS = ("reassoc", "contract", "arcp", "nsz", "afn")
I32, I64 = ir.IntType(32), ir.IntType(64)


def number(n):
    """An integer constant of 64 bits."""
    return ir.Constant(I64, n)


class Vectors:
    """Writes instructions on vectors of numbers of one type, without bounds checks."""

    def __init__(self, builder, scalar, item_bytes):
        self.builder, self.scalar, self.item_bytes = builder, scalar, item_bytes

    def vector(self, lanes):
        """The type of a vector."""
        return ir.VectorType(self.scalar, lanes)

    def load(self, pointer, k, kind):
        """A vector (or a number) from place k of an array on."""
        place = self.builder.bitcast(self.builder.gep(pointer, [k]), kind.as_pointer())
        return self.builder.load(place, align=self.item_bytes, typ=kind)

    def store(self, value, pointer, k):
        """Write a vector (or a number) to place k of an array and on."""
        place = self.builder.bitcast(self.builder.gep(pointer, [k]), value.type.as_pointer())
        self.builder.store(value, place, align=self.item_bytes)

    def add(self, a, b):
        return self.builder.fadd(a, b, flags=FLAGS)

    def multiply_add(self, a, b, c):
        """A b + c."""
        return self.add(self.builder.fmul(a, b, flags=FLAGS), c)

    def splat(self, value, kind):
        """A vector whose lanes all hold one number."""
        blank = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(blank, value, I32(0))
        mask = ir.Constant(ir.VectorType(I32, kind.count), None)
        return self.builder.shuffle_vector(one, blank, mask)

    def shuffled(self, a, b, which):
        """The lanes `which` of two vectors one after another."""
        mask = ir.Constant(ir.VectorType(I32, len(which)), list(which))
        return self.builder.shuffle_vector(a, b, mask)

    def folded(self, vector):
        """The lower half plus the upper."""
        n = vector.type.count // 2
        return self.add(*(self.shuffled(vector, vector, range(i, i + n)) for i in (0, n)))

    def across(self, vectors):
        """The sums across lanes of n vectors, n a power of 2: a vector of n, or a number for 1.

        In each round, neighbours are added side by side: a vector of two kinds of sums is left of
        each pair, then one of four kinds, and so on, until each lane is of another kind.
        """
        n, lanes = len(vectors), vectors[0].type.count
        if n > lanes:
            halves = [self.across(vectors[i : i + n // 2]) for i in (0, n // 2)]
            return self.shuffled(*halves, range(n))
        step = 1
        while len(vectors) > 1:
            low = [lane + lanes - step if lane & step else lane for lane in range(lanes)]
            high = [lane + step for lane in low]
            vectors = [
                self.add(self.shuffled(a, b, low), self.shuffled(a, b, high))
                for a, b in zip(vectors[::2], vectors[1::2])
            ]
            step *= 2
        total = vectors[0]
        while total.type.count > n:
            total = self.folded(total)
        return total if n > 1 else self.builder.extract_element(total, I32(0))
