"""The signed-in browser and the limit of statements of the checkout's tests."""

from tests.checkout.conftest import at_most, browse

__all__ = ["at_most", "browse"]
