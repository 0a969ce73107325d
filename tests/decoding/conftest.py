"""The tests of decoding use the small models of tests/model."""

from ..model.conftest import make_tiny, tiny

__all__ = ["make_tiny", "tiny"]
