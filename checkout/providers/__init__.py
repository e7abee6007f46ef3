"""Means of payment by card: one module each, all with the same face (base.Provider)."""

import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module

from django.conf import settings

from checkout.providers.base import Provider


def provider(slug: str) -> Provider:
    """The configured provider of that name. Raises KeyError for one that this installation does not use."""
    if slug not in settings.CARD_PROVIDERS:
        raise KeyError(slug)
    return _load(slug)


def known_slugs() -> Sequence[str]:
    """The names that CARD_PROVIDERS may hold: one module each; the demonstration's only there."""
    return [name for name in _modules() if settings.DEMO or name != "demo"]


@cache
def _modules() -> Sequence[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")


def known_providers() -> Sequence[Provider]:
    """Every provider that could be used here, whether or not this installation does."""
    return [_load(slug) for slug in known_slugs()]


def _load(slug: str) -> Provider:
    instance: Provider = import_module(f"checkout.providers.{slug}").provider()
    return instance


def provider_name(slug: str) -> str:
    """What people call a provider, also one that this version does not know any more."""
    return str(_load(slug).label) if slug in known_slugs() else slug


def card_providers() -> Sequence[Provider]:
    """The providers that take cards here, in the order in which they are offered; empty where only the wallet pays."""
    return [provider(slug) for slug in settings.CARD_PROVIDERS]


def default_provider() -> Provider | None:
    """The provider that takes a card when nobody has chosen one, or None where only the wallet pays."""
    return provider(settings.CARD_PROVIDERS[0]) if settings.CARD_PROVIDERS else None
