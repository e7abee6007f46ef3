"""The password rule of the platform (seeds 000 and 001)."""

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _


class CharacterClassesValidator:
    """At least 12 characters with a digit, a lower-case letter, an upper-case letter and a special character.

    « Special » is whatever is neither letter, digit nor space: the packaged validators know a fixed list and refuse €.
    """

    def __init__(self, min_length: int = 12) -> None:
        self.min_length = min_length

    def validate(self, password: str, user: object = None) -> None:
        missing = [
            words
            for words, present in (
                (_("%d caractères au moins") % self.min_length, len(password) >= self.min_length),
                (_("un chiffre"), any(c.isdigit() for c in password)),
                (_("une lettre minuscule"), any(c.islower() for c in password)),
                (_("une lettre majuscule"), any(c.isupper() for c in password)),
                (
                    _("un caractère spécial (par exemple ! ou €)"),
                    any(not (c.isalnum() or c.isspace()) for c in password),
                ),
            )
            if not present
        ]
        if missing:
            raise ValidationError(_("Il manque au mot de passe : %s.") % ", ".join(missing), code="password_classes")

    def get_help_text(self) -> str:
        return (
            _("Au moins %d caractères, dont un chiffre, une minuscule, une majuscule et un caractère spécial.")
            % self.min_length
        )
