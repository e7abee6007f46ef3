"""Templates that refuse an undefined variable, in the tests only.

Django prints nothing for a variable that does not exist, so a misspelt name shows as a hole that no test sees. Here the
expressions of the templates under templates/ fail instead:

- when the first name of the expression is unknown, also in {% if %} and {% for %}: a name that is sometimes there has
  to be passed always, or be written `name|default:""`;
- when a further part is missing (`order.totl`) and the value would be printed; in {% if order.receipt %} it stays false;
- when a sentence of {% blocktranslate %} names what neither its `with` nor the context holds: it looks names up itself.

The Django admin's own templates, which rely on silence, are left alone.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from django.template import base
from django.template.defaultfilters import default, default_if_none
from django.templatetags.i18n import BlockTranslateNode

faults: list[str] = []
_enabled = True


class UndefinedVariable(Exception):
    """Not VariableDoesNotExist, which Django keeps to itself."""


class StrictVariable(base.Variable):
    origin: str
    tolerant: bool  # a `default` filter follows
    silent: bool  # in {% if %}, {% for %}…: set at each call, always to the same value for one expression

    def __init__(self, original: base.Variable, origin: str, tolerant: bool) -> None:
        super().__init__(original.var)
        self.translate, self.message_context = original.translate, original.message_context
        self.origin, self.tolerant, self.silent = origin, tolerant, False

    def resolve(self, context: Any) -> Any:
        try:
            return super().resolve(context)
        except base.VariableDoesNotExist:
            known = self.lookups is not None and self.lookups[0] in context
            if not _enabled or self.tolerant or (known and self.silent):
                raise
            raise _fault(str(self.var), self.origin) from None


def _fault(name: str, origin: str) -> UndefinedVariable:
    faults.append(f"variable « {name} » indéfinie dans {origin}")
    return UndefinedVariable(faults[-1])


@contextlib.contextmanager
def lenient() -> Iterator[None]:
    global _enabled
    _enabled = False
    try:
        yield
    finally:
        _enabled = True


def install(folder: Path) -> None:
    """To be called once, before the first template is compiled."""
    expression = base.FilterExpression
    original_init, original_resolve = expression.__init__, expression.resolve

    def init(self: Any, token: str, parser: Any) -> None:
        original_init(self, token, parser)
        origin = getattr(getattr(parser, "origin", None), "name", None)
        if origin and self.is_var and folder in Path(str(origin)).parents:
            tolerant = any(function in (default, default_if_none) for function, _ in self.filters)
            self.var = StrictVariable(self.var, str(Path(str(origin)).relative_to(folder)), tolerant)

    def resolve(self: Any, context: Any, ignore_failures: bool = False) -> Any:
        if isinstance(self.var, StrictVariable):
            self.var.silent = ignore_failures
        return original_resolve(self, context, ignore_failures)

    expression.__init__ = init  # type: ignore[method-assign]
    expression.resolve = resolve  # type: ignore[method-assign]
    _install_sentences(folder)


def _install_sentences(folder: Path) -> None:
    original_render = BlockTranslateNode.render

    def render(self: Any, context: Any, nested: bool = False) -> str:
        origin = Path(str(self.origin.name))
        if _enabled and folder in origin.parents:
            tokens = [*self.singular, *(self.plural or [])]
            names = {token.contents for token in tokens if token.token_type == base.TokenType.VAR}
            for name in sorted(names - {*self.extra_context, self.countervar}):
                if name not in context:
                    raise _fault(name, str(origin.relative_to(folder)))
        return original_render(self, context, nested)

    mock.patch.object(BlockTranslateNode, "render", render).start()
