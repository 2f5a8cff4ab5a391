"""Django's settings, from `chronos.environment`. Reading them starts nothing."""

import hashlib
import hmac
import os
import ssl
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit, urlunsplit

from psycopg.conninfo import conninfo_to_dict

from chronos import environment
from chronos.core import embedded, keys
from chronos.core.logs import logging_configuration

BASE_DIR = environment.BASE_DIR
ENVIRONMENT = environment.read()
CHRONOS_VAR: Path = ENVIRONMENT.chronos_var

KEYS = keys.load_or_create(CHRONOS_VAR / "keys.json")
EMBEDDED = embedded.plan(CHRONOS_VAR, KEYS, ENVIRONMENT.postgres_user)

SECRET_KEY = ENVIRONMENT.secret_key.get_secret_value() if ENVIRONMENT.secret_key else KEYS.secret_key
DEBUG = ENVIRONMENT.debug

PUBLIC_URL = ENVIRONMENT.public_url or f"http://localhost:{ENVIRONMENT.port}"
_public = urlsplit(PUBLIC_URL)
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *ENVIRONMENT.allowed_hosts]
if _public.hostname:
    ALLOWED_HOSTS.append(f"[{_public.hostname}]" if ":" in _public.hostname else _public.hostname)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
_https = _public.scheme == "https"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _https
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SECURE_REDIRECT_EXEMPT = [r"^health/"]  # probes ask from inside, without the proxy
# Two Chronos on one host share its cookies: the port tells them apart.
SESSION_COOKIE_NAME = f"chronos_session_{ENVIRONMENT.port}"
CSRF_COOKIE_NAME = f"chronos_csrf_{ENVIRONMENT.port}"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 60 * 60 * 24 * 30
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

INSTALLED_APPS = [
    "chronos",
    "signals",
    "universes",
    "marketdata",
    "chronos.core",
    "chronos.core.apps.CurationConfig",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "django_htmx",
    "template_partials",
]

MIDDLEWARE = [
    "chronos.core.logs.RequestLog",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "chronos.core.security.ContentSecurityPolicy",
    "chronos.core.security.PlainText",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "chronos.core.tokens.BearerMiddleware",
    "chronos.core.security.SignInRequired",
    "allauth.account.middleware.AccountMiddleware",
    "chronos.core.sessions.LastSeenMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "chronos.core.tenancy.TenantMiddleware",
]

ROOT_URLCONF = "chronos.urls"
ASGI_APPLICATION = "chronos.asgi.application"
LOGIN_URL = "core:sign-in"
LOGIN_REDIRECT_URL = "home"
CSRF_FAILURE_VIEW = "chronos.core.views.csrf_failure"
AUTH_USER_MODEL = "core.User"
AUTHENTICATION_BACKENDS = ["chronos.core.accounts.ByNameOrAddress"]
PASSWORD_RESET_TIMEOUT = 60 * 60
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# Ways in are allauth's underneath and ours on top: none of its pages has an address.
SIGN_UP_IS_OPEN = ENVIRONMENT.sign_up
CONTACT = ENVIRONMENT.contact
ALLAUTH_TRUSTED_PROXY_COUNT = ENVIRONMENT.trusted_proxies
ACCOUNT_ADAPTER = "chronos.core.accounts.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # `accounts.py` asks for it where there is a mail server
ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS = 3
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
ACCOUNT_RATE_LIMITS = MFA_RATE_LIMITS = False  # `chronos.core.guessing` has the limits
MFA_ADAPTER = "chronos.core.accounts.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes", "webauthn"]
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_RECOVERY_CODE_COUNT = MFA_RECOVERY_CODE_DIGITS = 10
MFA_TOTP_ISSUER = "Chronos"
MFA_TOTP_TOLERANCE = 1  # a clock may be half a minute off


