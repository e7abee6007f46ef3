"""The strictness of the tests' templates, which every other test relies on without saying so."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.template import Origin, Template, engines
from django.template.context import Context

from tests import strict_templates

OURS = Path(settings.BASE_DIR) / "templates"


def render(source: str, place: Path = OURS, **context: Any) -> str:
    engine = engines["django"].engine
    return Template(source, origin=Origin(str(place / "essai.html")), engine=engine).render(Context(context))


@pytest.mark.parametrize(
    "source",
    [
        "{{ a }}",
        "{{ missing|default:'-' }}",
        "{% if a.x %}{% endif %}",
        "{% for x in a %}{% endfor %}",
        "{{ 'texte' }}",
        "{{ 1 }}",
        "{% blocktranslate %}{{ a }}{% endblocktranslate %}",
        "{% blocktranslate with b=a %}{{ b }}{% endblocktranslate %}",
        "{% blocktranslate count n=1 %}{{ n }} jour{% plural %}{{ n }} jours{% endblocktranslate %}",
    ],
)
def test_what_passes(source: str) -> None:
    render(source, a={})


@pytest.mark.parametrize(
    "source",
    [
        "{{ missing }}",
        "{{ a.x }}",
        "{{ missing|upper }}",
        "{% if missing %}{% endif %}",
        "{% for x in missing %}{% endfor %}",
        "{% blocktranslate %}{{ missing }}{% endblocktranslate %}",
        "{% blocktranslate with b=missing %}{{ b }}{% endblocktranslate %}",
        "{% blocktranslate count n=1 %}un{% plural %}{{ n }} {{ missing }}{% endblocktranslate %}",
    ],
)
def test_what_fails(source: str) -> None:
    with pytest.raises(strict_templates.UndefinedVariable, match=r"indéfinie dans essai\.html"):
        render(source, a={})
    assert strict_templates.faults
    strict_templates.faults.clear()


def test_others_templates_are_left_alone(tmp_path: Path) -> None:
    assert render("{{ missing }}{{ a.x }}", place=tmp_path, a={}) == ""


@pytest.mark.lenient_templates
def test_a_test_may_do_without() -> None:
    assert render("{{ missing }}") == ""
