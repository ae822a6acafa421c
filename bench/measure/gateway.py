"""Check beside Authorize, and what it adds to a request through Envoy, in one interleaved run."""

import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import sys
import time

from .client import Call, field, framed
from .servers import DOMAIN, Bare, Process, Service
from .tools import ROOT, SERVICE_CORE, run, say

SHAPE = (8, 32)  # connections, streams on each
CHECK = "/envoy.service.auth.v3.Authorization/Check"
DOMAIN_FROM = "keyservice.domain-from"
IN_HEADER = "header:x-domain"
START_LIMIT_SECONDS = 30


def check_request(token, source, headers=(), body=b""):
    """A Check as Envoy sends it with `encode_raw_headers` and `pack_as_bytes`."""
    headers = [("authorization", f"Bearer {token}"), ("content-type", "application/json"), *headers]
    lines = (field(1, name.encode()) + field(3, value.encode()) for name, value in headers)
    http = field(13, b"".join(field(1, line) for line in lines)) + field(12, body)
    extension = field(1, DOMAIN_FROM.encode()) + field(2, source.encode())
    return framed(field(1, field(4, field(2, http)) + field(10, extension)))


class Request(Call):
    """An HTTP request for Envoy, which answers it itself if it may pass."""

    def __init__(self, port, token, directory):
        super().__init__(f"http://127.0.0.1:{port}", "/v2/emails", b"", directory)
        self.headers = ["-H", f"authorization: Bearer {token}", "-H", f"x-domain: {DOMAIN}"]
        self.data = []

    def once(self):
        answer = run("nghttp", *self.headers, self.url)
        if answer != b"passed":
            sys.exit(f"bench/run: {self.url} did not pass: {answer}")
        return answer


class Envoy(Process):
    """Envoy on the core of the service, with a port that asks nobody, and one for each of the services."""

    def __init__(self, services, directory):
        self.ports = [free_port() for _ in [None, *services]]
        asked = dict(zip(self.ports[1:], services))
        path = directory / "envoy.json"
        path.write_text(json.dumps(configuration(self.ports, asked)))
        program = shutil.which("envoy") or ROOT / "target/test-tools/bin/envoy"
        log = (directory / "envoy.log").open("w")
        self.process = subprocess.Popen(
            ["taskset", "-c", SERVICE_CORE, program, "--disable-hot-restart", "--concurrency", "1", "-c", path],
            stderr=log,
        )
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while not all(map(is_listening, self.ports)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                sys.exit(f"bench/run: Envoy did not start; see {log.name}")
            time.sleep(0.1)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def is_listening(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def typed(name, **fields):
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}


def address(host, port):
    return {"socket_address": {"address": host, "port_value": int(port)}}


def configuration(ports, asked):
    """Each port answers by itself. `asked` has the address of the service that a port asks before."""
    ext_authz = "filters.http.ext_authz.v3.ExtAuthz"

    def listener(port):
        filters = [{"name": "router", "typed_config": typed("filters.http.router.v3.Router")}]
        route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "passed"}}}
        if port in asked:
            asks = typed(
                ext_authz,
                transport_api_version="V3",
                grpc_service={"envoy_grpc": {"cluster_name": str(port)}, "timeout": "1s"},
                encode_raw_headers=True,
                allowed_headers={"patterns": [{"exact": "authorization"}, {"exact": "x-domain"}]},
            )
            filters.insert(0, {"name": "ext_authz", "typed_config": asks})
            of_route = {"check_settings": {"context_extensions": {DOMAIN_FROM: IN_HEADER}}}
            route["typed_per_filter_config"] = {"ext_authz": typed(f"{ext_authz}PerRoute", **of_route)}
        manager = typed(
            "filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix=str(port),
            codec_type="HTTP2",
            http_filters=filters,
            route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        )
        chain = {"filters": [{"name": "http", "typed_config": manager}]}
        return {"address": address("127.0.0.1", port), "filter_chains": [chain]}

    def cluster(port, service):
        endpoint = {"endpoint": {"address": address(*service.split(":"))}}
        options = typed("upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}})
        return {
            "name": str(port),
            "type": "STATIC",
            "load_assignment": {"cluster_name": str(port), "endpoints": [{"lb_endpoints": [endpoint]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        }

    return {
        "static_resources": {
            "listeners": [listener(port) for port in ports],
            "clusters": [cluster(port, service) for port, service in asked.items()],
        }
    }


class Subject:
    """A call, and the servers whose work it is."""

    def __init__(self, name, call, *servers):
        self.name, self.call, self.servers = name, call, servers
        self.rates, self.micros = [], []

    def measure(self, seconds):
        before = [server.cpu_seconds() for server in self.servers]
        rate, _ = self.call.load(SHAPE, seconds)
        spent = [server.cpu_seconds() - begun for server, begun in zip(self.servers, before)]
        self.rates.append(rate)
        self.micros.append([cpu / (rate * seconds) * 1e6 for cpu in spent])


def measure_gateway(bare_program, store, directory, rounds, seconds):
    """Yields the rows of each of the two tables."""
    with contextlib.ExitStack() as stack:
        bare = stack.enter_context(Bare(bare_program, directory))
        service = stack.enter_context(Service(store.address, directory, pinned=True))
        token = service.create_key()
        addresses = [server.split("//")[1] for server in (bare.plain, service.base)]
        envoy = stack.enter_context(Envoy(addresses, directory))

        def check(name, *request):
            return Subject(name, Call(service.base, CHECK, check_request(token, *request), directory), service)

        body = json.dumps({"from": f"Acme <hello@{DOMAIN}>", "text": "x" * 1000}).encode()
        direct = [
            Subject("Authorize", service.authorize(token), service),
            check("Check, the token alone", "none"),
            check("Check, the domain in a header", IN_HEADER, [("x-domain", DOMAIN)]),
            check("Check, the domain in a body of 1 kB", "body:/from", (), body),
        ]
        through = [Request(port, token, directory) for port in envoy.ports]
        through = [
            Subject("Envoy alone", through[0], envoy),
            Subject("and it asks a constant Check of tonic alone", through[1], envoy, bare),
            Subject("and it asks KeyService", through[2], envoy, service),
        ]
        for subjects in (direct, through):
            say(", ".join(subject.name for subject in subjects))
            for round in range(-1, rounds):  # round -1 warms up
                for subject in subjects[:: 1 if round % 2 else -1]:
                    subject.measure(seconds)
            yield [row(subject, subjects[0]) for subject in subjects]


def row(subject, yardstick):
    rates, of_yardstick = subject.rates[1:], yardstick.rates[1:]
    each = [rate / other for rate, other in zip(rates, of_yardstick)]
    ratio = statistics.median(rates) / statistics.median(of_yardstick)
    micros = [statistics.median(each) for each in zip(*subject.micros[1:])]
    micros = " + ".join(f"{each:.1f}" for each in micros)
    rate = statistics.median(rates)
    return f"| {subject.name} | {rate:,.0f} | {ratio:.2f} | {min(each):.2f}–{max(each):.2f} | {micros} |"


def print_gateway(tables):
    for rows in tables:
        print("\n| call, {} × {} | a second | ÷ the first | each round | CPU µs a call |".format(*SHAPE))
        print("|---|---:|---:|---:|---:|")
        print("\n".join(rows), flush=True)
