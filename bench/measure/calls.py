"""Authorize against the same call to a server with tonic alone, in one interleaved run."""

import contextlib
import statistics

from .client import Call, message
from .servers import KEY_SERVICE, Bare, Service, new_credential
from .tools import ROOT, run, say

SHAPES = [(8, 32), (64, 1), (1, 1)]  # connections, streams on each
GATHERING = (8, 32)
EMPTY = "bare, empty call"
EMPTY_TLS = "bare, empty call, TLS"

# How many times the calls of the bare server, at least, where streams share connections, and elsewhere.
GOALS = {"Authorize": (1.4, 1.0), "Authorize, credentials": (1.4, 1.0), "Authorize, TLS": (1.3, 1.0)}


# Enough to make those of a connection's start small.
COUNTED_CALLS = 100_000

# The rate with many keys, as a part of that with few.
LEAST_AT_MANY_KEYS = 0.97


class Subject:
    """A call, the server that answers it, and the name of the subject that it is compared with."""

    def __init__(self, name, server, call, compared_with):
        self.name, self.server, self.call, self.compared_with = name, server, call, compared_with
        self.rates, self.cpu_micros, self.latencies = [], [], []

    def measure(self, shape, seconds):
        cpu = self.server.cpu_seconds()
        rate, _ = self.call.load(shape, seconds)
        cpu = self.server.cpu_seconds() - cpu
        self.rates.append(rate)
        self.cpu_micros.append(cpu / (rate * seconds) * 1e6)

    def measure_latency(self, shape, seconds, rate):
        _, micros = self.call.load(shape, seconds, rate)
        percentiles = statistics.quantiles(micros, n=100)
        self.latencies.append((percentiles[49], percentiles[98]))

    def latency(self, index):
        return statistics.median(each[index] for each in self.latencies)


def measure_calls(bare, store, token, directory, rounds, seconds):
    """Yields the rows of the table of calls."""
    path, secret = new_credential(directory)
    with contextlib.ExitStack() as stack:

        def service(*options):
            started = Service(store.address, directory, *options, pinned=True)
            return stack.enter_context(started)

        plain = service()
        listed = service("--credentials", path)
        encrypted = service("--tls-cert", bare.certificate, "--tls-key", bare.key)

        def bare_call(base, method):
            request = plain.authorize(token).request if method == "Authorize" else message()
            return Call(base, KEY_SERVICE + method, request, directory)

        subjects = [
            (EMPTY, bare, bare_call(bare.plain, "Resume"), EMPTY),
            ("bare, constant Authorize", bare, bare_call(bare.plain, "Authorize"), EMPTY),
            ("Authorize", plain, plain.authorize(token), EMPTY),
            ("Authorize, credentials", listed, listed.authorize(token, secret), EMPTY),
            (EMPTY_TLS, bare, bare_call(bare.encrypted, "Resume"), EMPTY_TLS),
            ("Authorize, TLS", encrypted, encrypted.authorize(token), EMPTY_TLS),
        ]
        for shape in SHAPES:
            say("{} keys, {} × {}".format(plain.keys, *shape))
            yield from measure_shape([Subject(*each) for each in subjects], shape, rounds, seconds)


def measure_memory(program, store, token, directory):
    """Yields the name of each call, its allocations, and the bytes of its answer, where many calls share
    connections. These servers count, which takes time, so nothing else is measured with them."""
    counting = directory / "allocations.so"
    run("cc", "-shared", "-fPIC", "-O2", "-o", counting, ROOT / "bench/measure/allocations.c")
    path, secret = new_credential(directory)
    with (
        Bare(program, directory, counting) as bare,
        Service(store.address, directory, pinned=True, counting=counting) as plain,
        Service(store.address, directory, "--credentials", path, pinned=True, counting=counting) as listed,
    ):
        authorize = plain.authorize(token)
        constant = Call(bare.plain, KEY_SERVICE + "Authorize", authorize.request, directory)
        for name, server, call in [
            (EMPTY, bare, Call(bare.plain, KEY_SERVICE + "Resume", message(), directory)),
            ("bare, constant Authorize", bare, constant),
            ("Authorize", plain, authorize),
            ("Authorize, credentials", listed, listed.authorize(token, secret)),
        ]:
            call.once()
            call.bytes_back(GATHERING, COUNTED_CALLS)
            before = server.allocations()
            size = call.bytes_back(GATHERING, COUNTED_CALLS)
            yield name, (server.allocations() - before) / COUNTED_CALLS, size


