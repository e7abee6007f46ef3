"""Rows worked on apart from each other."""

import logging

import pytest

from portal.common.rows import apart


@pytest.mark.parametrize(
    ("answer", "counts"), [(True, True), (object(), True), (0, True), (None, False), (False, False)]
)
def test_what_there_was_nothing_to_do_for_does_not_count(answer: object, counts: bool) -> None:
    assert apart(lambda: answer, what="row 1") is counts


def test_what_fails_is_written_down_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise ZeroDivisionError("the bank's fault")

    with caplog.at_level(logging.ERROR):
        assert apart(fails, what="row 7") is False
        told: list[str] = []
        assert apart(fails, what="row 7", failed=lambda error: told.append(str(error))) is False
        assert told == ["the bank's fault"]
    assert "row 7" in caplog.text and "the bank's fault" in caplog.text
