"""Settings: a TOML file, then the environment over it; validated once, at start.

Every setting `name` is `SLOTCAST_NAME` in the environment and `name` in the file. `DATABASE_URL` and `REDIS_URL`
are read without prefix too, because platforms provide them so.
"""

import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

PREFIX: Final = "SLOTCAST_"
_UNPREFIXED: Final = ("database_url", "redis_url")
_SECRET: Final = frozenset({"jwt_secret"})
_URLS: Final = frozenset({"database_url", "redis_url", "smtp_url", "sms_url"})
_SECRET_CHARS_MIN: Final = 32
_KEEP_DAYS_MIN: Final = 7
WORKERS_MAX: Final = 64


class ConfigError(Exception):
    """Says which setting is wrong and how to set it."""


class Settings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Defaults suit one node on one machine."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    workers: Annotated[int, Meta(ge=1, le=WORKERS_MAX)] = 1
    data_dir: str = ".slotcast"
    database_url: str = ""
    redis_url: str = ""
    node_name: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")] = ""
    node_weight: Annotated[float, Meta(gt=0, le=100)] = 1.0
    lease_ttl_s: Annotated[float, Meta(ge=2.5, le=60)] = 5.0
    jwt_secret: str = ""
    jwt_keys: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    access_log: bool = True
    public_hosts: str = "localhost,127.0.0.1,::1"
    base_domain: str = ""
    trial_days: Annotated[int, Meta(ge=0, le=3650)] = 0
    trusted_proxies: str = ""
    rate_limits: str = ""
    hsts: bool = False
    shard_count: Annotated[int, Meta(ge=1, le=4096)] = 64
    journal_writers: Annotated[int, Meta(ge=1, le=16)] = 2
    pool_size: Annotated[int, Meta(ge=2, le=200)] = 10
    job_workers: Annotated[int, Meta(ge=0, le=256)] = 16
    job_lease_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    journal_keep_days: Annotated[int, Meta(ge=0, le=36_500)] = 0
    drain_timeout_s: Annotated[float, Meta(ge=0, le=300)] = 10.0
    migrate_on_start: bool = True
    smtp_url: str = ""
    mail_from: Annotated[str, Meta(max_length=254)] = ""
    sms_url: str = ""
    public_url: Annotated[str, Meta(max_length=500)] = ""
    webhook_insecure: bool = False
    webhook_allow_private: str = ""

    @property
    def embedded(self) -> bool:
        """Whether the node runs its own Postgres in `data_dir`."""
        return not self.database_url


DESCRIPTIONS: Final[dict[str, str]] = {
    "host": "address to listen on",
    "port": "port to listen on; 0 lets the system choose",
    "metrics_port": "a second port for /metrics, /healthz and /readyz, each worker its own from there on; 0 for none",
    "workers": "nodes that share the port; more than one need Redis",
    "data_dir": "where the embedded Postgres and the generated secret live",
    "database_url": "Postgres to use; without it, an embedded one in `data_dir`",
    "redis_url": "Redis through which nodes find each other and count requests; without it the node is alone",
    "node_name": "what operators call the node, the same after a restart; host and process id if not given",
    "node_weight": "how many shards the node takes, compared with the others",
    "lease_ttl_s": "how long after a node's last sign of life others take its shards",
    "jwt_secret": "signs tokens, at least 32 characters; generated and kept in `data_dir` with an embedded Postgres",
    "jwt_keys": "a directory or, by commas, PEM files with keys that sign access tokens instead of the secret",
    "log_level": "debug, info, warning or error",
    "log_format": "json, console, or auto: console on a terminal",
    "access_log": "one line per request",
    "public_hosts": "names under which pages of this server may watch and book without login, by commas",
    "base_domain": "the domain whose subdomains are slugs of businesses, as example.com; without it there are none",
    "trial_days": "days after its approval for which a business takes bookings; 0 is for ever",
    "trusted_proxies": "networks of your proxies, by commas; their X-Forwarded headers are believed",
    "rate_limits": "quotas that differ from those in docs/operations.md, as login=10/minute,client=off; off is none",
    "hsts": "tell browsers to come by TLS only; for servers behind a proxy with TLS",
    "shard_count": "shards of a new database; an existing one keeps its number",
    "journal_writers": "connections that commit batches side by side",
    "pool_size": "connections for everything but batches",
    "job_workers": "jobs that a node does at a time: mails, webhooks and the like; 0 leaves them to others",
    "job_lease_s": "how long a job stays with a worker that is not heard of",
    "journal_keep_days": "days for which events are kept, at least 7; 0 is for ever",
    "drain_timeout_s": "longest time from SIGTERM to the end",
    "migrate_on_start": "apply missing migrations when the server starts",
    "smtp_url": "the server that mail leaves by, as smtp://user:password@host:587; without it there is no mail",
    "mail_from": "the address that mail comes from; needed for mail",
    "sms_url": "who sends text messages, as twilio://ACCOUNT:TOKEN@+15550100; without it there are none",
    "public_url": "where people reach this server, for links in mails; needed for mail",
    "webhook_insecure": "webhooks may go to http: addresses too",
    "webhook_allow_private": "private networks that webhooks may be sent into, by commas; none otherwise",
}


