"""Supporting documents: what strangers send is checked by its content, rebuilt, and only then stored.

Nothing of the sender's bytes reaches another person unread: an image is decoded and encoded again, a PDF is rebuilt
without anything that acts (scripts, attached files, actions on opening).
"""

import io
import unicodedata
import zipfile
from dataclasses import dataclass
from typing import Any

import filetype
import pikepdf
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils.translation import gettext as _
from pikepdf.settings import qpdf_limit_errors, set_qpdf_limits
from PIL import Image, ImageOps

from accounts.models import SupportingDocument, User
from portal.common.errors import Refused

MAX_MEGABYTES = 10
MAX_BYTES = MAX_MEGABYTES * 1024 * 1024
MAX_DOCUMENTS = 50  # of one account
MAX_PAGES = 100
MAX_NAME = 100
# A photo of 50 million pixels is shrunk while it is decoded. Other images unpack whole, four bytes a pixel, before
# they can be shrunk: they may have as many as fit in a worker's memory (an A4 page at 400 dots per inch has 15).
MAX_PHOTO_PIXELS = 50_000_000
MAX_PIXELS = 20_000_000
Image.MAX_IMAGE_PIXELS = MAX_PHOTO_PIXELS  # Pillow's own guard, behind ours
# An A4 page at 300 dots per inch: more only costs space.
MAX_SIDE = 3508

# A PDF of one megabyte can unpack to gigabytes; these bounds are qpdf's own, for the whole process.
MAX_UNPACKED = 64 * 1024 * 1024
set_qpdf_limits(
    flate_max_memory=MAX_UNPACKED,
    png_max_memory=MAX_UNPACKED,
    tiff_max_memory=MAX_UNPACKED,
    run_length_max_memory=MAX_UNPACKED,
    max_stream_filters=4,
    doc_max_warnings=200,
    parser_max_nesting=100,
    parser_max_container_size=200_000,
)

EXTENSIONS = {"application/pdf": "pdf", "image/jpeg": "jpg", "image/png": "png"}
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError)

# What a PDF can do by itself, wherever it hides; the keys go, and with them all that only they led to.
ACTIVE_KEYS = (
    "/OpenAction", "/AA", "/JS", "/JavaScript", "/EmbeddedFiles", "/EF", "/AF", "/XFA", "/RichMediaContent",
    "/RichMediaSettings", "/Collection", "/Metadata", "/PieceInfo", "/NeedsRendering",
)  # fmt: skip
ACTIVE_ACTIONS = {
    "/JavaScript", "/Launch", "/SubmitForm", "/ImportData", "/ResetForm", "/GoToR", "/GoToE", "/Rendition", "/Movie",
    "/Sound", "/RichMediaExecute", "/Hide", "/SetOCGState", "/GoTo3DView", "/Trans",
}  # fmt: skip
ACTIVE_ANNOTATIONS = {"/FileAttachment", "/RichMedia", "/Movie", "/Sound", "/Screen", "/3D"}


@dataclass(frozen=True)
class CleanFile:
    """What may be stored: rebuilt content, its type, a harmless name."""

    content: bytes
    content_type: str
    name: str


@transaction.atomic
def add_document(*, user: User, kind: str, upload: UploadedFile, by: User) -> SupportingDocument:
    """Check, clean and store a document of this account. Raises Refused with the sentence that says what is wrong."""
    clean = clean_upload(upload)
    User.objects.select_for_update().get(pk=user.pk)  # one upload at a time, so that the limit holds
    if SupportingDocument.objects.of(user).count() >= MAX_DOCUMENTS:
        raise Refused(
            _("Vous avez déjà %d documents : retirez-en un avant d’en envoyer un autre.") % MAX_DOCUMENTS,
            code="too_many",
        )
    return SupportingDocument.objects.create(
        user=user,
        kind=kind,
        file=ContentFile(clean.content, name=clean.name),
        name=clean.name,
        content_type=clean.content_type,
        size=len(clean.content),
    )


@transaction.atomic
def delete_document(*, document: SupportingDocument, by: User | None) -> None:
    """Remove a document, by its owner or (None) by the house when it is no longer needed; its file leaves the disk once that is committed."""
    file = document.file
    document.delete()
    transaction.on_commit(lambda: file.storage.delete(file.name), robust=True)


def clean_upload(upload: UploadedFile) -> CleanFile:
    """The upload rebuilt from its content. Raises Refused when it is anything but a PDF, a JPEG or a PNG."""
    if (upload.size or 0) > MAX_BYTES:
        raise Refused(_("Ce fichier dépasse %d Mo : envoyez-en un plus léger.") % MAX_MEGABYTES, code="too_large")
    data = upload.read()
    guessed = filetype.guess(data)
    content_type = guessed.mime if guessed else ""
    if content_type not in EXTENSIONS or _is_something_else_too(data, content_type):
        raise Refused(
            _("Ce fichier n’est ni un PDF, ni une image JPEG ou PNG : seuls ces formats sont acceptés."), code="format"
        )
    content = _clean_pdf(data) if content_type == "application/pdf" else _clean_image(data, content_type)
    return CleanFile(content, content_type, harmless_name(upload.name or "", EXTENSIONS[content_type]))


