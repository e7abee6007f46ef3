"""A ticket as a picture to show and as a page to print: the QR code (segno), the PDF (typst, PDF/UA-1)."""

import io
from pathlib import Path

import segno
from django.utils import timezone

from bookings.tickets.codes import payload
from bookings.tickets.models import Ticket
from bookings.tickets.words import note
from portal.common.formats import long_date
from portal.common.pdf import pdf as printed

TEMPLATE = Path(__file__).with_name("ticket.typ")


def qr_svg(ticket: Ticket) -> str:
    """The signed code as an <svg> for a page: black on white in both themes, sized by the style sheet."""
    return segno.make_qr(payload(ticket), error="m").svg_inline(
        border=4, dark="#000", light="#fff", omitsize=True, svgclass="qr", lineclass=None
    )


def facts(ticket: Ticket) -> dict[str, str]:
    """What stands on the paper."""
    picture = io.BytesIO()
    segno.make_qr(payload(ticket), error="m").save(picture, kind="svg", border=0)
    return {
        "title": str(ticket.activity),
        "formula": ticket.slot.name,
        "service": str(ticket.activity.service),
        "beneficiary": str(ticket.beneficiary),
        "valid": note(ticket.valid),
        "stop": str(ticket.stop) if ticket.stop else "",
        "unit": str(ticket.unit) if ticket.unit else "",
        "entries": str(ticket.entries) if ticket.entries and ticket.entries > 1 else "",
        "code": ticket.typed_code,
        "bought": long_date(timezone.localdate(ticket.booked_at)) if ticket.booked_at else "",
        "qr": picture.getvalue().decode(),
    }


def pdf(ticket: Ticket) -> bytes:
    """The ticket as an accessible PDF. Its texts are given as data: nothing in them can become markup."""
    return printed(TEMPLATE, facts(ticket))
