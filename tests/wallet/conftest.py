"""The limit of statements of the checkout's tests."""

from tests.checkout.conftest import at_most

__all__ = ["at_most"]
