"""The stores with many keys that a service loads."""

import contextlib
import hashlib
import os
import pwd
import sqlite3
import subprocess
from urllib.parse import quote

from .tools import CLIENT_CORE, run

ACCOUNTS = 100_000
DOMAINS = 50_000


class Sqlite:
    name = "SQLite"

    def __init__(self, directory):
        self.path = directory / "keys.db"
        self.address = f"sqlite:{self.path}"

    def seed(self, upto):
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("PRAGMA cache_size = -1000000")
            (last,) = connection.execute("SELECT max(revision) FROM writes").fetchone()
            numbers = range((last or 0) + 1, upto + 1)
            connection.executemany(
                """INSERT INTO keys (key_id, digest, account_id, name, preview, domain, create_time,
                                     revoke_time, create_revision, revision)
                   VALUES (?, ?, ?, 'bench', 'tsend_ab…wxyz', ?, ?, ?, ?, ?)""",
                map(self.row, numbers),
            )
            connection.execute(
                "INSERT INTO writes (revision, write_time, key_id) SELECT revision, create_time, key_id FROM keys WHERE revision > ?",
                [last or 0],
            )

    @staticmethod
    def row(n):
        now = 1_790_000_000_000_000
        # A UUIDv7 has the time first, and then random bits.
        key_id = n.to_bytes(6, "big") + hashlib.md5(str(n).encode()).digest()[:10]
        digest = hashlib.sha256(str(n).encode()).digest()
        domain = f"d{n // 2 % DOMAINS}.example.com" if n % 2 == 0 else None
        revoked = now if n // 2 % 10 == 0 else None
        return key_id, digest, f"account-{n * 7919 % ACCOUNTS}", domain, now, revoked, n, n


class Postgres:
    """A PostgreSQL cluster of its own, reached by a Unix socket in its directory."""

    name = "PostgreSQL"

    def __init__(self, directory, programs):
        self.directory = directory / "postgres"
        self.programs = programs
        self.address = f"postgres://bench@{quote(str(self.directory), safe='')}/postgres"
        self.options = {}
        self.directory.mkdir()
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            users = {user.pw_name: user for user in pwd.getpwall()}
            user = users.get("postgres") or users["nobody"]
            self.options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            directory.chmod(0o755)
            os.chown(self.directory, user.pw_uid, user.pw_gid)

    def program(self, name, *arguments):
        return run(
            self.programs / name, *arguments, cwd=self.directory, stdin=subprocess.DEVNULL,
            **self.options,
        )  # fmt: skip

    def __enter__(self):
        self.program("initdb", "-D", "data", "-U", "bench", "-A", "trust", "--no-sync", "-E", "UTF8")
        settings = f"-c listen_addresses='' -c unix_socket_directories='{self.directory}'"
        self.program("pg_ctl", "start", "-D", "data", "-w", "-l", "log", "-o", settings)
        # PostgreSQL shall not use the core of the service.
        postmaster = (self.directory / "data/postmaster.pid").read_text().split()[0]
        run("taskset", "-c", "-p", CLIENT_CORE, postmaster)
        return self

    def __exit__(self, *_):
        self.program("pg_ctl", "stop", "-D", "data", "-m", "immediate")

    def seed(self, upto):
        self.program(
            "psql", "-X", "-v", "ON_ERROR_STOP=1", "-h", self.directory, "-U", "bench", "-d",
            "postgres",
            # Rows are added here without the service's functions, many at once.
            "-c", "SET session_replication_role = replica",
            "-c", f"""
                WITH added AS (
                    INSERT INTO keyservice.keys
                        (key_id, digest, account_id, name, preview, domain, create_time, revoke_time,
                         create_revision, revision)
                    SELECT (lpad(to_hex(n), 12, '0') || left(md5(n::text), 20))::uuid,
                           sha256(n::text::bytea), 'account-' || n * 7919 % {ACCOUNTS}, 'bench',
                           'tsend_ab…wxyz',
                           CASE WHEN n % 2 = 0 THEN 'd' || n / 2 % {DOMAINS} || '.example.com' END,
                           now(), CASE WHEN n / 2 % 10 = 0 THEN now() END, n, n
                    FROM generate_series(
                        (SELECT coalesce(max(revision), 0) + 1 FROM keyservice.writes), {upto}::bigint
                    ) n
                    RETURNING revision, create_time, key_id)
                INSERT INTO keyservice.writes (revision, write_time, key_id) SELECT * FROM added""",
            "-c", "VACUUM ANALYZE keyservice.keys", "-c", "ANALYZE keyservice.writes",
        )  # fmt: skip
