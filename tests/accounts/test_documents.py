"""Supporting documents: what is stored, who may read it, and what hostile people send."""

import io
import threading
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import pikepdf
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from accounts import documents
from accounts.documents import add_document, clean_upload, harmless_name
from accounts.models import CommuneFile, SupportingDocument
from portal.common.errors import Refused
from tests.factories import CommuneFactory, StaffRoleFactory, UserFactory, agent_of

pytestmark = pytest.mark.django_db

PAGE = "/mon-compte/pieces-justificatives/"


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def picture(form="JPEG", size=(40, 30), **options):
    output = io.BytesIO()
    Image.new("RGB", size, "teal").save(output, form, **options)
    return output.getvalue()


def pdf(change=None, **options):
    with pikepdf.new() as document:
        document.add_blank_page(page_size=(200, 200))
        if change:
            change(document)
        output = io.BytesIO()
        document.save(output, **options)
    return output.getvalue()


def upload(data, name="domicile.pdf"):
    return SimpleUploadedFile(name, data)


def clean(data, name="domicile.pdf"):
    return clean_upload(upload(data, name))


def stored_files(folder: Path):
    return [path for path in folder.rglob("*") if path.is_file()]


# --- The ordinary way ------------------------------------------------------------------------------------------------


def test_a_person_sends_reads_and_removes_a_document(client, media, django_capture_on_commit_callbacks):
    user = UserFactory()
    client.force_login(user)
    assert "Aucun document envoyé" in client.get(PAGE).content.decode()
    response = client.post(PAGE, {"kind": "home", "file": upload(pdf(), "Facture d'électricité.pdf")}, follow=True)
    assert "«\u00a0Facture d&#x27;électricité.pdf\u00a0» est bien arrivé." in response.content.decode()
    document = SupportingDocument.objects.get()
    assert (document.user, document.kind, document.content_type) == (user, "home", "application/pdf")
    (file,) = stored_files(media)
    assert "Facture" not in file.name
    assert file.suffix == ""

    response = client.get(f"{PAGE}{document.pk}/")
    assert b"".join(response.streaming_content).startswith(b"%PDF-")
    assert response["Content-Disposition"].startswith("attachment;")
    assert response["Content-Type"] == "application/pdf"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert response["Cache-Control"] == "private, no-store"

    assert client.get(f"{PAGE}{document.pk}/supprimer/").status_code == 200
    assert stored_files(media)
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{PAGE}{document.pk}/supprimer/")
    assert not SupportingDocument.objects.exists()
    assert not stored_files(media)


def test_the_list_costs_the_same_with_one_or_ten(client, django_assert_max_num_queries):
    user = UserFactory()
    client.force_login(user)
    for _number in range(10):
        add_document(user=user, kind="home", upload=upload(picture(), "a.jpg"), by=user)
    client.get(PAGE)  # the session is touched once a minute
    with django_assert_max_num_queries(6):  # session, person, univers, cart, wallet, documents
        client.get(PAGE)


def test_missing_answers_are_named(client):
    client.force_login(UserFactory())
    page = client.post(PAGE, {}).content.decode()
    assert "Renseignez «\xa0Nature du document\xa0»." in page
    assert "Renseignez «\xa0Fichier\xa0»." in page
    assert "Ce fichier est vide" in client.post(PAGE, {"kind": "home", "file": upload(b"")}).content.decode()


def test_who_may_read_a_document(client):
    commune, elsewhere = CommuneFactory(), CommuneFactory()
    owner = UserFactory(commune=commune)
    CommuneFile.objects.create(user=owner, commune=CommuneFactory(), reason="request")
    document = add_document(user=owner, kind="home", upload=upload(pdf()), by=owner)
    address = f"{PAGE}{document.pk}/"
    expected = {
        owner: 200,
        UserFactory(commune=commune): 404,
        agent_of(commune): 200,
        agent_of(elsewhere): 404,
        agent_of(): 200,
    }
    for user, status in expected.items():
        browser = Client()
        browser.force_login(user)
        assert browser.get(address).status_code == status, user
        if user != owner:
            assert browser.get(f"{address}supprimer/").status_code == 404
            assert browser.post(f"{address}supprimer/").status_code == 404
    assert client.get(address).url.startswith("/connexion/")


