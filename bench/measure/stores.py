"""The stores with many keys that a service loads."""

import contextlib
import hashlib
import os
import pwd
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from .tools import CLIENT_CORE, SERVICE_CORE, run

ACCOUNTS = 100_000
DOMAINS = 50_000


class Sqlite:
    name = "SQLite"

    def __init__(self, directory):
        self.path = directory / "keys.db"
        self.address = f"sqlite:{self.path}"

    def seed(self, upto):
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:

            def each(sql):
                return connection.execute(sql).fetchall()

            # The file is nobody else's, and may be lost.
            each("PRAGMA cache_size = -2000000")
            each("PRAGMA synchronous = OFF")
            each("PRAGMA journal_mode = OFF")
            [(last,)] = each("SELECT coalesce(max(revision), 0) FROM writes")
            indexes = each("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'keys' AND sql IS NOT NULL")
            each("BEGIN")
            for name, _ in indexes:
                each(f"DROP INDEX {name}")
            connection.executemany(
                """INSERT INTO keys (key_id, digest, account_id, name, preview, domain, create_time,
                                     revoke_time, create_revision, revision)
                   VALUES (?, ?, ?, 'bench', 'tsend_ab…wxyz', ?, ?, ?, ?, ?)""",
                map(self.row, range(last + 1, upto + 1)),
            )
            each(f"INSERT INTO writes (revision, write_time, key_id) SELECT revision, create_time, key_id FROM keys WHERE revision > {last}")
            for _, sql in indexes:
                each(sql)
            each("COMMIT")
            each("PRAGMA journal_mode = WAL")

    @staticmethod
    def row(n):
        now = 1_790_000_000_000_000
        # A UUIDv7 has the time first, and then random bits.
        key_id = n.to_bytes(6, "big") + hashlib.md5(str(n).encode()).digest()[:10]
        digest = hashlib.sha256(str(n).encode()).digest()
        domain = f"d{n // 2 % DOMAINS}.example.com" if n % 2 == 0 else None
        revoked = now if n // 2 % 10 == 0 else None
        return key_id, digest, f"account-{n * 7919 % ACCOUNTS}", domain, now, revoked, n, n


# Room for all writes of a run between two checkpoints, and memory to build indexes in. Indexes that are
# built anew need not be written to the log.
SETTINGS = ["max_wal_size=16GB", "checkpoint_timeout=1h", "maintenance_work_mem=512MB",
            "wal_level=minimal", "max_wal_senders=0"]  # fmt: skip

# What the drop and the making anew of indexes and constraints needs to know. References come first when they
# are dropped. The checks of texts would take as long as the rest of an insert.
INDEXES = """
    CREATE TABLE public.dropped AS
    WITH filled (oid) AS (VALUES ('keyservice.keys'::regclass), ('keyservice.writes'))
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS drop_it,
           format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname,
                  pg_get_constraintdef(oid)) AS make_it,
           contype = 'f' AS is_reference
    FROM pg_constraint
    WHERE contype IN ('c', 'p', 'u') AND conrelid IN (SELECT oid FROM filled)
       OR contype = 'f' AND (conrelid IN (SELECT oid FROM filled) OR confrelid IN (SELECT oid FROM filled))
    UNION ALL
    SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid), false
    FROM pg_index i
    WHERE indrelid IN (SELECT oid FROM filled)
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))"""

ROWS = f"""
    INSERT INTO keyservice.keys
        (key_id, digest, account_id, name, preview, domain, create_time, revoke_time,
         create_revision, revision)
    SELECT (lpad(to_hex(n), 12, '0') || left(md5(n::text), 20))::uuid,
           sha256(n::text::bytea), 'account-' || n * 7919 % {ACCOUNTS}, 'bench', 'tsend_ab…wxyz',
           CASE WHEN n % 2 = 0 THEN 'd' || n / 2 % {DOMAINS} || '.example.com' END,
           now(), CASE WHEN n / 2 % 10 = 0 THEN now() END, n, n
    FROM (SELECT generate_series(:first::bigint, :last) AS n) numbers"""

WRITES = """
    INSERT INTO keyservice.writes (revision, write_time, key_id)
    SELECT n, now(), (lpad(to_hex(n), 12, '0') || left(md5(n::text), 20))::uuid
    FROM (SELECT generate_series(:first::bigint, :last) AS n) numbers"""


def each_dropped(column, order):
    """SQL that runs what stands in a column of the table of indexes."""
    return f"""DO $$
        DECLARE sql text;
        BEGIN
            FOR sql IN SELECT {column} FROM public.dropped ORDER BY is_reference {order} LOOP
                EXECUTE sql;
            END LOOP;
        END $$"""


class Cluster:
    """A PostgreSQL cluster of its own, reached by a Unix socket in its directory."""

    def __init__(self, directory, programs):
        self.directory = directory / "postgres"
        self.programs = programs
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
        settings = ["listen_addresses=''", f"unix_socket_directories='{self.directory}'", *SETTINGS]
        settings = " ".join(f"-c {setting}" for setting in settings)
        self.program("pg_ctl", "start", "-D", "data", "-w", "-l", "log", "-o", settings)
        # PostgreSQL shall not use the core of the service.
        self.run_on(CLIENT_CORE)
        return self

    def __exit__(self, *_):
        self.program("pg_ctl", "stop", "-D", "data", "-m", "immediate")

    def run_on(self, cores):
        """The cores for connections that begin from now on."""
        postmaster = (self.directory / "data/postmaster.pid").read_text().split()[0]
        run("taskset", "-c", "-p", cores, postmaster)

    def database(self, name):
        """Creates a database."""
        self.program("createdb", "-h", self.directory, "-U", "bench", name)
        return Postgres(self, name)


class Postgres:
    """A database in a cluster."""

    name = "PostgreSQL"

    def __init__(self, cluster, database):
        self.cluster, self.database = cluster, database
        self.address = f"postgres://bench@{quote(str(cluster.directory), safe='')}/{database}"

    def psql(self, *statements, **variables):
        # psql replaces variables only in what it reads.
        script = self.cluster.directory / f"{self.database}-{variables.get('first', 0)}.sql"
        script.write_text("".join(f"{statement};\n" for statement in statements))
        script.chmod(0o644)
        variables = {"ON_ERROR_STOP": 1, **variables}
        given = [word for name, value in variables.items() for word in ("-v", f"{name}={value}")]
        return self.cluster.program(
            "psql", "-X", "-A", "-t", "-q", "-h", self.cluster.directory, "-U", "bench",
            "-d", self.database, *given, "-f", script,
        ).decode()  # fmt: skip

    def seed(self, upto):
        """Adds rows without the service's functions, many at once, and builds the indexes anew, on all
        cores."""
        last = int(self.psql("SELECT coalesce(max(revision), 0) FROM keyservice.writes"))
        self.cluster.run_on(f"{SERVICE_CORE},{CLIENT_CORE}")
        self.psql(INDEXES, each_dropped("drop_it", "DESC"))
        middle = (last + upto) // 2

        def insert(first, last):
            self.psql("SET session_replication_role = replica", ROWS, WRITES, first=first, last=last)

        with ThreadPoolExecutor() as pool:
            halves = [pool.submit(insert, last + 1, middle), pool.submit(insert, middle + 1, upto)]
            for half in halves:
                half.result()
        self.psql(each_dropped("make_it", "ASC"), "DROP TABLE public.dropped")
        self.psql("VACUUM ANALYZE keyservice.keys", "VACUUM ANALYZE keyservice.writes")
        self.cluster.run_on(CLIENT_CORE)
