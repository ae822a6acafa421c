"""The memory that a key takes, and the time to load many."""

import statistics

from .servers import Service
from .stores import Postgres
from .tools import say

FEW_KEYS = 1000
LOADS = 3

MAX_BYTES_A_KEY = 100
MAX_POSTGRES_LOAD_SECONDS = 3


def fill(store, directory, keys):
    """Fills a store that is empty."""
    say(f"{store.name}: {keys} keys")
    with Service(store.address, directory):
        pass  # this start creates the tables
    store.seed(keys)


def measure_keys(store, directory, keys):
    """Adds keys to a store that has few. Returns the resident bytes of a key, and the seconds of each
    load."""
    with Service(store.address, directory) as service:
        few, few_bytes = service.keys, service.resident_bytes()
    say(f"{store.name}: {keys} keys")
    store.seed(keys)
    bytes_a_key, load_seconds = [], []
    for _ in range(LOADS):
        with Service(store.address, directory) as service:
            added = service.keys - few
            bytes_a_key.append((service.resident_bytes() - few_bytes) / added)
            load_seconds.append(service.load_seconds)
    return statistics.median(bytes_a_key), sorted(load_seconds)


def verdict(met):
    return "met" if met else "MISSED"


def print_keys(stores):
    print("\n| store | resident bytes a key | at most 100 | load, median of 3 | all | under 3 s |")
    print("|---|---:|---|---:|---:|---|")
    for store, bytes_a_key, seconds in stores:
        median = statistics.median(seconds)
        in_time = verdict(median < MAX_POSTGRES_LOAD_SECONDS) if store == Postgres.name else "–"
        print(
            f"| {store} | {bytes_a_key:.1f} | {verdict(bytes_a_key <= MAX_BYTES_A_KEY)} |"
            f" {median:.2f} s | {', '.join(f'{each:.2f}' for each in seconds)} | {in_time} |"
        )
