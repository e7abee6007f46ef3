"""Rows worked on apart from each other."""

import logging

import pytest

from portal.common.rows import apart


def test_what_does_not_fail_is_as_without_it() -> None:
    told: list[Exception] = []
    with apart(what="row 1", failed=told.append):
        done = True
    assert done and not told


def test_what_fails_is_written_down_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    counted = 0
    with caplog.at_level(logging.ERROR):
        for row in (1, 0, 2):
            with apart(what=f"row {row}", failed=lambda error: told.append(str(error))):
                counted += 2 // row
    assert counted == 3 and told == ["integer division or modulo by zero"]
    assert "row 0" in caplog.text and "row 1" not in caplog.text


def test_who_ends_the_process_is_not_kept_from_it() -> None:
    with pytest.raises(SystemExit), apart(what="row 1"):
        raise SystemExit