def load(path: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Reads and checks all settings. Raises `ConfigError` naming the first that is wrong."""
    environ = os.environ if environ is None else environ
    path = path or environ.get(PREFIX + "CONFIG")
    values: dict[str, Any] = _from_file(path) if path else {}
    names = set(Settings.__struct_fields__)
    for name in names:
        text = environ.get(PREFIX + name.upper())
        if text is None and name in _UNPREFIXED:
            text = environ.get(name.upper())
        if text is not None:
            values[name] = text
    unknown = [
        k for k in environ
        if k.startswith(PREFIX) and k.removeprefix(PREFIX).lower() not in names and not _is_ours(k)
    ]  # fmt: skip
    if unknown:
        raise ConfigError(f"unknown setting {sorted(unknown)[0]}; see the settings table in README.md")
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        field = re.search(r"\$\.(\w+)", str(error))
        name = f"{PREFIX}{field[1].upper()}: " if field else ""
        raise ConfigError(f"{name}{str(error).split(' - at')[0]}") from None
    for name in _URLS:
        try:
            urlsplit(getattr(settings, name))
        except ValueError as error:
            raise ConfigError(f"{name.upper()} is not a URL: {error}") from None
    _check(settings)
    return _with_secret(settings)


def _check(settings: Settings) -> None:
    """What a type alone does not say of a setting."""
    from server.keys import read_keys
    from server.remote import networks
    from server.throttle import quotas
    from storage.windows import windows

    for name, read in (
        ("trusted_proxies", networks),
        ("rate_limits", quotas),
        ("jwt_keys", read_keys),
        ("webhook_allow_private", networks),
    ):
        try:
            read(getattr(settings, name))
        except (ValueError, OSError) as error:
            raise ConfigError(f"{PREFIX}{name.upper()}: {error}") from None
    _check_ways(settings)
    if 0 < settings.journal_keep_days < _KEEP_DAYS_MIN:
        raise ConfigError(
            f"{PREFIX}JOURNAL_KEEP_DAYS is 0, for ever, or at least {_KEEP_DAYS_MIN}: "
            "what is repeated or tried again within days needs the events"
        )
    try:
        windows(settings.redis_url)
    except ValueError:
        # What is wrong with it may be its password.
        raise ConfigError(f"{PREFIX}REDIS_URL is no address of Redis; write redis://host:6379/0") from None


def _check_ways(settings: Settings) -> None:
    """Whether people could be told by what is set."""
    from server.messaging import mail_of, texts_of

    for name in ("mail_from", "public_url"):
        if settings.smtp_url and not getattr(settings, name):
            raise ConfigError(f"{PREFIX}{name.upper()} is not set, but needed with {PREFIX}SMTP_URL")
    if settings.mail_from and not re.fullmatch(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+", settings.mail_from):
        raise ConfigError(f"{PREFIX}MAIL_FROM is no mail address; write one without a name")
    if settings.public_url and not re.fullmatch(r"https?://[^\s/?#\"<>]+(/[^\s?#\"<>]*)?", settings.public_url):
        raise ConfigError(f"{PREFIX}PUBLIC_URL is no address of a page; write https://book.example.com")
    for name, made in (("smtp_url", mail_of), ("sms_url", texts_of)):
        try:
            if getattr(settings, name) in ("outbox:", "print:"):
                raise ValueError("that is for --demo alone")
            made(settings)
        except ValueError as error:
            raise ConfigError(f"{PREFIX}{name.upper()}: {error}") from None


def _is_ours(variable: str) -> bool:
    return variable == PREFIX + "CONFIG" or variable.startswith((PREFIX + "TEST_", PREFIX + "PROVE", PREFIX + "BENCH_"))


def _from_file(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def _with_secret(settings: Settings) -> Settings:
    if settings.jwt_secret:
        if len(settings.jwt_secret) < _SECRET_CHARS_MIN:
            raise ConfigError(f"SLOTCAST_JWT_SECRET is shorter than {_SECRET_CHARS_MIN} characters")
        return settings
    if not settings.embedded:
        raise ConfigError(
            "SLOTCAST_JWT_SECRET is not set. With a database of your own the secret is yours to keep, the same on "
            'every node: python -c "import secrets; print(secrets.token_urlsafe(48))"'
        )
    return msgspec.structs.replace(settings, jwt_secret=_kept_secret(Path(settings.data_dir)))


def _kept_secret(data_dir: Path) -> str:
    path = data_dir / "jwt-secret"
    if data_dir.exists() and not data_dir.is_dir():
        raise ConfigError(f"SLOTCAST_DATA_DIR: {data_dir} is a file")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        # O_EXCL: of two processes starting together one makes the file, the other reads it.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        secret = path.read_text().strip()
        if len(secret) < _SECRET_CHARS_MIN:
            raise ConfigError(f"{path} holds no usable secret; remove it to have a new one made") from None
        return secret
    except OSError as error:
        raise ConfigError(f"SLOTCAST_DATA_DIR: cannot write to {data_dir}: {error.strerror}") from None
    secret = secrets.token_urlsafe(48)
    with os.fdopen(fd, "w") as file:
        file.write(secret + "\n")
    return secret


def redacted(settings: Settings) -> dict[str, Any]:
    """The settings as they may be printed."""
    shown: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        value = getattr(settings, name)
        if name in _SECRET and value:
            value = "***"
        elif name in _URLS:
            # Up to the last @: a password that should have been escaped must not be shown for that.
            value = re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", value)
            value = re.sub(r"(password=)[^&\s]*", r"\1***", value)
        shown[name] = value
    return shown
