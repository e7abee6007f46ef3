"""Two communes with everything. Models are imported inside: pytest reads this file before Django is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from accounts.models import User
    from tests.admin.world import Town


@pytest.fixture
def rosieres(db: None) -> Town:
    from tests.admin.world import town

    return town("Rosières")


@pytest.fixture
def aiguilhe(db: None) -> Town:
    from tests.admin.world import town

    return town("Aiguilhe")


@pytest.fixture
def operator(db: None) -> User:
    from tests.factories import agent_of

    return agent_of()


@pytest.fixture
def everything(rosieres: Town, aiguilhe: Town) -> dict[str, object]:
    """One row of every registered table: Rosières's where a table has communes."""
    from tests.admin.world import shared_rows

    return {**{label: row for label, row in rosieres.rows.items() if "." in label}, **shared_rows(rosieres)}
