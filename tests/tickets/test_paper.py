"""The code on the screen and on paper is read back by a real reader, and only ours is ours."""

import io
import json
import re

import pikepdf
import pytest
import typst
import zxingcpp
from django.test import Client
from PIL import Image

from bookings.tickets import codes
from bookings.tickets.paper import TEMPLATE, facts, pdf, qr_svg
from tests.factories import BusStopFactory, EntriesFactory, PassFactory
from tests.tickets.kiosk import bikes, buy, kiosk

pytestmark = pytest.mark.django_db


def decoded(picture: bytes) -> str:
    (found,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(picture)).convert("L"))
    return str(found.text)


def drawn(svg: str) -> bytes:
    """An SVG as pixels, by way of typst, which draws as a printer does."""
    svg = svg if "xmlns=" in svg else svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    markup = (
        '#set page(width: 80mm, height: 80mm, margin: 0mm)\n#image(bytes(sys.inputs.svg), format: "svg", width: 80mm)'
    )
    return typst.compile(markup.encode(), format="png", ppi=150, sys_inputs={"svg": svg})


def test_the_screens_code_is_the_signed_one() -> None:
    ticket = buy(kiosk(EntriesFactory(entries=10)))
    text = decoded(drawn(qr_svg(ticket)))
    assert text == codes.payload(ticket) and codes.is_ours(text) and codes.read(text) == ticket.code


def test_a_changed_letter_is_not_ours() -> None:
    text = codes.payload(buy(kiosk(EntriesFactory(entries=10))))
    assert codes.is_ours(text)
    assert not codes.is_ours(text.replace(".10.", ".99."))
    assert not codes.is_ours(text[:-4] + "AAAA") and not codes.is_ours("V1.X") and not codes.is_ours("é.è")


def test_another_installation_signs_otherwise(settings: object) -> None:
    text = codes.payload(buy(kiosk()))
    settings.SECRET_KEY = "une autre clé, elle aussi assez longue pour signer"  # type: ignore[attr-defined]
    assert not codes.is_ours(text)


@pytest.mark.parametrize("write", [str.lower, lambda code: " ".join(code), lambda code: f" {code[:4]}-{code[4:]} "])
def test_a_code_is_typed_as_people_type(write: object) -> None:
    ticket = buy(kiosk())
    assert codes.read(write(ticket.code)) == ticket.code  # type: ignore[operator]
    assert codes.read(ticket.typed_code) == ticket.code


@pytest.mark.parametrize("text", ["", "A", "A" * 13, "0" * 12, "V1.A.B", "é" * 12])
def test_what_is_no_code_is_none(text: str) -> None:
    assert codes.read(text) == ""


def test_the_paper_is_accessible_and_holds_the_code() -> None:
    shop = kiosk(PassFactory())
    stop = BusStopFactory(line__activity=shop.activity, name="L’Hermitage #1 *gras* $x$")
    ticket = buy(shop, stop=stop)
    raw = pdf(ticket)
    with pikepdf.open(io.BytesIO(raw)) as document:
        assert len(document.pages) == 1
        assert str(document.Root.Lang) == "fr" and bool(document.Root.MarkInfo.Marked)
        assert b"pdfuaid" in bytes(document.Root.Metadata.read_bytes())
        assert "E-billet" in str(document.open_metadata()["dc:title"])
    picture = typst.compile(TEMPLATE, format="png", ppi=150, sys_inputs={"data": json.dumps(facts(ticket))})
    assert decoded(picture) == codes.payload(ticket)


def test_it_is_downloaded_by_its_owner() -> None:
    shop = bikes(3)
    ticket = buy(shop)
    client = Client()
    client.force_login(shop.user)
    answer = client.get(f"/mon-compte/e-billets/{ticket.pk}/billet.pdf")
    assert answer["Content-Type"] == "application/pdf" and answer.content.startswith(b"%PDF")
    assert re.search(rf'filename="e-billet-{ticket.typed_code}\.pdf"', answer["Content-Disposition"])
    assert "no-store" in answer["Cache-Control"]
