"""Handing out a file that a person sent: always a download, nothing of it runs, is embedded, guessed or kept."""

from django.core.files import File
from django.http import FileResponse, Http404


def private_download(file: File, *, name: str, content_type: str) -> FileResponse:
    """The stored file under the name its sender gave it. Raises Http404 when it is gone from the disk."""
    try:
        opened = file.open("rb")
    except FileNotFoundError as error:
        raise Http404 from error
    response = FileResponse(opened, as_attachment=True, filename=name, content_type=content_type)
    # It was rebuilt when it came, and still.
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response