@pytest.mark.parametrize("state", ["unfinished", "pending", "refused"])
def test_who_is_not_validated_sends_and_removes_documents_of_their_own(state, media):
    user, elsewhere = UserFactory(**{state: True}), UserFactory()
    browser = Client()
    browser.force_login(user)
    assert f'href="{PAGE}"' in browser.get("/mon-compte/").content.decode()
    page = browser.get(PAGE).content.decode()
    assert "aide la mairie à valider votre compte plus vite" in page
    assert 'href="/mon-compte/adresses/"' not in page  # no menu of pages that are still closed
    assert (
        "est bien arrivé" in browser.post(PAGE, {"kind": "home", "file": upload(pdf())}, follow=True).content.decode()
    )
    own = SupportingDocument.objects.get()
    assert browser.get(f"{PAGE}{own.pk}/").status_code == 200
    assert browser.get(f"{PAGE}{own.pk}/supprimer/").status_code == 200
    assert browser.post(f"{PAGE}{own.pk}/supprimer/").url == PAGE
    theirs = add_document(user=elsewhere, kind="home", upload=upload(pdf()), by=elsewhere)
    for address in (f"{PAGE}{theirs.pk}/", f"{PAGE}{theirs.pk}/supprimer/"):
        assert browser.get(address).status_code == 404


def test_an_agent_whose_account_is_refused_reads_nobody_s_documents():
    commune = CommuneFactory()
    owner = UserFactory(commune=commune)
    document = add_document(user=owner, kind="home", upload=upload(pdf()), by=owner)
    agent = UserFactory(is_staff=True, refused=True)
    StaffRoleFactory(user=agent, commune=commune)
    browser = Client()
    browser.force_login(agent)
    assert browser.get(f"{PAGE}{document.pk}/").status_code == 404


def test_a_lost_file_is_not_a_crash(client, media):
    user = UserFactory()
    client.force_login(user)
    document = add_document(user=user, kind="home", upload=upload(pdf()), by=user)
    for file in stored_files(media):
        file.unlink()
    assert client.get(f"{PAGE}{document.pk}/").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_the_limit_holds_for_two_uploads_at_once(monkeypatch):
    monkeypatch.setattr(documents, "MAX_DOCUMENTS", 1)
    user = UserFactory()
    barrier, outcomes = threading.Barrier(2), []

    def send():
        try:
            barrier.wait(timeout=10)
            add_document(user=user, kind="home", upload=upload(picture(), "a.jpg"), by=user)
            outcomes.append("sent")
        except Refused as refused:
            outcomes.append(refused.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["sent", "too_many"]


# --- Files that are not what they say --------------------------------------------------------------------------------

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"


def zipped():
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        archive.writestr("a.txt", "a")
    return output.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("photo.svg", SVG),
        ("photo.png", SVG),
        ("page.pdf", HTML),
        ("page.html", HTML),
        ("photo.jpg", zipped()),
        ("facture.pdf", b"MZ" + bytes(500)),
        ("facture.pdf", b"\x7fELF" + bytes(500)),
        ("facture.pdf", b"#!/bin/sh\nrm -rf /"),
        ("facture.docx", zipped()),
        ("photo.gif", picture("GIF")),
        ("photo.jpg", picture("TIFF")),
        ("photo.webp", picture("WEBP")),
        ("texte.txt", "Bonjour".encode("utf-16")),
        ("rien.pdf", b"\x00"),
        ("page.pdf", HTML + pdf()),
        ("photo.png", SVG + picture("PNG")),
    ],
)
def test_other_formats_are_refused_by_their_content(client, media, name, data):
    client.force_login(UserFactory())
    response = client.post(PAGE, {"kind": "home", "file": upload(data, name)})
    assert response.status_code == 200
    assert "Ce fichier n’est ni un PDF, ni une image JPEG ou PNG" in response.content.decode()
    assert not SupportingDocument.objects.exists()
    assert not stored_files(media)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pdf() + zipped(), id="pdf+zip"),
        pytest.param(picture() + zipped(), id="jpeg+zip"),
        pytest.param(picture("PNG") + zipped(), id="png+zip"),
        pytest.param(picture(comment=b"%PDF-1.7 <script>"), id="jpeg+pdf+html"),
        pytest.param(pdf()[:9] + b"%<script>alert(1)</script>\n" + pdf()[9:], id="pdf+html"),
    ],
)
def test_two_formats_in_one_file_are_refused(data):
    with pytest.raises(Refused) as refused:
        clean(data)
    assert refused.value.code == "format"


def test_too_large(monkeypatch):
    monkeypatch.setattr(documents, "MAX_BYTES", 1000)
    with pytest.raises(Refused) as refused:
        clean(picture(size=(900, 900), quality=100))
    assert refused.value.code == "too_large"


@pytest.mark.parametrize("cut", [20, 100, 300])
@pytest.mark.parametrize("make", [picture, lambda: picture("PNG", (300, 300)), pdf], ids=["jpeg", "png", "pdf"])
def test_damaged_files_are_a_sentence_or_a_repaired_file(make, cut):
    """A broken file never becomes an error page; what can be repaired may pass."""
    try:
        assert clean(make()[:-cut]).content
    except Refused as refused:
        assert refused.code in ("damaged", "format", "pages")  # noqa: PT017


# --- Images ----------------------------------------------------------------------------------------------------------


