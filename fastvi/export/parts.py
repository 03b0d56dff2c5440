"""What the C library may consist of."""

__all__ = ["PARTS"]

PARTS = ("topics", "mixture", "sequences", "processes", "autoencoders")
