"""Settings: defaults, a file, the environment over it; and what is said when they are wrong."""

import json
import re
import stat
from pathlib import Path

import pytest

from server.config import DESCRIPTIONS, ConfigError, Settings, load, redacted
from tests.cli.conftest import Cli, one_line
from tests.support.server import SECRET


@pytest.mark.parity("A18")
def test_defaults_are_printed_and_documented(cli: Cli) -> None:
    """Every setting with its default; each has a description."""
    done = cli("check-config")
    assert done.code == 0, done
    shown = json.loads(done.out)
    assert set(shown) == set(Settings.__struct_fields__) == set(DESCRIPTIONS)
    assert (shown["host"], shown["port"], shown["pool_size"]) == ("127.0.0.1", 8080, 10)
    assert shown["jwt_secret"] == "***"


@pytest.mark.parity("A18")
def test_the_environment_overrides_the_file(cli: Cli, tmp_path: Path) -> None:
    """The file is named by option or variable; what neither names keeps its default."""
    file = tmp_path / "slotcast.toml"
    file.write_text('port = 7001\npool_size = 20\nlog_level = "warning"\naccess_log = false\ndrain_timeout_s = 2.5\n')
    by_option = cli("check-config", "--config", str(file), SLOTCAST_PORT="7002")
    by_variable = cli("check-config", SLOTCAST_CONFIG=str(file), SLOTCAST_PORT="7002")
    assert by_option.out == by_variable.out
    shown = json.loads(by_option.out)
    assert (shown["port"], shown["pool_size"], shown["log_level"]) == (7002, 20, "warning")
    assert (shown["access_log"], shown["drain_timeout_s"], shown["journal_writers"]) == (False, 2.5, 2)


URLS = [
    ("postgresql://me:hunter2@db.example:5432/slotcast", "hunter2"),
    ("postgresql://me:hun:ter2@db.example/slotcast", "ter2"),
    ("postgresql://me:hun@ter2@db.example/slotcast", "ter2"),
    ("postgresql://me:hun/ter2@db.example/slotcast", "ter2"),
    ("postgresql://:hunter2@db.example/slotcast", "hunter2"),
    ("postgresql://me@db.example/slotcast?password=hunter2&sslmode=require", "hunter2"),
]


def test_secrets_are_not_printed(cli: Cli) -> None:
    """Neither the signing key nor passwords within addresses; the rest of an address stays readable."""
    url, hidden = URLS[0]
    done = cli("check-config", DATABASE_URL=url, SLOTCAST_JWT_SECRET=SECRET)
    assert done.code == 0, done
    assert SECRET not in done.out + done.err
    assert hidden not in done.out + done.err
    for url, hidden in URLS:
        shown = redacted(Settings(database_url=url, redis_url=url, jwt_secret=SECRET))
        for name in ("database_url", "redis_url"):
            assert hidden not in shown[name]
            assert "db.example" in shown[name]


@pytest.mark.parametrize(
    "url", ["redis://me:hunter2@cache:port/0", "http://me:hunter2@cache", "redis://:hunter2@c:99999"]
)
def test_a_redis_that_is_none_is_not_repeated(url: str) -> None:
    """The mistake may be in its password."""
    with pytest.raises(ConfigError, match="SLOTCAST_REDIS_URL") as told:
        load(None, {"REDIS_URL": url})
    assert "hunter2" not in str(told.value)


BAD_VALUES = [
    ("PORT", "http"), ("PORT", "65536"), ("PORT", "-1"), ("LOG_LEVEL", "loud"), ("POOL_SIZE", "1"),
    ("ACCESS_LOG", "perhaps"), ("DRAIN_TIMEOUT_S", "soon"), ("SHARD_COUNT", "0"), ("JWT_SECRET", "sh0rt"),
    ("JWT_KEYS", "/nowhere"), ("TRUSTED_PROXIES", "nonsense"), ("RATE_LIMITS", "login=often"), ("HSTS", "perhaps"),
    ("REDIS_URL", "http://redis"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_bad_value_names_its_variable(name: str, value: str) -> None:
    """And a short secret is not repeated."""
    with pytest.raises(ConfigError, match=f"SLOTCAST_{name}") as told:
        load(None, {f"SLOTCAST_{name}": value})
    assert "sh0rt" not in str(told.value)


def test_what_is_wrong_is_told_in_one_line(cli: Cli) -> None:
    """With exit code 2, for every kind of mistake."""
    one_line(cli("check-config", SLOTCAST_PORT="http"), "SLOTCAST_PORT")
    one_line(cli("serve", DATABASE_URL="postgresql://[::1/none", SLOTCAST_JWT_SECRET=SECRET), "DATABASE_URL")


def test_a_setting_nobody_knows_is_refused(cli: Cli, tmp_path: Path) -> None:
    """A misspelt variable or key must not be passed over."""
    one_line(cli("check-config", SLOTCAST_PROT="7000"), "SLOTCAST_PROT")
    file = tmp_path / "slotcast.toml"
    file.write_text("prot = 7000\n")
    one_line(cli("check-config", "--config", str(file)), "prot")


@pytest.mark.parametrize(
    ("text", "word"), [("port = ", "TOML"), ("port = 'x'", "PORT"), ("[port]\na = 1", "PORT"), ("\udcff", "TOML")]
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, word: str) -> None:
    """What is wrong with it."""
    file = tmp_path / "slotcast.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=word):
        load(str(file), {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Also where a folder stands in its place."""
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=re.escape(str(path))):
            load(str(path), {})


def test_a_database_of_ones_own_needs_a_secret_of_ones_own(cli: Cli) -> None:
    """And the message says how to make one."""
    for command in ("check-config", "serve"):
        done = cli(command, DATABASE_URL="postgresql://db.example/slotcast")
        one_line(done, "SLOTCAST_JWT_SECRET", "secrets.token_urlsafe")


def test_the_generated_secret_is_kept_and_is_nobody_elses_to_read(cli: Cli, tmp_path: Path) -> None:
    """Mode 600, the same the next time; one that was cut is refused."""
    data = tmp_path / "data"
    assert cli("check-config").code == 0
    path = data / "jwt-secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = path.read_text()
    assert len(secret) >= 43
    assert cli("check-config").code == 0
    assert path.read_text() == secret
    path.write_text("cut\n")
    one_line(cli("check-config"), "jwt-secret")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in its place, or above it."""
    file = tmp_path / "file"
    file.write_text("x")
    for path in (file, file / "below"):
        with pytest.raises(ConfigError, match="SLOTCAST_DATA_DIR"):
            load(None, {"SLOTCAST_DATA_DIR": str(path)})
