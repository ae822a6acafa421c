"""The servers that are measured: the service, and one with tonic alone."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .client import Call, first_field, message
from .tools import ROOT, SERVICE_CORE, run

START_LIMIT_SECONDS = 120
KEY_SERVICE = "/tosend.keys.v1.KeyService/"
ADD_DOMAIN = "/tosend.keys.v1.DomainService/AddDomain"
DOMAIN = "mail.example.com"


class Process:
    """A running server."""

    process: subprocess.Popen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=30)

    def resident_bytes(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def allocations(self):
        """How often it has asked for memory, if it was started with `counting`."""
        return int.from_bytes(self.counted.read_bytes(), sys.byteorder)

    def cpu_seconds(self):
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


class Bare(Process):
    """A server with tonic alone, on the core of the service."""

    def __init__(self, program, directory, counting=None):
        self.certificate, self.key = directory / "certificate.pem", directory / "key.pem"
        pin = ["taskset", "-c", SERVICE_CORE]
        env, self.counted = environment(directory, counting)
        self.process = subprocess.Popen([*pin, program, directory], stdout=subprocess.PIPE, env=env)
        plain, encrypted = self.process.stdout.readline().decode().split()
        self.key.chmod(0o600)
        self.plain, self.encrypted = f"http://{plain}", f"https://{encrypted}"


class Service(Process):
    """A running `keyservice serve` that has loaded its keys."""

    def __init__(self, store, directory, *options, pinned=False, counting=None):
        self.directory = directory
        pin = ["taskset", "-c", SERVICE_CORE] if pinned else []
        env, self.counted = environment(directory, counting)
        # One for each, because several may run.
        with tempfile.NamedTemporaryFile("w", dir=directory, suffix=".log", delete=False) as stderr:
            log = Path(stderr.name)
            self.process = subprocess.Popen(
                [*pin, ROOT / "target/release/keyservice", "serve", "--listen", "127.0.0.1:0",
                 "--store", store, "--log-format", "json", *options],
                stderr=stderr,
                env=env,
            )  # fmt: skip
        deadline = time.monotonic() + START_LIMIT_SECONDS
        events = {}
        while not {"keyring loaded", "listening"} <= events.keys():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                sys.exit(f"bench/run: the service did not start\n{log.read_text()}")
            time.sleep(0.05)
            lines = [line for line in log.read_text().splitlines(True) if line.endswith("}\n")]
            events = {event["message"]: event for event in map(json.loads, lines)}
        scheme = "https" if "--tls-cert" in options else "http"
        self.base = f"{scheme}://{events['listening']['address']}"
        self.keys = events["keyring loaded"]["keys"]
        self.load_seconds = events["keyring loaded"]["elapsed_ms"] / 1000

    def create_key(self):
        def call(path, *fields):
            return Call(self.base, path, message(*fields), self.directory).once()

        call(ADD_DOMAIN, (1, "bench"), (2, DOMAIN))
        number, token = first_field(
            call(KEY_SERVICE + "Create", (1, "bench"), (2, "bench"), (3, DOMAIN))
        )
        if number != 1:
            sys.exit("bench/run: Create gave no token")
        return token.decode()

    def authorize(self, token, secret=None):
        """The call that asks for a grant of this token."""
        request = message((1, token), (2, DOMAIN))
        call = Call(self.base, KEY_SERVICE + "Authorize", request, self.directory, secret)
        number, grant = first_field(call.once())
        if number != 1 or DOMAIN.encode() not in grant:
            sys.exit("bench/run: the new key's token is not granted")
        return call


def environment(directory, counting):
    """Returns the environment of a server, and the file in which the library `counting` counts, if it is given."""
    env = {name: v for name, v in os.environ.items() if not name.startswith("OTEL_")}
    if not counting:
        return env, None
    with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
        file.write(bytes(8))
    return env | {"LD_PRELOAD": str(counting), "ALLOCATIONS": file.name}, Path(file.name)


def new_credential(directory):
    """Returns a file that lists one caller, and the secret of that caller."""
    program = ROOT / "target/release/keyservice"
    path = directory / "credentials"
    path.touch(0o600)
    command = [program, "credential", "new", "bench", "--role", "authorizer"]
    with path.open("w") as credentials:
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=credentials, check=True)
    return path, made.stdout.decode().strip()