def _mail(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    usual = {"smtps": 465, "submission": 587}.get(parts.scheme, 25)
    return {
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or usual,
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "submission",
    }


MAIL_CAN_BE_SENT = ENVIRONMENT.email_url is not None
if ENVIRONMENT.email_url:
    globals().update(_mail(ENVIRONMENT.email_url.get_secret_value()))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = ENVIRONMENT.email_from or f"chronos@{_public.hostname or 'localhost'}"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "chronos.core.views.frame",
                "marketdata.views.frame",
                "chronos.palette.frame",
            ],
        },
    },
]


def _connection(url: str, user: str = "", password: str = "") -> dict[str, Any]:
    """Django's words for a libpq address; its other parameters (sslmode, …) are handed on."""
    parts: dict[str, Any] = dict(conninfo_to_dict(url))
    return _database(
        NAME=parts.pop("dbname", ""),
        USER=user or parts.pop("user", ""),
        PASSWORD=password or parts.pop("password", ""),
        HOST=parts.pop("host", ""),
        PORT=str(parts.pop("port", "")),
        options={key: value for key, value in parts.items() if key not in ("user", "password")},
    )


def _database(*, options: dict[str, Any], **parts: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"application_name": "chronos", **options},
        **parts,
    }


def _app_password() -> str:
    """The app role's password: every machine that knows SECRET_KEY can work it out, so none has to be told."""
    return hmac.new(SECRET_KEY.encode(), b"chronos: app role", hashlib.sha256).hexdigest()


# `default` is the app role: neither superuser nor owner nor BYPASSRLS. `owner` migrates.
if ENVIRONMENT.database_url:
    _owner = _connection(ENVIRONMENT.database_url.get_secret_value())
    _app = (
        _connection(ENVIRONMENT.database_app_url.get_secret_value())
        if ENVIRONMENT.database_app_url
        else _connection(ENVIRONMENT.database_url.get_secret_value(), f"{_owner['NAME'][:58]}_app", _app_password())
    )
    EMBEDDED_POSTGRES = False
else:
    _place = {"HOST": str(EMBEDDED.sockets), "PORT": "", "NAME": "chronos"}
    _owner = _database(USER="chronos_owner", PASSWORD=KEYS.owner_password, options={}, **_place)
    _app = _database(USER="chronos_app", PASSWORD=_app_password(), options={}, **_place)
    EMBEDDED_POSTGRES = True
if os.environ.get("CHRONOS_PROCESS") == "web":  # its threads come and go; others keep one connection
    _app["OPTIONS"]["pool"] = {"min_size": 2, "max_size": 16, "timeout": 10}
DATABASES = {"default": _app, "owner": _owner}
DATABASE_ROUTERS: list[str] = []
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


def _next_database(url: str, step: int) -> str:
    """The same server, `step` databases further: tasks in one, cache in the next."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
        query["db"] = str(int(query.get("db", 0)) + step)
        return urlunsplit(parts._replace(query=urlencode(query)))
    number = int(parts.path.strip("/") or 0) + step
    return urlunsplit(parts._replace(path=f"/{number}"))


EMBEDDED_VALKEY = ENVIRONMENT.redis_url is None
REDIS_URL = ENVIRONMENT.redis_url.get_secret_value() if ENVIRONMENT.redis_url else EMBEDDED.valkey_url(KEYS, 0)
CACHE_URL = _next_database(REDIS_URL, 1)
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": CACHE_URL,
        "TIMEOUT": 300,
        "KEY_PREFIX": "chronos",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    }
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"


def _broker(url: str) -> str:
    """Celery's spelling of a Unix socket: redis+socket://:password@/path?virtual_host=0."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    query = dict(pair.split("=", 1) for pair in parts.query.split("&") if "=" in pair)
    credentials = f":{parts.password}@" if parts.password else ""
    return f"redis+socket://{credentials}{parts.path}?virtual_host={query.get('db', 0)}"


CELERY_BROKER_URL = _broker(REDIS_URL)
if CELERY_BROKER_URL.startswith("rediss:"):  # kombu would not look at the certificate
    CELERY_BROKER_USE_SSL = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": "chronos:", "socket_timeout": 10, "socket_connect_timeout": 5}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True  # a job's row is its result
