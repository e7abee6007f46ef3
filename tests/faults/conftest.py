"""Each fault in front of each bank; afterwards the books of both sides agree, and everybody was told once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_django.live_server_helper import LiveServer

    from tests.faults.bank import Bank


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every bank, unless the test names those that it is about."""
    marks = [mark for mark in metafunc.definition.iter_markers("parametrize") if "bank" in mark.args[0].split(", ")]
    if "bank" in metafunc.fixturenames and not marks:
        from tests.faults.bank import BANKS

        metafunc.parametrize("bank", list(BANKS), indirect=True)


@pytest.fixture
def bank(request: pytest.FixtureRequest, live_server: LiveServer, settings: Any) -> Iterator[Bank]:
    """The other side of one provider, which is the only one that this platform uses."""
    from django.utils.module_loading import import_string

    from tests.faults.bank import BANKS

    settings.SITE_URL = live_server.url
    with import_string(BANKS[request.param])(live_server.url) as running:
        for name, value in running.settings.items():
            setattr(settings, name, value)
        settings.CARD_PROVIDERS = [running.slug]
        yield running


@pytest.fixture
def right_in_the_end(bank: Bank) -> Iterator[None]:
    """After a fault, whatever it was, and once the tasks have run: see `scene.ends_right`."""
    yield
    from tests.faults.scene import ends_right

    ends_right(bank)
