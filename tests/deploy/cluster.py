"""The cluster of deploy/compose, as processes: three NATS servers, two imserver nodes, HAProxy.

Commands, variables and files are those that docker-compose.yml names; only addresses and folders
are replaced. TLS everywhere. A message goes from node to node through the load balancer, a NATS
server and a node are taken down the way that the containers are, and nobody notices. The nodes know
clients by the addresses that HAProxy tells them.

    cluster.py IMSERVER NATS-SERVER HAPROXY
"""

import json
import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import yaml

from proxies import DEPLOY, PATIENCE, free_port, receive, replaced, send

COMPOSE = DEPLOY / "compose/docker-compose.yml"
NATS = ("nats-1", "nats-2", "nats-3")
NODES = ("imserver-1", "imserver-2")
# What HAProxy connects from here; clients have other addresses.
BALANCER = "127.0.0.1"


def home(user):
    return f"127.0.9.{user}"


def wait(what, found, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (value := found()) is not None:
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


class Cluster:
    def __init__(self, folder, imserver, nats, haproxy):
        self.folder, self.imserver, self.nats, self.haproxy = folder, imserver, nats, haproxy
        self.services = yaml.safe_load(COMPOSE.read_text())["services"]
        self.processes = {}
        self.secrets = folder / "secrets"
        # Every address of the configurations: what it is here.
        self.ports = {
            f"{name}:{port}": free_port()
            for names, ports in ((NATS, (4222, 6222, 8222)), (NODES, (8443, 9443)), (("balancer",), (8443,)))
            for name in names for port in ports
        }

    def here(self, text):
        for address, port in self.ports.items():
            text = text.replace(address, f"127.0.0.1:{port}")
        return text

    def environment(self, service):
        given = self.services[service].get("environment", {})
        # ${NAME:-default} is its default.
        plain = {k: v.split(":-", 1)[1].rstrip("}") if v.startswith("${") else v for k, v in given.items()}
        return {**os.environ, **{name: self.here(value) for name, value in plain.items()}}

    def lay(self, service):
        """Lays out the files of a service as its volumes do, below a folder that stands for /."""
        root = self.folder / service
        for volume in self.services[service]["volumes"]:
            source, target = volume.split(":")[:2]
            if not source.startswith("."):
                continue
            source = (COMPOSE.parent / source).resolve()
            if source.is_relative_to(COMPOSE.parent / "secrets"):
                source = self.secrets / source.relative_to(COMPOSE.parent / "secrets")
            assert source.exists(), f"{service}: there is no {source}"
            target = root / target.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            # Only secrets change while it runs.
            target.symlink_to(source) if source.is_dir() else shutil.copy(source, target)
        return root

    def run(self, name, command, **options):
        with open(self.folder / f"{name}.log", "a") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, **options)

    def start_nats(self, name):
        root = self.folder / name
        if not root.exists():
            self.lay(name)
            (root / "data").mkdir()
        service = self.services[name]
        words = [*service["entrypoint"], *service["command"]]
        assert words[0] == "nats-server"
        words = [self.nats, *(self.here(word) for word in words[1:])]
        words = [{"/etc/nats/nats-server.conf": str(root / "etc/nats/nats-server.conf"), "/data": str(root / "data")}
                 .get(word, word) for word in words]
        words += ["--addr", "127.0.0.1", "--port", str(self.ports[f"{name}:4222"]),
                  "--http_port", str(self.ports[f"{name}:8222"]),
                  "--cluster", f"nats://127.0.0.1:{self.ports[f'{name}:6222']}"]
        place = root / service["working_dir"].lstrip("/")
        self.run(name, words, cwd=place, env=self.environment(name))

    def monitor(self, name, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[f'{name}:8222']}{path}", timeout=2) as answer:
                return json.load(answer)
        except OSError:
            return None

    def healthy(self):
        # The path of the health check of the containers.
        path = self.services["nats-1"]["healthcheck"]["test"][-1].split(":8222")[1]
        ok = all((self.monitor(name, path) or {}).get("status") == "ok" for name in NATS)
        return True if ok else None

    def command(self, service, *words):
        root = self.folder / service
        config = root / "etc/imserver/config.toml"
        return [self.imserver, "--config", str(config), *words]

    def node_environment(self, service):
        own = {"IMSERVER_STORE__PATH": str(self.folder / service / "var/lib/imserver")}
        balancer = self.services["balancer"]["networks"]["inner"]["ipv4_address"]
        assert self.environment(service)["IMSERVER_SERVER__PROXY_PROTOCOL"] == balancer
        # Where there is no balancer clients come by themselves.
        own["IMSERVER_SERVER__PROXY_PROTOCOL"] = BALANCER if self.haproxy else "[]"
        if f"{service}:8443" in self.ports:
            own["IMSERVER_SERVER__LISTEN"] = f"127.0.0.1:{self.ports[f'{service}:8443']}"
            own["IMSERVER_SERVER__ADMIN_LISTEN"] = f"127.0.0.1:{self.ports[f'{service}:9443']}"
        return {**self.environment(service), **own}

    def call(self, service, *words):
        command = self.command(service, *words)
        environment = self.node_environment(service)
        done = subprocess.run(command, text=True, capture_output=True, env=environment, timeout=180)
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    def good(self, service, *words):
        code, out, err = self.call(service, *words)
        assert code == 0, f"{words}: {code} {out} {err}"
        return out

    def start_node(self, name):
        if not (self.folder / name).exists():
            self.lay(name)
        command = self.command(name, *self.services[name]["command"])
        self.run(name, command, env=self.node_environment(name))

    def ready(self, name):
        return True if self.call(name, "health")[0] == 0 else None

    def start_balancer(self):
        text = (DEPLOY / "cluster/haproxy.cfg").read_text()
        # This machine may permit few open files.
        pairs = [("maxconn 100000", "maxconn 100"),
                 ("bind :8443", f"bind 127.0.0.1:{self.ports['balancer:8443']}")]
        for name in NODES:
            listen, admin = self.ports[f"{name}:8443"], self.ports[f"{name}:9443"]
            # Here every node has an address of its own for its administrators.
            pairs.append((f"server {name} {name}:8443", f"server {name} 127.0.0.1:{listen} port {admin}"))
        conf = self.folder / "haproxy.cfg"
        conf.write_text(replaced(text, pairs))
        subprocess.run([self.haproxy, "-c", "-q", "-f", conf], check=True)
        self.run("balancer", [self.haproxy, "-f", conf])

    def connect(self, user, token):
        """A WebSocket through the load balancer, from an address of the user's own; nothing while it has no node."""
        context = ssl.create_default_context(cafile=self.secrets / "imserver/server.pem")
        try:
            tcp = socket.create_connection(("127.0.0.1", self.ports["balancer:8443"]), PATIENCE, (home(user), 0))
            stream = context.wrap_socket(tcp, server_hostname="localhost")
        except ssl.SSLCertVerificationError:
            raise
        except OSError:
            return None
        stream.settimeout(60)
        head = (f"GET /teaching/imserver HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                f"Authorization: Bearer {token}\r\n\r\n")
        stream.sendall(head.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = stream.recv(1)
            assert piece, f"the connection ended after {answer!r}"
            answer += piece
        assert answer.split()[1] == b"101", answer
        return stream

    def shown(self, name):
        """The certificate that a NATS server shows to clients."""
        context = ssl.create_default_context(cafile=self.secrets / "ca.crt")
        with socket.create_connection(("127.0.0.1", self.ports[f"{name}:4222"]), PATIENCE) as tcp:
            # It speaks first, and TLS begins behind its line.
            line = b""
            while not line.endswith(b"\n"):
                line += tcp.recv(1)
            with context.wrap_socket(tcp, server_hostname="localhost") as stream:
                return stream.getpeercert(binary_form=True)

    def connections(self, name):
        return json.loads(self.good(name, "status", "--json"))["connections"]

    def addresses(self, name):
        """From where the users of a node are connected, as it knows them."""
        lines = self.good(name, "connection", "list").splitlines()
        return {line["userId"]: line["address"] for line in map(json.loads, lines)}

    def stop(self, name, number, seconds):
        process = self.processes[name]
        process.send_signal(number)
        assert process.wait(seconds) in (0, 1), f"{name} ended with {process.returncode}"

    def end(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def logs(self):
        for log in sorted(self.folder.glob("*.log")):
            print(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-25:]), file=sys.stderr)


def frame(user, to, content):
    return {"fromId": user, "toId": to, "type": 0, "content": content, "timestamp": content, "Describe": ""}


def say(stream, user, to, content):
    send(stream, frame(user, to, content))
    answer = receive(stream)
    assert (answer["type"], answer["timestamp"]) == (0, content), answer


def heard(stream, content):
    message = receive(stream)
    assert (message["type"], message["content"]) == (2, content), message


def whole(services):
    """What the services name is there, also that of those which are not started here."""
    for name, service in services.items():
        assert set(service.get("depends_on", [])) <= set(services), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("..") or source.endswith(".yml"):
                assert (COMPOSE.parent / source).exists(), f"{name}: there is no {source}"
        if service["image"].startswith(("nats:", "haproxy:", "natsio/")):
            assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name


def check(cluster):
    whole(cluster.services)
    # What the comment at the top of docker-compose.yml says, in its order.
    head = COMPOSE.read_text().split("name: imserver")[0]
    steps = [line.lstrip("#").split(" #")[0].strip() for line in head.splitlines()]
    secrets = next(shlex.split(step) for step in steps if step.startswith("../cluster/secrets"))
    script = (COMPOSE.parent / secrets[0]).resolve()
    make = [script, cluster.secrets, *secrets[2:]]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    before = {path: path.read_bytes() for path in cluster.secrets.rglob("*") if path.is_file()}
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    after = {path: path.read_bytes() for path in cluster.secrets.rglob("*") if path.is_file()}
    assert before == after, "made anew what was there"
    assert not any(path.stat().st_mode & 0o077 for path in before if path.suffix not in (".crt", ".pem"))

    cluster.lay("tool"), cluster.lay("create")
    for words in [shlex.split(step) for step in steps if step.startswith("docker compose run --rm tool")][:2]:
        cluster.good("tool", *words[5:])
    for name in NATS:
        cluster.start_nats(name)
    wait("healthy NATS servers", cluster.healthy)
    config = cluster.monitor("nats-1", "/varz")
    assert config["jetstream"]["config"]["sync_always"] is True, config["jetstream"]
    assert config["tls_required"] is True and config["cluster"]["tls_verify"] is True
    code, _, why = cluster.call("create", "cluster", "check")
    assert code == 1 and "imserver cluster create" in why, why
    made = cluster.good("create", *cluster.services["create"]["command"])
    assert made.startswith("made im-msg-0"), made
    print("NATS servers with TLS; the streams were made by a command of their own")

    for name in NODES:
        cluster.start_node(name)
    for name in NODES:
        wait(f"{name}", lambda name=name: cluster.ready(name))
    cluster.start_balancer()
    token = {user: cluster.good("tool", "token", "issue", "--sub", str(user)) for user in (1, 2)}
    join = lambda user: wait("a connection", lambda: cluster.connect(user, token[user]))
    ming, hong = join(1), join(2)
    assert [cluster.connections(name) for name in NODES] == [1, 1], "they are on one node"
    say(ming, 1, 2, "across nodes")
    heard(hong, "across nodes")
    known = {**cluster.addresses(NODES[0]), **cluster.addresses(NODES[1])}
    assert known == {1: home(1), 2: home(2)}, known
    # The balancer's address is not enough: the client's must be told.
    with socket.create_connection((BALANCER, cluster.ports[f"{NODES[0]}:8443"]), PATIENCE, (BALANCER, 0)) as tcp:
        try:
            ssl.create_default_context(cafile=cluster.secrets / "imserver/server.pem").wrap_socket(
                tcp, server_hostname="localhost")
            raise AssertionError("it came in without a PROXY header")
        except (ssl.SSLError, ConnectionError):
            pass
    wait("a word in the log", lambda: "refused for its PROXY header" in
         (cluster.folder / f"{NODES[0]}.log").read_text() or None)
    print("a message from a user on one node to one on the other, through HAProxy, which says who they are")

    # A new certificate is taken up by a reload, and old connections go on.
    before = cluster.monitor("nats-1", "/varz")["config_load_time"]
    for name in NATS:
        for file in ("tls.crt", "tls.key"):
            (cluster.secrets / name / file).unlink()
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    for name in NATS:
        cluster.processes[name].send_signal(signal.SIGHUP)
    wait("a reload", lambda: cluster.monitor("nats-1", "/varz")["config_load_time"] != before or None)
    assert cluster.shown("nats-1") == ssl.PEM_cert_to_DER_cert((cluster.secrets / "nats-1/tls.crt").read_text())
    say(ming, 1, 2, "with new certificates")
    heard(hong, "with new certificates")
    print("new certificates of the NATS servers, without a restart")

    # Lame duck as compose and Kubernetes send it: the second signal must not cut it short.
    service = cluster.services["nats-2"]
    began = time.monotonic()
    duck = cluster.processes["nats-2"]
    duck.send_signal(getattr(signal, service["stop_signal"]))
    wait("the lame duck", lambda: "lame duck" in (cluster.folder / "nats-2.log").read_text().lower() or None)
    duck.terminate()
    for number in range(20):
        say(ming, 1, 2, f"lame duck {number}")
        heard(hong, f"lame duck {number}")
    assert duck.wait(int(service["stop_grace_period"].rstrip("s"))) in (0, 1), duck.returncode
    code, out, _ = cluster.call("tool", "cluster", "status")
    assert code == 1 and any(state in out for state in ("AWAY", "SILENT", "BEHIND")), out
    cluster.start_nats("nats-2")
    wait("a whole cluster", lambda: True if cluster.call("tool", "cluster", "status")[0] == 0 else None)
    print(f"a NATS server went and came back ({time.monotonic() - began:.0f} s), and nobody noticed")

    # A node goes: its user comes back through the load balancer and has lost nothing.
    left = next(name for name in NODES if "1" in name)
    grace = int(cluster.services[left]["stop_grace_period"].rstrip("s"))
    cluster.stop(left, signal.SIGTERM, grace)
    for stream in (ming, hong):
        stream.close()
    ming = join(1)
    say(ming, 1, 2, "from the other node")
    hong = join(2)
    texts = []
    while "from the other node" not in texts:
        texts.append(receive(hong)["content"])
    assert texts[0] == "across nodes" and len(texts) == 23, texts
    print("a node went, and its users went on at the other")


def main():
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), *sys.argv[1:4])
        try:
            check(cluster)
        except BaseException:
            cluster.logs()
            raise
        finally:
            cluster.end()


if __name__ == "__main__":
    main()
