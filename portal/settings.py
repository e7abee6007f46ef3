"""Settings of the platform: one module, production-safe defaults, everything variable from the environment.

The required variables are SECRET_KEY, DATABASE_URL and REDIS_URL; `.env.example` lists them all. Whatever is missing or
cannot be read ends the process with one sentence and code 1, in manage.py, gunicorn and Celery alike: SystemExit, since
any other exception would print that sentence below fifty lines of traceback.
"""

import logging
from pathlib import Path
from urllib.parse import urlsplit

import environ
from celery.schedules import crontab
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
if (BASE_DIR / ".env").is_file():
    env.read_env(BASE_DIR / ".env")


def required(name: str, example: str) -> str:
    """The value of an environment variable, or one sentence that names it."""
    value = env.str(name, default="")
    if not value:
        raise SystemExit(
            f"La variable d'environnement {name} manque : donnez-lui une valeur comme « {example} » (voir .env.example)."
        )
    return value


def switch(name: str, *, default: bool = False) -> bool:
    """on or off. A value with a typing error is refused: it would silently be off."""
    value = env.str(name, default="").strip().lower()
    if value not in {"", "on", "true", "yes", "1", "off", "false", "no", "0"}:
        raise SystemExit(f"La variable d'environnement {name} vaut « {value} » : écrivez on ou off.")
    return value in {"on", "true", "yes", "1"} if value else default


def number(name: str, default: int, *, least: int = 0) -> int:
    """A whole number, not below `least`."""
    value = env.str(name, default="").strip() or str(default)
    if not value.isdecimal() or int(value) < least:
        raise SystemExit(
            f"La variable d'environnement {name} vaut « {value} » : il faut un nombre entier, {least} ou plus."
        )
    return int(value)


LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "[::1]", "testserver"}

# --- What kind of installation this is ---------------------------------------------------------------------------

DEBUG = switch("DEBUG")
# The demonstration: known passwords, a bank that anybody may tell to pay. It answers on this machine only; the
# check `portal.E001` and the line below both refuse it anywhere else.
DEMO = switch("DEMO")
SECRET_KEY = required("SECRET_KEY", "une longue suite aléatoire de 50 caractères")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=sorted(LOOPBACK_HOSTS - {"testserver"}) if DEBUG or DEMO else [])
SITE_URL = env.str("SITE_URL", default="http://127.0.0.1:8000").rstrip("/")
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[SITE_URL])

if not (ALLOWED_HOSTS or DEBUG):
    raise SystemExit(
        "La variable d'environnement ALLOWED_HOSTS manque : elle nomme les hôtes auxquels le site répond, par exemple "
        "« citoyens.exemple.fr » ; sans elle il refuserait toutes les visites."
    )
if DEMO and not set(ALLOWED_HOSTS) <= LOOPBACK_HOSTS:
    raise SystemExit(
        "DEMO=on ouvre des mots de passe connus et une banque fictive : c'est refusé dès que ALLOWED_HOSTS nomme "
        f"autre chose que cette machine ({', '.join(ALLOWED_HOSTS)})."
    )

# --- Applications ------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "portal.apps.PortalAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.forms",
    "allauth",
    "allauth.account",
    "django_cotton.apps.SimpleAppConfig",
    "django_htmx",
    "pgtrigger",
    "pghistory",
    "portal.apps.PortalConfig",
    "portal.common",
    "portal.outbox",
    "accounts",
    "services",
    "families",
    "bookings",
    "wallet",
    "checkout",
]
if DEMO:
    INSTALLED_APPS.append("portal.demo")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "pghistory.middleware.HistoryMiddleware",
    "accounts.middleware.IdleLogoutMiddleware",
    "accounts.middleware.PrivatePagesMiddleware",
    "accounts.middleware.ValidatedAccountMiddleware",
    "portal.common.middleware.RefusedMiddleware",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "django_cotton.cotton_loader.Loader",
                        "django.template.loaders.filesystem.Loader",
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.site",
            ],
            "builtins": [
                "django.templatetags.i18n",
                "django.templatetags.static",
                "django_cotton.templatetags.cotton",
                "portal.common.templatetags.french",
            ],
        },
    }
]
COTTON_DIR = "components"
FORM_RENDERER = "portal.common.forms.Renderer"

# --- Database, cache, tasks ----------------------------------------------------------------------------------------

_database_url = required("DATABASE_URL", "postgres://utilisateur:motdepasse@127.0.0.1:5432/portail")
if not _database_url.startswith(("postgres://", "postgresql://")):
    raise SystemExit(
        f"DATABASE_URL commence par « {_database_url.split(':')[0]}: » : seul PostgreSQL 15 ou plus récent convient, car les "
        "places et l'argent reposent sur ses verrous, ses déclencheurs et ses contraintes d'exclusion (SQLite n'en a pas)."
    )
