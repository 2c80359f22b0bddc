"""Holds docs/openapi.json against a running server, with schemathesis.

    conformance.py IMSERVER

Starts the given binary with TLS on a port of its own, lets two users and the system of
their conversations exist, and then asks it thousands of things: those that the
description allows, those that it forbids, and chains of calls along its links. Every
answer must be one that the description has. `scripts/test-api` brings what this needs.
"""

import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
DESCRIPTION = HERE.parent.parent / "docs" / "openapi.json"
SECONDS = 45


class Server:
    """The built binary on a folder of its own."""

    def __init__(self, binary, folder):
        self.binary = Path(binary).resolve()
        self.folder = Path(folder)
        self.environment = os.environ | {
            "IMSERVER_SERVER__LISTEN": "127.0.0.1:0",
            "IMSERVER_SERVER__ADMIN_LISTEN": "127.0.0.1:0",
            "IMSERVER_LIMITS__MESSAGES_PER_SECOND": "0",
            # Thousands of refused tokens from one address are the purpose here.
            "IMSERVER_LIMITS__CONNECTIONS_PER_ADDRESS": "0",
            "IMSERVER_LOG__FORMAT": "json",
        }
        self.run("init")
        self.run("cert", "dev")
        self.process = subprocess.Popen(
            [self.binary, "serve"],
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = self.wait_for_address()
        self.log = []
        threading.Thread(target=self.log.extend, args=(self.process.stderr,), daemon=True).start()

    def run(self, *arguments):
        command = [self.binary, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def wait_for_address(self):
        for line in self.process.stderr:
            try:
                event = json.loads(line)
            except ValueError:
                sys.exit(f"the server did not start: {line}")
            if event.get("message") == "serving":
                return event["address"]
        sys.exit("the server did not start")

    @property
    def certificate(self):
        return self.folder / "certs" / "server.pem"

    @property
    def api(self):
        return f"https://localhost:{self.address.rsplit(':', 1)[1]}/teaching/api"

    def token(self, user):
        return self.run("token", "issue", "--sub", str(user), "--name", f"user {user}")

    def call(self, token, path, body):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{self.api}/{path}", json.dumps(body).encode(), headers, method="POST"
        )
        context = ssl.create_default_context(cafile=self.certificate)
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            return json.load(answer) if answer.status == 200 else None

    def stop(self):
        self.process.terminate()
        return self.process.wait(30)


def fill(server, tokens):
    """Enough for a second page of both lists, some of it read."""
    for number in range(60):
        sender, recipient = (1, 2) if number % 2 else (2, 1)
        message = {"toId": recipient, "content": f"message {number}"}
        stored = server.call(tokens[sender], "messages", message)
    server.call(tokens[1], "read", {"peerId": 2, "upTo": stored["messageId"]})
    for peer in range(3, 28):
        server.call(tokens[1], "messages", {"toId": peer, "content": "hello"})


def main():
    with tempfile.TemporaryDirectory() as folder:
        server = Server(sys.argv[1], folder)
        try:
            tokens = {user: server.token(user) for user in (1, 2)}
            fill(server, tokens)
            outcome = schemathesis(server, tokens[1])
            # Whatever was asked, it is the same process and still at work.
            server.call(tokens[1], "messages", {"toId": 2, "content": "still here"})
        finally:
            code = server.stop()
        if code != 0:
            sys.exit(f"the server ended with {code}:\n{''.join(server.log)}")
        if outcome != 0:
            sys.exit(outcome)


def schemathesis(server, token):
    tool = Path(sys.executable).parent / "schemathesis"
    command = [
        tool,
        "--config-file",
        HERE / "schemathesis.toml",
        "run",
        DESCRIPTION,
        "--url",
        server.api,
        "--tls-verify",
        server.certificate,
        "--header",
        f"Authorization: Bearer {token}",
        "--max-time",
        str(SECONDS),
        "--seed",
        os.environ.get("IMSERVER_TEST_SEED", "1"),
        "--no-color",
    ]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # Its own folders stay out of the sources.
    return subprocess.run(command, cwd=server.folder, env=environment).returncode


if __name__ == "__main__":
    main()
