"""nginx and Caddy in front of the built server, with the configurations of deploy/.

A WebSocket goes through each, with the token in each of its places, and a message from one
to the other. Then everything that either has logged, also while the server was gone, is
searched for the tokens.

    proxies.py IMSERVER NGINX CADDY
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
HERE = "127.0.0.2"  # where the clients connect from: another address than the proxies'
PATIENCE = 20


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def replaced(text, pairs):
    for old, new in pairs:
        assert old in text, f"{old!r} is not in the configuration any more"
        text = text.replace(old, new)
    return text


class Stage:
    """The three programs in a folder of their own."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []

    def set(self, imserver, nginx, caddy):
        self.imserver = imserver
        self.back, self.nginx_port, self.caddy_port = free_port(), free_port(), free_port()
        self.config = self.folder / "config.toml"
        self.config.write_text(
            f'[server]\nlisten = "127.0.0.1:{self.back}"\nadmin_listen = "127.0.0.1:{free_port()}"\n'
            'trusted_proxies = ["127.0.0.1"]\norigins = ["https://im.example.com"]\n'
            '[tls]\nmode = "off"\n[log]\nlevel = "debug"\nformat = "json"\n'
        )
        for command in (["init"], ["cert", "dev", "--name", "im.example.com"]):
            self.run(*command)
        command = [imserver, "--config", self.config, "serve"]
        self.server = self.start("imserver.log", self.back, command)
        self.start_nginx(nginx)
        self.start_caddy(caddy)

    def run(self, *command):
        command = [self.imserver, "--config", self.config, *command]
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()

    def token(self, user):
        return self.run("token", "issue", "--sub", str(user))

    def start(self, log, port, command, **options):
        with open(self.folder / log, "w") as errors:
            process = subprocess.Popen(command, stderr=errors, **options)
        self.processes.append(process)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            errors = (self.folder / log).read_text()
            assert process.poll() is None, f"{command} ended with {process.returncode}: {errors}"
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return process
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"{command} does not listen on port {port}: {errors}")

    def start_nginx(self, nginx):
        text = replaced((DEPLOY / "nginx/imserver.conf").read_text(), [
            ("    listen [::]:443 ssl;\n", ""),
            ("listen 443 ssl", f"listen 127.0.0.1:{self.nginx_port} ssl"),
            ("/etc/letsencrypt/live/im.example.com/fullchain.pem", f"{self.folder}/certs/server.pem"),
            ("/etc/letsencrypt/live/im.example.com/privkey.pem", f"{self.folder}/certs/server.key"),
            ("/var/log/nginx", f"{self.folder}/nginx"),
            ("127.0.0.1:8080", f"127.0.0.1:{self.back}"),
        ])
        (self.folder / "nginx").mkdir()
        temporary = " ".join(
            f"{kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        conf = self.folder / "nginx.conf"
        conf.write_text(
            f"daemon off; master_process off; pid {self.folder}/nginx.pid;\n"
            f"events {{}}\nhttp {{ {temporary}\n{text}\n}}\n"
        )
        command = [nginx, "-c", conf, "-e", "stderr", "-p", self.folder]
        self.start("nginx.stderr", self.nginx_port, command)

    def start_caddy(self, caddy):
        text = replaced((DEPLOY / "caddy/Caddyfile").read_text(), [
            ("{\n\t# Also of what fails", "{\n\tadmin off\n\tauto_https disable_redirects\n\t# Also of what fails"),
            ("\nim.example.com {\n", f"\nhttps://im.example.com:{self.caddy_port} {{\n"
             f"\ttls {self.folder}/certs/server.pem {self.folder}/certs/server.key\n"),
            ("/var/log/caddy", f"{self.folder}/caddy"),
            ("127.0.0.1:8080", f"127.0.0.1:{self.back}"),
        ])
        conf = self.folder / "Caddyfile"
        conf.write_text(text)
        command = [caddy, "run", "--adapter", "caddyfile", "--config", conf]
        home = {**os.environ, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)}
        self.start("caddy.stderr", self.caddy_port, command, env=home)

    def request(self, port, target, *headers):
        """Sends an upgrade request through a proxy; gives the status and the connection."""
        context = ssl.create_default_context(cafile=self.folder / "certs/server.pem")
        tcp = socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(HERE, 0))
        stream = context.wrap_socket(tcp, server_hostname="im.example.com")
        lines = [
            f"GET {target} HTTP/1.1", f"Host: im.example.com:{port}", "Upgrade: websocket",
            "Connection: Upgrade", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Origin: https://im.example.com",
            "X-Forwarded-For: 192.0.2.99", *headers, "", "",
        ]
        stream.sendall("\r\n".join(lines).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = stream.recv(1)
            assert piece, f"the connection ended after {head!r}"
            head += piece
        return int(head.split()[1]), stream

    def stop(self, process):
        process.terminate()
        process.wait(PATIENCE)


def send(stream, frame):
    text, mask = json.dumps(frame).encode(), os.urandom(4)
    length = bytes([0x80 | 126]) + len(text).to_bytes(2, "big")
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(text))
    stream.sendall(b"\x81" + length + mask + masked)


