"""What Chronos reads from its environment, typed. `.env.example` documents every name."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

BASE_DIR = Path(__file__).resolve().parent.parent


def _commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Commas = Annotated[list[str], NoDecode, BeforeValidator(_commas)]


class Environment(BaseSettings):
    """One field per variable; the variable's name is the field's in upper case."""

    model_config = SettingsConfigDict(
        env_file=os.environ.get("CHRONOS_ENV_FILE", BASE_DIR / ".env"),
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    chronos_var: Path = Path("var")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    public_url: str = ""
    allowed_hosts: Commas = []
    secret_key: SecretStr | None = None
    debug: bool = False

    database_url: SecretStr | None = None
    database_app_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    postgres_user: str = ""

    sign_up: bool = False
    contact: str = Field(default="", max_length=200)
    email_url: SecretStr | None = None
    email_from: str = ""
    trusted_proxies: int = Field(default=0, ge=0, le=9)

    fetch_interval_minutes: int = Field(default=60, ge=1, le=10_080)
    yahoo_requests_per_second: float = Field(default=1.0, gt=0, le=50)
    okx_base_url: str = "https://www.okx.com"
    okx_requests_per_second: float = Field(default=8.0, gt=0, le=50)
    twelvedata_base_url: str = "https://api.twelvedata.com"
    twelvedata_api_key: SecretStr | None = None
    twelvedata_requests_per_minute: float = Field(default=8.0, gt=0, le=10_000)
    twelvedata_requests_per_day: int = Field(default=800, ge=1)
    alphavantage_base_url: str = "https://www.alphavantage.co"
    alphavantage_api_key: SecretStr | None = None
    alphavantage_requests_per_second: float = Field(default=1.0, gt=0, le=50)
    alphavantage_requests_per_day: int = Field(default=25, ge=1)
    api_requests_per_minute: int = Field(default=1200, ge=1, le=1_000_000)
    validation_requests_per_minute: int = Field(default=5, ge=1, le=10_000)
    validation_days: int = Field(default=30, ge=1, le=3_650)
    backfill_days_of_days: int = Field(default=1_827, ge=1, le=40_000)
    backfill_days_of_hours: int = Field(default=731, ge=1, le=40_000)
    backfill_days_of_minutes: int = Field(default=7, ge=1, le=40_000)
    backfill_parallel: int = Field(default=4, ge=1, le=16)
    frames_max_mb: int = Field(default=4_096, ge=16)
    worker_concurrency: int = Field(default=2, ge=1, le=64)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("chronos_var")
    @classmethod
    def _from_the_project(cls, value: Path) -> Path:
        """Relative to the project; made here, because the keys in it are the first thing that is needed."""
        var = (BASE_DIR / value.expanduser()).resolve()
        try:
            var.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{var} can't be made a directory ({error.strerror})") from None
        return var

    @field_validator("secret_key")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value and len(value.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters, or be empty: then one is made")
        return value

    @field_validator("database_url", "database_app_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value and urlsplit(value.get_secret_value()).scheme not in ("postgres", "postgresql"):
            raise ValueError("must look like postgresql://user:password@host:5432/name")
        if value:
            try:
                parts = conninfo_to_dict(value.get_secret_value())
            except psycopg.Error:  # its words would repeat the password
                raise ValueError("can't be read; a password with special characters must be percent-encoded") from None
            if not parts.get("dbname"):
                raise ValueError("must end with the database's name: postgresql://user:password@host:5432/name")
            if not str(parts.get("port", "5432")).isdigit():
                raise ValueError("must have a number as its port")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value and urlsplit(value.get_secret_value()).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must look like redis://:password@host:6379/0 (or rediss://, unix://)")
        if value:
            parts = urlsplit(value.get_secret_value())
            if parts.scheme != "unix" and (not re.fullmatch(r"/?\d{0,3}", parts.path) or "db=" in parts.query):
                raise ValueError("must name its database by number at the end: redis://host:6379/0")
            try:
                _ = parts.port
            except ValueError:
                raise ValueError("must have a number as its port") from None
        return value

    @field_validator("email_url")
    @classmethod
    def _is_a_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            parts = urlsplit(value.get_secret_value())
            if parts.scheme not in ("smtp", "smtps", "submission") or not parts.hostname or parts.path.strip("/"):
                raise ValueError(
                    "must look like submission://user:password@mail.example.org:587 (or smtps://, smtp://)"
                )
            try:
                _ = parts.port
            except ValueError:
                raise ValueError("must have a number as its port") from None
        return value

    @field_validator("email_from")
    @classmethod
    def _is_a_sender(cls, value: str) -> str:
        if value and not re.fullmatch(r"[^@\r\n]+@[^@\s]+", value):
            raise ValueError("must be an address, as in chronos@example.org or Chronos <chronos@example.org>")
        return value

    @field_validator("okx_base_url", "twelvedata_base_url", "alphavantage_base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must look like https://api.example.org")
        return value.rstrip("/")

    @field_validator("public_url")
    @classmethod
    def _is_an_origin(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/")):
            raise ValueError("must look like https://chronos.example.org, without a path")
        return value.rstrip("/")


def read() -> Environment:
    """The environment, or one line a mistake and exit status 1: a wrong value must stop the start, readably."""
    try:
        return Environment()
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in fault['loc']).upper()}: {fault['msg'].removeprefix('Value error, ')}"
            " (.env.example explains it)"
            for fault in error.errors()
        ]
        raise SystemExit("\n".join(lines)) from None