CELERY_TASK_ACKS_LATE = False  # PostgreSQL owns the queue: a message only wakes a worker
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.2}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = ENVIRONMENT.worker_concurrency
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_IMPORTS = ("chronos.core.heartbeats",)
CELERY_BEAT_SCHEDULER = "chronos.core.heartbeats.HeardScheduler"
CELERY_BEAT_SCHEDULE = {
    "Wake jobs that no worker has": {"task": "chronos.core.sweep", "schedule": 15.0},
    "Purge what was deleted": {"task": "universes.purge", "schedule": 600.0},
    "Purge deleted strategies and backtests": {"task": "signals.purge", "schedule": 600.0},
    "Forget what was answered a day ago": {"task": "chronos.core.forget", "schedule": 3600.0},
}
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_TIMEZONE = "UTC"
DJANGO_CELERY_BEAT_TZ_AWARE = True

# A job whose worker is silent for this long is another worker's; with the sweep every 15 s that is within a minute.
JOB_LEASE_SECONDS = 30
JOB_WAKE_AGAIN_SECONDS = 20

DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 2**20  # a list may be as long when it is pasted as when it is a file

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
FORMAT_MODULE_PATH = ["chronos.formats"]

STATIC_URL = "static/"
STATIC_ROOT = CHRONOS_VAR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "chronos.core.security.VendorFinder",
]


def _package(name: str) -> Path:
    spec = find_spec(name)
    return Path((spec and spec.origin) or "").parent


_ninja = _package("ninja") / "static" / "ninja"
VENDOR = {
    "plotly.min.js": _package("plotly") / "package_data" / "plotly.min.js",
    **{name: _ninja / name for name in ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js")},
}
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "chronos.core.security.Manifest"},
}
SERVESTATIC_MAX_AGE = 3600

LOGGING = logging_configuration(ENVIRONMENT.log_level)
SILENCED_SYSTEM_CHECKS: list[str] = []

FETCH_INTERVAL_MINUTES = ENVIRONMENT.fetch_interval_minutes
YAHOO_REQUESTS_PER_SECOND = ENVIRONMENT.yahoo_requests_per_second
OKX_BASE_URL = ENVIRONMENT.okx_base_url
OKX_REQUESTS_PER_SECOND = ENVIRONMENT.okx_requests_per_second
TWELVEDATA_BASE_URL = ENVIRONMENT.twelvedata_base_url
TWELVEDATA_API_KEY = ENVIRONMENT.twelvedata_api_key.get_secret_value() if ENVIRONMENT.twelvedata_api_key else ""
TWELVEDATA_REQUESTS_PER_MINUTE = ENVIRONMENT.twelvedata_requests_per_minute
TWELVEDATA_REQUESTS_PER_DAY = ENVIRONMENT.twelvedata_requests_per_day
ALPHAVANTAGE_BASE_URL = ENVIRONMENT.alphavantage_base_url
ALPHAVANTAGE_API_KEY = ENVIRONMENT.alphavantage_api_key.get_secret_value() if ENVIRONMENT.alphavantage_api_key else ""
ALPHAVANTAGE_REQUESTS_PER_SECOND = ENVIRONMENT.alphavantage_requests_per_second
ALPHAVANTAGE_REQUESTS_PER_DAY = ENVIRONMENT.alphavantage_requests_per_day
API_REQUESTS_PER_MINUTE = ENVIRONMENT.api_requests_per_minute
VALIDATION_REQUESTS_PER_MINUTE = ENVIRONMENT.validation_requests_per_minute
VALIDATION_DAYS = ENVIRONMENT.validation_days
BACKFILL_DAYS = {  # by the kind of timeframe
    "days": ENVIRONMENT.backfill_days_of_days,
    "hours": ENVIRONMENT.backfill_days_of_hours,
    "minutes": ENVIRONMENT.backfill_days_of_minutes,
}
BACKFILL_PARALLEL = ENVIRONMENT.backfill_parallel
FRAMES_MAX_MB = ENVIRONMENT.frames_max_mb