def measure_shape(subjects, shape, rounds, seconds):
    for round in range(-1, rounds):  # round -1 warms up
        # Forth and back, so that a machine that slows down affects all alike.
        for subject in subjects[:: 1 if round % 2 else -1]:
            subject.measure(shape, seconds)
    for subject in subjects:
        del subject.rates[0], subject.cpu_micros[0]
    by_name = {subject.name: subject for subject in subjects}
    half = statistics.median(by_name[EMPTY].rates) / 2
    for round in range(rounds):
        for subject in subjects[:: 1 if round % 2 else -1]:
            subject.measure_latency(shape, seconds, half)
    for subject in subjects:
        yardstick = by_name[subject.compared_with]
        each = [rate / bare for rate, bare in zip(subject.rates, yardstick.rates)]
        goal = GOALS.get(subject.name, (0, 0))[shape != GATHERING]
        ratio = statistics.median(subject.rates) / statistics.median(yardstick.rates)
        yield {
            "shape": "{} × {}".format(*shape),
            "name": subject.name,
            "rate": statistics.median(subject.rates),
            "ratio": ratio,
            "least": min(each),
            "most": max(each),
            "cpu": statistics.median(subject.cpu_micros),
            "half": half,
            "p50": subject.latency(0),
            "p99": subject.latency(1),
            "goal": f"{goal}: {'met' if ratio >= goal else 'MISSED'}" if goal else "–",
        }


def measure_growth(few, many, directory, rounds, seconds):
    """Returns how many keys each of two stores has, and their rates of Authorize in each round, in turns."""
    with contextlib.ExitStack() as stack:

        def subject(store):
            service = stack.enter_context(Service(store.address, directory, pinned=True))
            call = service.authorize(service.create_key())
            return Subject(f"{service.keys:,} keys", service, call, None)

        subjects = [subject(few), subject(many)]
        for round in range(-1, rounds):  # round -1 warms up
            for each in subjects[:: 1 if round % 2 else -1]:
                say(f"Authorize with {each.name}")
                each.measure(GATHERING, seconds)
        return [(each.name, each.rates[1:]) for each in subjects]


def print_growth(measured):
    (few, few_rates), (many, many_rates) = measured
    each = [rate / before for rate, before in zip(many_rates, few_rates)]
    ratio = statistics.median(many_rates) / statistics.median(few_rates)
    verdict = "met" if ratio >= LEAST_AT_MANY_KEYS else "MISSED"
    print(f"\nAuthorize with {many}, {GATHERING[0]} × {GATHERING[1]}: {ratio:.2f} of the calls/s with {few}"
          f" ({min(each):.2f}–{max(each):.2f}; at least {LEAST_AT_MANY_KEYS}: {verdict})", flush=True)  # fmt: skip


def print_memory(rows):
    print("\n| call | allocations | bytes of its answer |")
    print("|---|---:|---:|")
    for name, allocations, size in rows:
        print(f"| {name} | {allocations:.1f} | {size:.0f} |", flush=True)


def print_calls(keys, rows):
    print(f"\n{keys:,} keys:\n")
    print("| connections × streams | call | calls/s | ÷ bare, empty | each round | CPU µs a call |"
          " p50 µs at a fixed rate | p99 µs | calls/s then | at least |")  # fmt: skip
    print("|---:|---|---:|---:|---:|---:|---:|---:|---:|---|")
    for row in rows:
        print("| {shape} | {name} | {rate:,.0f} | {ratio:.2f} | {least:.2f}–{most:.2f} | {cpu:.2f} |"
              " {p50:,.0f} | {p99:,.0f} | {half:,.0f} | {goal} |".format(**row))  # fmt: skip