def receive(stream):
    def exactly(count):
        data = b""
        while len(data) < count:
            piece = stream.recv(count - len(data))
            assert piece, "the connection ended"
            data += piece
        return data

    while True:
        first, length = exactly(2)
        if length == 126:
            length = int.from_bytes(exactly(2), "big")
        data = exactly(length)
        if first == 0x81:
            return json.loads(data)


def check(stage):
    tokens = []

    def fresh(user):
        tokens.append(stage.token(user))
        return tokens[-1]

    bare = "/teaching/imserver"
    for name, port in (("nginx", stage.nginx_port), ("caddy", stage.caddy_port)):
        for way, target, header in (
            ("path", f"{bare}/{(t := fresh(1))}", None),
            ("subprotocol", bare, f"Sec-WebSocket-Protocol: im.v2, im.bearer.{fresh(1)}"),
            ("header", bare, f"Authorization: Bearer {fresh(1)}"),
        ):
            status, stream = stage.request(port, target, *([header] if header else []))
            assert status == 101, f"{name}, token as {way}: {status}"
            packet = {"fromId": 1, "toId": 1, "type": 0, "content": f"{name} {way}", "timestamp": way, "Describe": ""}
            send(stream, packet)
            answers = [receive(stream)["type"]]
            while 0 not in answers:
                answers.append(receive(stream)["type"])
            stream.close()
        # What no good client sends, with a token in it all the same.
        for target in (f"/{bare}/{t}", f"{bare}?token={t}", f"/x/{t}", f"{bare}/{t}/x",
                       f"/teaching/api/me?token={t}", f"/teaching/imserver%2F{t}", f"/?{t}"):
            status, stream = stage.request(port, target)
            assert status != 101, f"{name}: {target}"
            stream.close()
        print(f"{name}: a WebSocket by token in the path, as a subprotocol and in a header")

    _, ming = stage.request(stage.nginx_port, f"{bare}/{fresh(10)}")
    _, hong = stage.request(stage.caddy_port, f"{bare}/{fresh(20)}")
    send(ming, {"fromId": 10, "toId": 20, "type": 0, "content": "你好", "timestamp": "1", "Describe": ""})
    assert receive(ming)["type"] == 0
    assert receive(hong)["content"] == "你好"
    print("a message came from nginx's client to Caddy's")

    # The client's own address is believed from the proxy, and not from the client.
    for port in (stage.nginx_port, stage.caddy_port):
        assert stage.request(port, f"{bare}/nonsense")[0] == 401
    log = (stage.folder / "imserver.log").read_text()
    addresses = [json.loads(line)["address"] for line in log.splitlines() if '"token refused"' in line]
    assert addresses and set(addresses) == {HERE}, addresses
    print(f"imserver counts the clients at {HERE}, not the proxies, and not what they say")

    # Proxies say most when something is wrong behind them.
    ming.close(), hong.close()
    stage.stop(stage.server)
    for port in (stage.nginx_port, stage.caddy_port):
        status, _ = stage.request(port, f"{bare}/{fresh(1)}", f"Referer: https://im.example.com{bare}/{t}")
        assert status == 502, status
    return tokens


def search(stage, tokens):
    secrets = {token.rsplit(".", 1)[1][:24] for token in tokens} | {"eyJ"}
    logs = ("imserver.log", "nginx.stderr", "nginx/imserver.access.log", "nginx/imserver.error.log",
            "caddy/imserver.access.log", "caddy.stderr")
    for name in logs:
        text = (stage.folder / name).read_text(errors="replace")
        for secret in secrets:
            assert secret not in text, f"{name} holds {secret}: " + next(
                line for line in text.splitlines() if secret in line)
        # A log without the requests would prove nothing; Caddy's stderr tells of the 502.
        if "access" in name or name == "caddy.stderr":
            assert "/teaching/imserver/***" in text, f"{name} holds no request: {text}"
    print(f"no part of {len(tokens)} tokens in any log")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        stage = Stage(folder)
        try:
            stage.set(*sys.argv[1:4])
            tokens = check(stage)
        finally:
            for process in stage.processes:
                stage.stop(process)
        search(stage, tokens)


if __name__ == "__main__":
    main()