def harmless_name(name: str, extension: str) -> str:
    """What the person called the file, without paths, control and direction characters, with the true extension."""
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(c if unicodedata.category(c)[0] not in "CZ" else " " for c in name if c not in '<>:"|?*;%`$')
    stem = " ".join(kept.split()).rsplit(".", 1)[0].strip(" .-_")
    return f"{stem[: MAX_NAME - len(extension) - 1].strip() or 'document'}.{extension}"


def _is_something_else_too(data: bytes, content_type: str) -> bool:
    """Whether the file is also an archive, a page or another document (« polyglot »)."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        return True
    head = data[:4096].lower()
    if any(mark in head for mark in (b"<html", b"<script", b"<svg", b"<!doctype html", b"<?php", b"<iframe")):
        return True
    return content_type != "application/pdf" and b"%pdf-" in head


# --- Images ----------------------------------------------------------------------------------------------------------


def _clean_image(data: bytes, content_type: str) -> bytes:
    form = "JPEG" if content_type == "image/jpeg" else "PNG"
    try:
        with Image.open(io.BytesIO(data), formats=[form]) as source:
            is_photo = form == "JPEG" and not source.info.get("progressive")
            if source.width * source.height > (MAX_PHOTO_PIXELS if is_photo else MAX_PIXELS):
                raise Refused(
                    _("Cette image est trop grande : réduisez-la, ou envoyez un PDF."), code="too_many_pixels"
                )
            ratio = MAX_SIDE / max(source.size)
            source.draft("RGB", (int(source.width * ratio), int(source.height * ratio)))  # a photo is decoded smaller
            source.thumbnail((MAX_SIDE, MAX_SIDE), reducing_gap=None)
            ImageOps.exif_transpose(source, in_place=True)
            flat = _flatten(source)
    except UNREADABLE as error:
        raise Refused(
            _("Cette image est abîmée et ne s’ouvre pas : enregistrez-la de nouveau."), code="damaged"
        ) from error
    # Whatever the sender wrote around the pixels (place, comments, colour profile) stays behind.
    flat.info.clear()
    output = io.BytesIO()
    if form == "JPEG":
        flat.save(output, "JPEG", quality=85, optimize=True)
    else:
        flat.save(output, "PNG", optimize=True)
    return output.getvalue()


def _flatten(image: Image.Image) -> Image.Image:
    """The image on white paper, without transparency."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image if image.mode == "RGB" else image.convert("RGB")
    layered = image.convert("RGBA")
    paper = Image.new("RGB", layered.size, "white")
    paper.paste(layered, mask=layered.getchannel("A"))
    return paper


# --- PDF -------------------------------------------------------------------------------------------------------------


def _clean_pdf(data: bytes) -> bytes:
    damaged = _("Ce PDF est abîmé et ne s’ouvre pas : enregistrez-le de nouveau, ou envoyez-en une photo.")
    limits_met = qpdf_limit_errors()
    try:
        with pikepdf.open(io.BytesIO(data)) as pdf:
            if not 0 < len(pdf.pages) <= MAX_PAGES:
                raise Refused(_("Un PDF de 1 à %d pages est attendu.") % MAX_PAGES, code="pages")
            _make_passive(pdf)
            output = io.BytesIO()
            # Only what the pages lead to is written; an encrypted file without password comes out in clear.
            pdf.save(output, encryption=False)
            unpacked_too_far = any("limit exceeded" in warning for warning in pdf.get_warnings())
    except pikepdf.PasswordError as error:
        raise Refused(
            _("Ce PDF est protégé par un mot de passe : enregistrez-le sans protection."), code="password"
        ) from error
    except (pikepdf.PdfError, *UNREADABLE, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise Refused(damaged, code="damaged") from error
    if output.tell() > 2 * MAX_BYTES or unpacked_too_far or qpdf_limit_errors() > limits_met:
        raise Refused(damaged, code="damaged")
    return output.getvalue()


def _make_passive(pdf: pikepdf.Pdf) -> None:
    for key in list(pdf.trailer.keys()):
        if key == "/Info":
            del pdf.trailer[key]
    for page in pdf.pages:
        annotations = page.obj.get("/Annots")
        if isinstance(annotations, pikepdf.Array):
            page.obj["/Annots"] = pikepdf.Array(
                [note for note in annotations if str(_get(note, "/Subtype")) not in ACTIVE_ANNOTATIONS]
            )
    for thing in pdf.objects:
        _disarm(thing, depth=0)
    if isinstance(names := pdf.Root.get("/Names"), pikepdf.Dictionary):
        _disarm(names, depth=0)
    _disarm(pdf.Root, depth=0)


def _disarm(thing: Any, depth: int) -> None:
    """Remove what acts from a dictionary and from those written inside it (the others come by themselves)."""
    if depth > 50:
        raise ValueError("too deep")
    if isinstance(thing, pikepdf.Dictionary | pikepdf.Stream):
        for key in ACTIVE_KEYS:
            if key in thing:
                del thing[key]
        if str(_get(thing, "/S")) in ACTIVE_ACTIONS:
            for key in list(thing.keys()):
                del thing[key]
            return
        children = [thing[key] for key in list(thing.keys()) if key != "/Length"]
    elif isinstance(thing, pikepdf.Array):
        children = list(thing)
    else:
        return
    for child in children:
        if isinstance(child, pikepdf.Object) and not child.is_indirect:
            _disarm(child, depth + 1)


def _get(thing: Any, key: str) -> Any:
    return thing.get(key) if isinstance(thing, pikepdf.Dictionary | pikepdf.Stream) else None