try:
    DATABASES = {"default": env.db_url_config(_database_url)}
except ValueError:
    raise SystemExit(
        "La variable d'environnement DATABASE_URL est illisible : postgres://utilisateur:motdepasse@hôte:port/base, où un "
        "signe du mot de passe autre qu'une lettre ou un chiffre s'écrit par son code (« / » devient %2F)."
    ) from None
DATABASES["default"]["ENGINE"] = "django.db.backends.postgresql"
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["TEST"] = {"TEMPLATE": "template0"}
# One process of a synchronous web server needs one connection; a threaded one sets the size of its pool.
DATABASE_POOL_SIZE = number("DATABASE_POOL_SIZE", 0)
if DATABASE_POOL_SIZE:
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": DATABASE_POOL_SIZE}
else:
    DATABASES["default"]["CONN_MAX_AGE"] = number("DATABASE_CONN_MAX_AGE", 300)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = required("REDIS_URL", "redis://127.0.0.1:6379/0")
CACHES = {
    "default": {
        "BACKEND": "portal.common.cache.TolerantRedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 2},
    }
}

CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 1,
    "socket_timeout": 2,  # of the site and of beat; workers wait longer (portal/celery.py)
    "visibility_timeout": 600,
    # Who pokes a worker does not wait for a broker that is down: a parent's page hangs behind it.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
}
CELERY_TASK_PUBLISH_RETRY = False  # a poke may fail: beat sweeps the outbox every minute
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_TIME_LIMIT = 300
CELERY_TIMEZONE = "Europe/Paris"
CELERY_BEAT_SCHEDULE_FILENAME = env.str("CELERY_BEAT_SCHEDULE_FILENAME", default="celerybeat-schedule")
CELERY_BEAT_SCHEDULE = {
    "outbox": {"task": "outbox.sweep", "schedule": 60},
    "calls": {"task": "outbox.make_calls", "schedule": 60},
    "holds": {"task": "bookings.release_expired_holds", "schedule": 60},
    "waiting-lists": {"task": "bookings.run_waiting_lists", "schedule": 60},
    "reminders": {"task": "bookings.remind_families", "schedule": 3600},
    "closures": {"task": "checkout.apply_closures", "schedule": 60},
    "payments": {"task": "checkout.reconcile_payments", "schedule": 120},
    "given-up-payments": {"task": "checkout.ask_again", "schedule": 300},
    "providers": {"task": "checkout.check_providers", "schedule": 3600},
    "forgotten-orders": {"task": "checkout.close_forgotten_orders", "schedule": 600},
    "proofs": {"task": "bookings.forget_proofs", "schedule": crontab(hour=2, minute=30)},
    # At an hour, not a day after beat was started: a deployment each evening would put it off for ever.
    "ledger": {"task": "checkout.verify_ledger", "schedule": crontab(hour=3, minute=30)},
    "sessions": {"task": "accounts.clear_sessions", "schedule": crontab(hour=2, minute=45)},
    "orphaned-papers": {"task": "checkout.remove_orphaned_papers", "schedule": crontab(hour=2, minute=50)},
    "papers": {"task": "checkout.issue_papers", "schedule": 600},
    "papers-of-the-year": {
        "task": "checkout.issue_papers",
        "schedule": crontab(hour=3, minute=10),
        "kwargs": {"days": 400},
    },
    "invoices": {"task": "checkout.issue_invoices", "schedule": 600},
}

# --- Accounts --------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "accounts.passwords.CharacterClassesValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "account_home"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]  # one box that can be shown, rather than two that cannot be read
ACCOUNT_SIGNUP_FORM_CLASS = "accounts.signup.PersonalDetailsForm"
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_LOGOUT_REDIRECT_URL = "home"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_RATE_LIMITS = {
    "login": "60/m/ip",
    "login_failed": "10/m/ip,5/5m/key",
    "signup": "20/m/ip",
    "reset_password": "20/m/ip,5/m/key",
    "confirm_email": "1/3m/key",
}
ACCOUNT_DEFAULT_HTTP_PROTOCOL = urlsplit(SITE_URL).scheme

# Written to PostgreSQL, read from Redis while it answers: a page asks for its session without a statement.
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
SESSION_COOKIE_AGE = 2 * 60 * 60  # seeds 000 and 001: signed out after two hours without activity
SESSION_EXPIRE_AT_BROWSER_CLOSE = False

# --- Language, time, files -------------------------------------------------------------------------------------------

LANGUAGE_CODE = "fr"
FORMAT_MODULE_PATH = ["portal.formats"]
LANGUAGES = [("fr", "Français")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "Europe/Paris"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = env.path("STATIC_ROOT", default=str(BASE_DIR / "var/static"))
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_ROOT = env.path("MEDIA_ROOT", default=str(BASE_DIR / "var/media"))
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"file_permissions_mode": 0o600, "directory_permissions_mode": 0o700},
    },
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "whitenoise.storage.CompressedManifestStaticFilesStorage"
        )
    },
}
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000  # a school year × six children is one form
FILE_UPLOAD_PERMISSIONS = 0o600

