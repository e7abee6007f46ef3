"""The layers of the house, where import-linter cannot see: foreign keys by name, file sizes, forbidden habits."""

import re
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.db.models import Field

ROOT = Path(settings.BASE_DIR)

# An app may point to those on a line below its own, and to itself; siblings never point to each other.
LAYERS = [
    {"demo"},
    {"checkout"},
    {"bookings", "wallet"},
    {"families"},
    {"services"},
    {"accounts"},
    {"outbox"},
]
HEIGHT = {label: len(LAYERS) - index for index, labels in enumerate(LAYERS) for label in labels}
APPS = ("accounts", "services", "families", "bookings", "wallet", "checkout", "portal")


def foreign_keys() -> list[tuple[str, str, str]]:
    """Every relation of our models, as (from app, to app, field)."""
    found = []
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.get_fields():
            if not isinstance(field, Field) or field.remote_field is None or isinstance(field.remote_field.model, str):
                continue
            target = field.remote_field.model._meta.app_label
            found.append((model._meta.app_label, target, f"{model._meta.label}.{field.name}"))
    return found


def python_files() -> list[Path]:
    return [path for name in APPS for path in (ROOT / name).rglob("*.py") if "migrations" not in path.parts]


def test_every_app_of_ours_has_its_layer() -> None:
    ours = {
        config.label
        for config in apps.get_app_configs()
        if Path(config.path).is_relative_to(ROOT)
        and ".venv" not in Path(config.path).parts
        and list(config.get_models())
    }
    assert ours == set(HEIGHT)


def test_foreign_keys_point_downwards() -> None:
    wrong = [
        name
        for source, target, name in foreign_keys()
        if source in HEIGHT and target in HEIGHT and source != target and HEIGHT[target] >= HEIGHT[source]
    ]
    assert wrong == []


def test_the_walk_sees_the_relations_that_matter() -> None:
    """A walk that found nothing would pass too."""
    names = {name for _source, _target, name in foreign_keys()}
    assert {"checkout.OrderLine.booking", "bookings.Booking.open_day", "services.Subscription.user"} <= names


def test_money_is_never_deleted_by_cascade() -> None:
    money = {"wallet", "checkout", "bookings"}
    cascades = [
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models()
        if model._meta.app_label in money
        for field in model._meta.get_fields()
        if isinstance(field, Field)
        and field.remote_field is not None
        and getattr(field.remote_field, "on_delete", None).__name__ == "CASCADE"  # type: ignore[union-attr]
    ]
    assert cascades == ["checkout.CartLine.cart"]  # a cart's lines are no money yet


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_grows_past_600_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 600, "split it along its meaning"


def test_no_module_is_called_services_py_and_no_signal_runs_the_domain() -> None:
    for path in python_files():
        assert path.name not in {"services.py", "signals.py"}, path
        if path.parts[-2] != "demo":
            assert "django.db.models.signals" not in path.read_text(), path


def test_templates_have_no_inline_script_or_style() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son[a-z]+=|javascript:", re.I)
    wrong = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in (ROOT / "templates").rglob("*.html")
        for match in inline.finditer(path.read_text())
    ]
    assert wrong == []


def test_the_licence_is_the_agpl() -> None:
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text()
