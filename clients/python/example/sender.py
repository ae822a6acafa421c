"""An email sender that asks KeyService before it sends.

    KEYSERVICE=127.0.0.1:50051 python sender.py 8080

It takes `POST /v2/emails` with `Authorization: Bearer tsend_…` and a JSON body with a
`from`, such as `Name <a@mail.example.com>`.
"""

from __future__ import annotations

import json
import os
import sys
from email.utils import parseaddr
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from tosend_keyservice import Allowed, Client, Denied, Misused, Unavailable

MAX_BODY_BYTES = 1_000_000


class Emails(BaseHTTPRequestHandler):
    client: ClassVar[Client]

    def do_POST(self) -> None:
        if self.path != "/v2/emails":
            return self.answer(404, "not_found")
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return self.answer(401, "no_token")
        try:
            length = min(int(self.headers.get("Content-Length", 0)), MAX_BODY_BYTES)
            sender = json.loads(self.rfile.read(length))["from"]
            _, at, domain = parseaddr(sender)[1].rpartition("@")
        except (ValueError, TypeError, KeyError, AttributeError):
            return self.answer(400, "no_from")
        if not at:
            return self.answer(400, "no_from")
        try:
            answer = self.client.authorize(token.strip(), domain)
        except Unavailable as error:
            self.log_error("%s", error)
            return self.answer(503, "try_again")
        except Misused as error:
            self.log_error("%s", error)
            if error.code == "INVALID_ARGUMENT":
                return self.answer(400, "bad_domain")
            return self.answer(503, "try_again")  # This service may not ask: mend its rights.
        match answer:
            case Denied(reason=reason):
                return self.answer(answer.http_status, reason.lower())
            case Allowed(key_id=key_id):
                self.log_message("%s may send for %s", key_id, domain)
                return self.answer(202, "accepted")  # Here the email would be sent.

    def answer(self, status: int, code: str) -> None:
        body = json.dumps({"code": code}).encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    with Client([os.environ["KEYSERVICE"]], plaintext=True) as Emails.client:
        Emails.client.wait_until_ready()
        ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Emails).serve_forever()


if __name__ == "__main__":
    main()