def test_a_photo_loses_its_place_and_its_comments_but_stands_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010E] = "chez moi"
    exif.get_ifd(0x8825)[1] = "N"  # the place
    data = picture(size=(40, 20), exif=exif, comment=b"secret", icc_profile=b"profil")
    result = clean(data, "IMG_2041.JPG")
    assert (result.content_type, result.name) == ("image/jpeg", "IMG_2041.jpg")
    with Image.open(io.BytesIO(result.content)) as image:
        assert image.size == (20, 40)
        assert not image.getexif()
        assert not {"comment", "icc_profile", "exif"} & set(image.info)
    for word in (b"secret", b"chez moi", b"profil"):
        assert word not in result.content


def test_a_png_loses_its_texts_and_its_transparency():
    notes = PngInfo()
    notes.add_text("Author", "secret")
    output = io.BytesIO()
    Image.new("RGBA", (10, 10), (255, 0, 0, 0)).save(output, "PNG", pnginfo=notes)
    result = clean(output.getvalue(), "capture.png")
    with Image.open(io.BytesIO(result.content)) as image:
        assert image.mode == "RGB"
        assert image.getpixel((0, 0)) == (255, 255, 255)
        assert not image.info
    assert b"secret" not in result.content


def test_an_immense_image_is_refused_before_it_is_decoded():
    """A few kilobytes that unpack to 900 million pixels."""
    header = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", b"\x00\x00\x75\x30\x00\x00\x75\x30\x08\x02\x00\x00\x00")
    with pytest.raises(Refused) as refused:
        clean(header + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b""))
    assert refused.value.code in ("too_many_pixels", "damaged")  # Pillow's guard may speak first


@pytest.mark.parametrize(
    ("form", "options", "passes"), [("JPEG", {}, True), ("JPEG", {"progressive": True}, False), ("PNG", {}, False)]
)
def test_only_what_is_shrunk_while_decoding_may_be_very_large(monkeypatch, form, options, passes):
    monkeypatch.setattr(documents, "MAX_PIXELS", 100)
    if passes:
        assert clean(picture(form, **options)).content
        return
    with pytest.raises(Refused) as refused:
        clean(picture(form, **options))
    assert refused.value.code == "too_many_pixels"


def _chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def test_a_large_photo_is_brought_to_the_size_of_a_page():
    result = clean(picture(size=(5000, 2500)))
    with Image.open(io.BytesIO(result.content)) as image:
        assert image.size == (3508, 1754)


# --- PDF -------------------------------------------------------------------------------------------------------------


def armed(document: pikepdf.Pdf) -> None:
    """A PDF with everything that acts by itself."""
    script = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=pikepdf.String("app.alert('secret')"))
    launch = document.make_indirect(pikepdf.Dictionary(S=pikepdf.Name.Launch, F=pikepdf.String("secret.exe")))
    document.attachments["secret.exe"] = b"MZ secret"
    document.Root.OpenAction = document.make_indirect(script)
    document.Root.AA = pikepdf.Dictionary(WC=script)
    document.Root.Names.JavaScript = pikepdf.Dictionary(Names=[pikepdf.String("a"), document.make_indirect(script)])
    document.Root.AcroForm = pikepdf.Dictionary(
        Fields=[], XFA=document.make_stream(b"<xdp>secret</xdp>"), NeedAppearances=True
    )
    document.Root.Metadata = document.make_stream(b"<x:xmpmeta>secret</x:xmpmeta>")
    document.docinfo["/Author"] = "secret"
    page = document.pages[0].obj
    page.AA = pikepdf.Dictionary(O=script)
    square = pikepdf.Array([0, 0, 9, 9])
    link, attachment, rich = pikepdf.Name.Link, pikepdf.Name.FileAttachment, pikepdf.Name.RichMedia
    page.Annots = pikepdf.Array(
        [
            document.make_indirect(pikepdf.Dictionary(Subtype=link, Rect=square, A=launch)),
            document.make_indirect(pikepdf.Dictionary(Subtype=link, Rect=square, A=script, Next=[script])),
            document.make_indirect(
                pikepdf.Dictionary(Subtype=attachment, Rect=square, FS=document.make_stream(b"secret"))
            ),
            pikepdf.Dictionary(Subtype=rich, Rect=square, RichMediaContent=document.make_stream(b"secret")),
        ]
    )


