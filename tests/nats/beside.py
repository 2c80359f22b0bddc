"""Runs a command beside three NATS servers that are one cluster.

    beside.py NATS-SERVER COMMAND…

As those of tests/nats/ each server syncs every write, and every stream is kept by all three. An
imserver that the command starts hears of them by its environment. They end with the command,
whose exit code this has.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

SERVERS = range(3)
PATIENCE = 60
# Below what systems give to connections that go out (tests/nats/place.rs).
PORTS = range(10_240, 32_768)


def free_ports(count):
    """Ports nobody listens on: all at once, so that none is given twice."""
    held = {}
    while len(held) < count:
        port = random.choice(PORTS)
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", port))
            held[port] = listener
        except OSError:
            listener.close()
    for listener in held.values():
        listener.close()
    return list(held)


class Cluster:
    def __init__(self, program, folder):
        ports = free_ports(3 * len(SERVERS))
        self.clients, routes, self.monitors = ports[0:3], ports[3:6], ports[6:9]
        self.folder = folder
        all_routes = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
        self.servers = []
        for number in SERVERS:
            config = folder / f"n{number}.conf"
            config.write_text(f"""
server_name: n{number}
listen: "127.0.0.1:{self.clients[number]}"
http: "127.0.0.1:{self.monitors[number]}"
jetstream {{ store_dir: "{folder}/n{number}", sync_interval: always, max_file_store: 4GB, max_memory_store: 64MB }}
cluster {{ name: "of-{routes[0]}", listen: "127.0.0.1:{routes[number]}", routes: [{all_routes}] }}
""")
            with open(self.log(number), "w") as log:
                # What ends the command by its group must not end them before it.
                server = subprocess.Popen([program, "-c", config], stderr=log, start_new_session=True)
            self.servers.append(server)

    def log(self, number):
        return self.folder / f"n{number}.log"

    def is_healthy(self, number):
        try:
            url = f"http://127.0.0.1:{self.monitors[number]}/healthz"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return json.load(answer)["status"] == "ok"
        except OSError:
            return False

    def wait(self):
        end = time.monotonic() + PATIENCE
        while not all(map(self.is_healthy, SERVERS)):
            if time.monotonic() > end:
                logs = "".join(f"--- n{number}\n{self.log(number).read_text()}" for number in SERVERS)
                sys.exit(f"the NATS servers do not come up:\n{logs}")
            time.sleep(0.05)

    def environment(self):
        return {
            "IMSERVER_STORE__BACKEND": "jetstream",
            "IMSERVER_STORE__JETSTREAM__SERVERS": ",".join(f"nats://127.0.0.1:{port}" for port in self.clients),
            "IMSERVER_STORE__JETSTREAM__REPLICAS": str(len(SERVERS)),
            "IMSERVER_STORE__JETSTREAM__CREATE": "true",
            "IMSERVER_STORE__JETSTREAM__SYNCED": "true",
        }

    def end(self):
        for server in self.servers:
            server.kill()
        for server in self.servers:
            server.wait()


def main():
    program, *command = sys.argv[1:]
    # Told to end, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="imserver-nats-") as folder:
        cluster = Cluster(program, Path(folder))
        try:
            cluster.wait()
            code = subprocess.run(command, env=os.environ | cluster.environment()).returncode
        finally:
            cluster.end()
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
