"""The programs that a measurement needs, and the cores that they run on."""

import glob
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SERVICE_CORE, CLIENT_CORE = "0", "1"


def find_tools():
    """Returns the directory of PostgreSQL's programs. Exits if a tool is missing."""
    packages = {"h2load": "nghttp2-client", "nghttp": "nghttp2-client", "taskset": "util-linux"}
    missing = {package for tool, package in packages.items() if not shutil.which(tool)}
    installed = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    newest = max(installed, key=lambda path: int(path.split("/")[4]), default=shutil.which("initdb"))
    if not newest:
        missing.add("postgresql")
    if missing:
        sys.exit(f"bench/run: tools are missing; apt-get install {' '.join(sorted(missing))}")
    if not shutil.which("cargo"):
        sys.exit("bench/run: cargo is missing; see https://rustup.rs")
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench/run: two cores are needed, one for the service and one for its client")
    return Path(newest).parent


def run(*command, **options):
    """Runs a command and returns its output. Exits with the command's output if it fails."""
    command = [str(word) for word in command]
    done = subprocess.run(command, capture_output=True, **options)
    if done.returncode != 0:
        sys.exit(f"bench/run: {' '.join(command)}\n{done.stderr.decode()}{done.stdout.decode()}")
    return done.stdout


def say(what):
    print(f"bench/run: {what}", file=sys.stderr)


def build():
    """Builds the service."""
    subprocess.run(["cargo", "build", "--locked", "--release"], cwd=ROOT, check=True)


def build_benches(*names):
    """Builds these benches, with the bare server, or all. Returns the path of the bare server."""
    chosen = [word for name in names for word in ("--bench", name)]
    command = ["cargo", "bench", "--locked", "--no-run", "--message-format", "json", *chosen]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    built = [json.loads(line) for line in output.splitlines()]
    (bare,) = (
        one["executable"] for one in built if one.get("target", {}).get("name") == "bare" and one["executable"]
    )
    return bare