@pytest.mark.parametrize("mode", list(pikepdf.ObjectStreamMode.__members__.values()))
def test_a_pdf_keeps_its_pages_and_loses_what_acts(mode):
    result = clean(pdf(armed, object_stream_mode=mode))
    with pikepdf.open(io.BytesIO(result.content)) as document:
        assert len(document.pages) == 1
        plain = io.BytesIO()
        document.save(
            plain,
            qdf=True,
            object_stream_mode=pikepdf.ObjectStreamMode.disable,
            stream_decode_level=pikepdf.StreamDecodeLevel.all,
        )
        assert len(document.pages[0].obj.Annots) == 2
        assert not document.attachments
    text = plain.getvalue()
    for word in (
        b"JavaScript",
        b"/JS",
        b"/Launch",
        b"/OpenAction",
        b"/AA",
        b"EmbeddedFile",
        b"XFA",
        b"RichMedia",
        b"secret",
        b"/EF",
    ):
        assert word not in text, word


def test_a_pdf_with_a_password_is_refused_with_what_to_do():
    locked = pdf(encryption=pikepdf.Encryption(owner="a", user="b"))
    with pytest.raises(Refused, match="protégé par un mot de passe"):
        clean(locked)


def test_a_pdf_that_only_forbids_printing_is_accepted():
    result = clean(pdf(encryption=pikepdf.Encryption(owner="a", user="")))
    with pikepdf.open(io.BytesIO(result.content)) as document:
        assert not document.is_encrypted


def test_a_pdf_of_too_many_pages_is_refused(monkeypatch):
    monkeypatch.setattr(documents, "MAX_PAGES", 1)
    with pytest.raises(Refused, match="Un PDF de 1 à"):
        clean(pdf(lambda document: document.add_blank_page()))


def test_a_pdf_that_unpacks_to_gigabytes_is_refused():
    """An object stream of 200 kB whose content would take 200 MB."""
    objects = zlib.compress(b"1 0 2 9 <</A 1>> <</B 1>>" + b" " * 200_000_000, 9)
    output, places = b"%PDF-1.7\n", {}
    for number, body in {
        3: b"<</Type/Catalog/Pages 4 0 R/X 1 0 R>>",
        4: b"<</Type/Pages/Kids[5 0 R]/Count 1>>",
        5: b"<</Type/Page/Parent 4 0 R/MediaBox[0 0 9 9]>>",
        6: b"<</Type/ObjStm/N 2/First 8/Filter/FlateDecode/Length %d>>stream\n%b\nendstream" % (len(objects), objects),
    }.items():
        places[number] = len(output)
        output += b"%d 0 obj\n%b\nendobj\n" % (number, body)

    def row(kind, first, second):
        return kind.to_bytes(1, "big") + first.to_bytes(4, "big") + second.to_bytes(2, "big")

    rows = row(0, 0, 65535) + row(2, 6, 0) + row(2, 6, 1)
    rows += b"".join(row(1, places[number], 0) for number in (3, 4, 5, 6)) + row(1, len(output), 0)
    output += b"7 0 obj\n<</Type/XRef/Size 8/W[1 4 2]/Root 3 0 R/Length %d>>stream\n%b\nendstream\nendobj\n" % (
        len(rows), rows,
    ) + b"startxref\n%d\n%%%%EOF" % len(output)  # fmt: skip
    with pytest.raises(Refused) as refused:
        clean(output)
    assert refused.value.code == "damaged"


# --- Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("../../etc/passwd", "passwd.pdf"),
        ("..\\..\\windows\\system32\\calc.exe", "calc.pdf"),
        ("/etc/shadow", "shadow.pdf"),
        ("facture\r\nSet-Cookie: a=b.pdf", "facture Set-Cookie a=b.pdf"),
        ("facture\x00.exe", "facture.pdf"),
        ("facture\u202efdp.exe", "facture fdp.pdf"),
        ("\u2067\u200b\ufeff", "document.pdf"),
        ('a"; filename="b.html', "a filename=b.pdf"),
        ("<script>alert(1)</script>.pdf", "script.pdf"),
        ("quittance d’été n°3.PDF", "quittance d’été n°3.pdf"),
        (".htaccess", "document.pdf"),
        ("..", "document.pdf"),
        ("", "document.pdf"),
        ("n" * 300 + ".pdf", "n" * 96 + ".pdf"),
        ("é" * 300, "é" * 96 + ".pdf"),
        ("CON", "CON.pdf"),
    ],
)
def test_a_hostile_name_becomes_harmless(hostile, harmless):
    assert harmless_name(hostile, "pdf") == harmless


def test_a_hostile_name_does_no_harm_on_the_page_or_in_the_header(client, media):
    user = UserFactory()
    client.force_login(user)
    name = '../../<img src=x onerror=alert(1)>\u202e"\r\nX-Evil: 1.pdf'
    body = SimpleNamespace(name=name, size=len(pdf()), read=pdf)
    document = add_document(user=user, kind="other", upload=body, by=user)
    page = client.get(PAGE).content.decode()
    assert "<img src=x" not in page
    response = client.get(f"{PAGE}{document.pk}/")
    assert "X-Evil" not in response
    assert "\u202e" not in document.name
    assert all(media in path.parents for path in stored_files(media))