# --- E-mail ------------------------------------------------------------------------------------------------------------

DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Plateforme citoyenne <ne-pas-repondre@localhost>")
if DEMO:
    EMAIL_BACKEND = "portal.demo.mailbox.MailboxBackend"
else:
    try:
        vars().update(env.email_url_config(env.str("EMAIL_URL", default="smtp://127.0.0.1:25")))
    except (ImproperlyConfigured, ValueError):
        raise SystemExit(
            "La variable d'environnement EMAIL_URL est illisible : smtp://hôte:port, ou avec un mot de passe "
            "smtp+tls://utilisateur:motdepasse@hôte:587."
        ) from None
EMAIL_TIMEOUT = 20
HELP_PHONE = env.str("HELP_PHONE", default="04 71 06 07 00")  # in e-mails: whom to call (seed 001)

# --- Security ------------------------------------------------------------------------------------------------------------

HTTPS = SITE_URL.startswith("https://")
if not (DEBUG or DEMO) and not HTTPS:
    raise SystemExit(
        f"SITE_URL vaut « {SITE_URL} » : en production, l'adresse publique commence par https:// (SITE_URL=https://…)."
    )
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^sante/$"]
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
if switch("BEHIND_PROXY"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
ALLAUTH_TRUSTED_PROXY_COUNT = number("TRUSTED_PROXY_COUNT", 0)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"  # a parent comes back from the bank with a GET
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "object-src": [NONE],
    }
}

# --- Payments ------------------------------------------------------------------------------------------------------------

# Which modules of checkout/providers/ take cards here, the first being the default.
CARD_PROVIDERS = env.list("CARD_PROVIDERS", default=["demo"] if DEMO else [])
# Stripe: the key and the signing secret of the webhook come from its dashboard; the addresses change only for a test
# server, or for a Checkout page under a domain of one's own.
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", default="")
STRIPE_WEBHOOK_SECRET = env.str("STRIPE_WEBHOOK_SECRET", default="")
STRIPE_API_BASE = env.str("STRIPE_API_BASE", default="https://api.stripe.com").rstrip("/")
STRIPE_CHECKOUT_ORIGIN = env.str("STRIPE_CHECKOUT_ORIGIN", default="https://checkout.stripe.com").rstrip("/")
# Paybox: what its contract says; the key of Paybox Direct, where there is one, lets payments be verified and paid back.
PAYBOX_SITE = env.str("PAYBOX_SITE", default="")
PAYBOX_RANG = env.str("PAYBOX_RANG", default="")
PAYBOX_IDENTIFIANT = env.str("PAYBOX_IDENTIFIANT", default="")
PAYBOX_HMAC_KEY = env.str("PAYBOX_HMAC_KEY", default="")
PAYBOX_DIRECT_KEY = env.str("PAYBOX_DIRECT_KEY", default="")
PAYBOX_MODE = env.str("PAYBOX_MODE", default="production")
# Its addresses and its public key by default; other ones for a bank that sells it under another name.
PAYBOX_PAGE_URLS = env.list("PAYBOX_PAGE_URLS", default=[])
PAYBOX_DIRECT_URL = env.str("PAYBOX_DIRECT_URL", default="")
PAYBOX_PUBLIC_KEY_FILE = env.str("PAYBOX_PUBLIC_KEY_FILE", default="")
# PayFiP: the number that the DGFiP gave the régie; W in production, X for the payment that activates it, T for tests.
PAYFIP_NUMCLI = env.str("PAYFIP_NUMCLI", default="")
PAYFIP_SAISIE = env.str("PAYFIP_SAISIE", default="W")
PAYFIP_SERVICE_URL = env.str("PAYFIP_SERVICE_URL", default="https://www.payfip.gouv.fr/tpa/services/securite")
PAYFIP_PAGE_URL = env.str("PAYFIP_PAGE_URL", default="https://www.payfip.gouv.fr/tpa/paiementws.web")
HOLD_MINUTES = number("HOLD_MINUTES", 30, least=1)
# How long a certificate of an absence or the proof of a quotient is kept once it is decided (minimisation, GDPR art. 5).
PROOFS_KEPT_DAYS = number("PROOFS_KEPT_DAYS", 90, least=1)

# --- Logs ----------------------------------------------------------------------------------------------------------------

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO").upper()
if LOG_LEVEL not in logging.getLevelNamesMapping():
    raise SystemExit(f"La variable d'environnement LOG_LEVEL vaut « {LOG_LEVEL} » : DEBUG, INFO, WARNING ou ERROR.")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {"django.request": {"level": "ERROR"}, "pikepdf": {"level": "WARNING"}},
}
