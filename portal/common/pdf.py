"""Accessible PDF files (PDF/UA-1) by typst, from a template of ours and data that never become markup."""

import datetime as dt
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typst


@functools.cache
def _fonts() -> typst.Fonts:
    """Those that come with typst: a paper looks the same on every machine, and they are read once."""
    return typst.Fonts(include_system_fonts=False)


def pdf(template: Path, data: Mapping[str, Any], moment: dt.datetime | None = None) -> bytes:
    """The template as a tagged PDF; it reads `data` by `json(bytes(sys.inputs.data))`.

    With the same `moment` (when it says it was made) the same data give the same bytes.
    Raises typst.TypstError for a paper that would not be accessible (a picture without words, a table without heads…).
    """
    result: bytes = typst.compile(
        template,
        format="pdf",
        pdf_standards=["ua-1"],
        sys_inputs={"data": json.dumps(data, ensure_ascii=False)},
        font_paths=_fonts(),
        timestamp=int(moment.timestamp()) if moment else None,
    )
    return result
