"""The memory that a key takes, and the time to load many."""

import statistics
import time

from .servers import Service
from .stores import Postgres
from .tools import say

FEW_KEYS = 1000
LOADS = 3

MAX_BYTES_A_KEY = 100
MAX_POSTGRES_LOAD_SECONDS = {1_000_000: 3, 10_000_000: 6}


def fill(store, keys, directory):
    """Fills a store that is empty. Returns how many seconds it took."""
    with Service(store.address, directory):
        pass  # this start creates the tables
    return seed(store, keys)


def seed(store, keys):
    say(f"{store.name}: {keys} keys")
    started = time.monotonic()
    store.seed(keys)
    return time.monotonic() - started


class Loads:
    """What it takes to load a store that has many keys."""

    def __init__(self, store, keys, directory):
        """Adds keys to a store that has few."""
        self.store, self.keys = store, keys
        with Service(store.address, directory) as service:
            few, few_bytes = service.keys, service.resident_bytes()
        self.seeding = seed(store, keys)
        bytes_a_key, seconds = [], []
        for _ in range(LOADS):
            with Service(store.address, directory) as service:
                added = service.keys - few
                bytes_a_key.append((service.resident_bytes() - few_bytes) / added)
                seconds.append(service.load_seconds)
        self.bytes_a_key, self.seconds = statistics.median(bytes_a_key), sorted(seconds)

    def verdict(self):
        limit = MAX_POSTGRES_LOAD_SECONDS.get(self.keys)
        if self.store.name != Postgres.name or not limit:
            return "–"
        return f"under {limit} s: {verdict(statistics.median(self.seconds) < limit)}"


def verdict(met):
    return "met" if met else "MISSED"


def print_loads(loads):
    print("\n| store | keys | resident bytes a key | at most 100 | load, median of 3 | all | goal | seeding |")
    print("|---|---:|---:|---|---:|---:|---|---:|")
    for each in loads:
        print(
            f"| {each.store.name} | {each.keys:,} | {each.bytes_a_key:.1f}"
            f" | {verdict(each.bytes_a_key <= MAX_BYTES_A_KEY)} | {statistics.median(each.seconds):.2f} s"
            f" | {', '.join(f'{load:.2f}' for load in each.seconds)} | {each.verdict()} | {each.seeding:.0f} s |",
            flush=True,
        )
