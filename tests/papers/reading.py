"""Papers read back: their words, their tags, as a screen reader and a reader's eye would."""

import io
import re
from typing import Any

import pikepdf

from checkout.papers.models import Document
from checkout.papers.paper import stored


def words(document: Document) -> str:
    """The text of the paper's file, in order; spaces of all kinds as one plain space."""
    return read(stored(document))


def read(file: bytes) -> str:
    """The same of any file that typst has printed."""
    found: list[str] = []
    with pikepdf.open(io.BytesIO(file)) as pdf:
        for page in pdf.pages:
            maps = {name: to_unicode(font) for name, font in page.Resources.Font.items()}
            font, size = "", 1
            for operands, operator in pikepdf.parse_content_stream(page):
                match str(operator):
                    case "Tf":
                        font = str(operands[0])
                        size = 2
                    case "Tj" | "TJ":
                        parts = operands[0] if str(operator) == "TJ" else [operands[0]]
                        for part in parts:
                            if isinstance(part, pikepdf.String):
                                raw = bytes(part)
                                codes = [raw[at : at + size] for at in range(0, len(raw), size)]
                                found.append("".join(maps[font].get(code, "?") for code in codes))
                    case "ET":
                        found.append(" ")
    return plain("".join(found))


def plain(text: str) -> str:
    """The text with every run of spaces, breakable or not, as one space."""
    return re.sub(r"[\s\u00a0\u202f]+", " ", text)


def to_unicode(font: Any) -> dict[bytes, str]:
    """What each code of a font stands for, from its ToUnicode map."""
    table = bytes(font.ToUnicode.read_bytes()).decode("latin-1")
    found = {}
    for block in re.findall(r"beginbfchar(.*?)endbfchar", table, re.S):
        for code, text in re.findall(r"<([0-9a-fA-F]+)>\s*<([0-9a-fA-F]+)>", block):
            found[bytes.fromhex(code)] = bytes.fromhex(text).decode("utf-16-be")
    for block in re.findall(r"beginbfrange(.*?)endbfrange", table, re.S):
        for first, last, text in re.findall(r"<([0-9a-fA-F]+)>\s*<([0-9a-fA-F]+)>\s*<([0-9a-fA-F]+)>", block):
            start = int(text, 16)
            for step in range(int(last, 16) - int(first, 16) + 1):
                code = (int(first, 16) + step).to_bytes(len(first) // 2, "big")
                found[code] = (start + step).to_bytes(len(text) // 2, "big").decode("utf-16-be")
    return found


def tags(document: Document) -> list[str]:
    """The kinds of the file's structure elements, in reading order."""
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, pikepdf.Array):
            for each in node:
                walk(each)
        elif isinstance(node, pikepdf.Dictionary):
            if "/S" in node:
                found.append(str(node.S))
            if "/K" in node:
                walk(node.K)

    with pikepdf.open(io.BytesIO(stored(document))) as pdf:
        walk(pdf.Root.StructTreeRoot)
    return found
