"""The chart of deploy/helm, as helm renders it.

Everything fits the schemas of Kubernetes; names that one object uses of another are there; what the
pods run is what imserver and nats-server accept.

    chart.py HELM IMSERVER NATS-SERVER
"""

import fnmatch
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from proxies import DEPLOY

CHART = DEPLOY / "helm/imserver"
KUBERNETES = "1.37.0"
EVERYTHING = ["--set", "certManager.enabled=true,certManager.hosts={im.example.com},monitoring.enabled=true",
              "--set", "networkPolicy.httpsOut=true,origins={https://www.example.com}",
              "--set", "service.proxyProtocol={10.0.0.0/16,2001:db8::7}"]
# Of these there are no schemas here: the operators' own kinds.
FOREIGN = {"Certificate", "ServiceMonitor", "PrometheusRule"}


def helm(*words, fails=False):
    done = subprocess.run([HELM, *words], text=True, capture_output=True)
    assert (done.returncode != 0) == fails, f"{words}: {done.stdout}{done.stderr}"
    return done.stderr if fails else done.stdout


def render(*words):
    text = helm("template", "im", CHART, "--namespace", "chat", *words)
    return [found for found in yaml.safe_load_all(text) if found]


def of(objects, kind):
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def fits(objects, folder):
    """Against the schemas of Kubernetes, with members that are not known as faults."""
    own = [found for found in objects if found["kind"] not in FOREIGN]
    path = folder / "rendered.yaml"
    path.write_text(yaml.safe_dump_all(own))
    validate = Path(sys.executable).parent / "kubernetes-validate"
    done = subprocess.run([validate, "-k", KUBERNETES, "--strict", path], text=True, capture_output=True)
    assert done.returncode == 0 and done.stdout.count(" passed ") == len(own), done.stdout + done.stderr


def pods(objects):
    for kind in ("StatefulSet", "Job"):
        for name, found in of(objects, kind).items():
            yield name, found, found["spec"]["template"]


def hangs_together(objects):
    configs, services = of(objects, "ConfigMap"), of(objects, "Service")
    secrets = {"imserver-passwords", "imserver-keys", "imserver-tls", "imserver-nats-tls"}
    labels = []
    for name, owner, template in pods(objects):
        labels.append(template["metadata"]["labels"])
        spec = template["spec"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for claim in owner["spec"].get("volumeClaimTemplates", []):
            volumes[claim["metadata"]["name"]] = claim
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in configs, volume
            parts = volume.get("projected", {}).get("sources", [])
            used = [part["secret"]["name"] for part in parts]
            used += [volume["secret"]["secretName"]] if "secret" in volume else []
            assert set(used) <= secrets, used
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True and context["seccompProfile"]["type"] == "RuntimeDefault"
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] is True and own["allowPrivilegeEscalation"] is False, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= set(volumes), name
            assert "memory" in container["resources"]["limits"], name
        if owner["kind"] == "StatefulSet":
            assert owner["spec"]["selector"]["matchLabels"].items() <= labels[-1].items()
            assert owner["spec"]["serviceName"] in services
            hosts = [rule for rule in spec["topologySpreadConstraints"]
                     if rule["topologyKey"] == "kubernetes.io/hostname"]
            assert hosts[0]["whenUnsatisfiable"] == "DoNotSchedule"
            assert hosts[0]["labelSelector"]["matchLabels"].items() <= labels[-1].items()
    selectors = [found["spec"]["selector"] for found in services.values()]
    selectors += [found["spec"]["selector"]["matchLabels"] for found in of(objects, "PodDisruptionBudget").values()]
    for policy in of(objects, "NetworkPolicy").values():
        spec = policy["spec"]
        selectors.append(spec["podSelector"].get("matchLabels", {}))
        for rule in [*spec["ingress"], *spec["egress"]]:
            for peer in [*rule.get("from", []), *rule.get("to", [])]:
                if "podSelector" in peer:
                    selectors.append(peer["podSelector"]["matchLabels"])
    for selector in selectors:
        assert any(selector.items() <= found.items() for found in labels), f"{selector} is no pod's"


def environment(container):
    return {item["name"]: item.get("value") for item in container.get("env", [])}


def runs(objects, imserver, nats, folder):
    """What imserver and nats-server say of their configuration."""
    node = of(objects, "StatefulSet")["im-imserver"]["spec"]["template"]["spec"]
    server = of(objects, "StatefulSet")["im-imserver-nats"]["spec"]["template"]["spec"]
    configs = of(objects, "ConfigMap")
    assert configs["im-imserver"]["data"]["config.toml"].strip() == (DEPLOY / "cluster/config.toml").read_text().strip()

    config = folder / "config.toml"
    config.write_text(configs["im-imserver"]["data"]["config.toml"])
    variables = environment(node["containers"][0])
    done = subprocess.run([imserver, "--config", config, "config", "check"], text=True, capture_output=True,
                          env={**os.environ, **variables})
    assert "every setting is valid" in done.stdout, done.stdout + done.stderr
    assert variables["IMSERVER_SERVER__PROXY_PROTOCOL"] == "10.0.0.0/16,2001:db8::7", variables
    # The files of the pod, as the kubelet lays them: root's, for the group of the pod, behind links.
    sources = next(volume for volume in node["volumes"] if volume["name"] == "certs")["projected"]
    secrets = folder / "secrets"
    subprocess.run([DEPLOY / "cluster/secrets", secrets, "nats-0"], check=True, stdout=subprocess.DEVNULL)
    made = folder / "made"
    (made / "certs").mkdir(parents=True)
    (made / "config.toml").write_text(config.read_text())
    for words in (["init"], ["cert", "dev"]):
        subprocess.run([imserver, "--config", made / "config.toml", *words], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, **variables, "IMSERVER_AUTH__KEYS": str(made / "certs/keys.json")})
    here = {"tls.crt": made / "certs/server.pem", "tls.key": made / "certs/server.key", "nats-password": secrets / "imserver/nats-password",
            "ca.crt": secrets / "ca.crt"}
    certs, hidden = folder / "certs", folder / "certs/..2026_01_01"
    hidden.mkdir(parents=True)
    (certs / "..data").symlink_to(hidden.name)
    pod, root = node["securityContext"], os.geteuid() == 0
    for source in sources["sources"]:
        for item in source["secret"]["items"]:
            file = hidden / item["path"]
            file.write_bytes(here[item["key"]].read_bytes())
            # Who is not root cannot give files away: then they are one's own.
            file.chmod(sources["defaultMode"] if root else 0o400)
            if root:
                os.chown(file, 0, pod["fsGroup"])
            (certs / item["path"]).symlink_to(f"..data/{item['path']}")
    certs.chmod(0o1777)
    # Mounted by itself, which makes it a file and no link.
    mount = next(mount for mount in node["containers"][0]["volumeMounts"] if mount["name"] == "keys")
    assert mount["mountPath"] == variables["IMSERVER_AUTH__KEYS"] and mount["subPath"] == "keys.json"
    keys = folder / "keys/keys.json"
    keys.parent.mkdir()
    keys.write_bytes((made / "certs/keys.json").read_bytes())
    keys.chmod(0o440 if root else 0o400)
    if root:
        os.chown(keys, 0, pod["fsGroup"])
    folder.chmod(0o755)
    who = {"user": pod["runAsUser"], "group": pod["runAsGroup"], "extra_groups": [pod["fsGroup"]]} if root else {}
    (folder / "data").mkdir(mode=0o700)
    if root:
        os.chown(folder / "data", pod["runAsUser"], pod["runAsGroup"])
    own = {"IMSERVER_STORE__PATH": str(folder / "data"), "IMSERVER_AUTH__KEYS": str(keys)}
    done = subprocess.run([imserver, "--config", config, "config", "check"], text=True, capture_output=True,
                          env={**os.environ, **variables, **own}, **who)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Connections from 10.0.0.0/16, 2001:db8::7 must begin with a PROXY header" in done.stdout, done.stdout
    # The password is read where a server is called: there is none here.
    done = subprocess.run([imserver, "--config", config, "cluster", "check"], text=True, capture_output=True,
                          env={**os.environ, **variables, **own}, **who)
    assert "no NATS server can be used" in done.stderr, done.stderr
    # Certificates name the servers that nodes and servers call.
    names = of(objects, "Certificate")["im-imserver-nats"]["spec"]["dnsNames"]
    called = variables["IMSERVER_STORE__JETSTREAM__SERVERS"].split(",")
    arguments = server["containers"][0]["args"]
    routes = arguments[arguments.index("--routes") + 1].split(",")
    assert len(called) == len(routes) == 3
    for url in called + routes:
        host = url.split("://")[1].rsplit(":", 1)[0]
        assert any(fnmatch.fnmatchcase(host, name) and host.count(".") == name.count(".") for name in names), host
    # Time to drain before the kill.
    drain = next(line for line in config.read_text().splitlines() if line.startswith("drain_timeout"))
    drain = int(drain.split('"')[1].rstrip("s"))
    sleep = node["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert node["terminationGracePeriodSeconds"] > drain + sleep

    # The same folders as in the pod, with certificates of deploy/cluster/secrets.
    place = folder / "etc/nats"
    place.mkdir(parents=True)
    (place / "nats-server.conf").write_text(configs["im-imserver-nats"]["data"]["nats-server.conf"])
    (place / "certs").symlink_to(folder / "secrets/nats-0")
    (place / "passwords").mkdir()
    (place / "passwords/passwords.conf").symlink_to(folder / "secrets/passwords.conf")
    here = {"/etc/nats/nats-server.conf": str(place / "nats-server.conf"), "/data": str(folder / "streams"),
            "/run/nats/nats.pid": str(folder / "pid")}
    words = [here.get(word, word) for word in arguments]
    # Of the name only Kubernetes knows what it is.
    variables = {name: value or "im-imserver-nats-0" for name, value in environment(server["containers"][0]).items()}
    done = subprocess.run([nats, *words, "-t"], cwd=place, text=True, capture_output=True,
                          env={**os.environ, **variables})
    assert done.returncode == 0, done.stdout + done.stderr
    grace = 30  # lame_duck_duration
    assert "lame_duck_duration: \"30s\"" in (place / "nats-server.conf").read_text()
    assert server["terminationGracePeriodSeconds"] >= 2 * grace
    assert server["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1] == "ldm=" + arguments[
        arguments.index("--pid") + 1]


def main():
    helm("lint", "--strict", CHART)
    plain, full = render(), render(*EVERYTHING)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for objects in (plain, full, render("--set", "nats.replicas=5,service.type=ClusterIP")):
            fits(objects, folder)
            hangs_together(objects)
        runs(full, *sys.argv[2:4], folder)
    assert not FOREIGN & {found["kind"] for found in plain}
    for name in ("imserver", "cluster"):
        rules = of(full, "PrometheusRule")[f"im-imserver-{name}"]["spec"]
        assert rules == yaml.safe_load((DEPLOY / f"prometheus/{name}.rules.yml").read_text())
    # Whoever renders the release says the same of the streams, in every container.
    for words, said in (([], ("1", "chat/im")),
                        (["--set", "partitions=16,deployment=production"], ("16", "production"))):
        variables = [environment(container) for _, _, template in pods(render(*words))
                     for container in [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]
                     if "IMSERVER_AUTH__KEYS" in environment(container)]
        assert len(variables) == 3, "the node, what waits before it, and what makes the streams"
        found = {(one["IMSERVER_STORE__JETSTREAM__PARTITIONS"], one["IMSERVER_STORE__JETSTREAM__DEPLOYMENT"])
                 for one in variables}
        assert found == {said}, found
    notes = helm("install", "im", CHART, "--dry-run=client", "--set", "partitions=16")
    assert "in 16 partition(s)" in notes and "decided for good" in notes, notes
    # The dashboards as they are, where Grafana's sidecar looks for them, unless they are not wanted.
    board = of(full, "ConfigMap")["im-imserver-dashboards"]
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert sorted(board["data"]) == sorted(path.name for path in (DEPLOY / "grafana").glob("*.json"))
    for name, text in board["data"].items():
        assert text.strip() == (DEPLOY / "grafana" / name).read_text().strip(), name
    for words in ([], ["--set", "monitoring.enabled=true,monitoring.dashboards=false"]):
        assert "im-imserver-dashboards" not in of(render(*words), "ConfigMap"), words
    # The streams are made when it is installed, and never again.
    assert "im-imserver-create" in of(plain, "Job")
    assert not of(render("--is-upgrade"), "Job")
    assert not of(render("--set", "createStreams=false"), "Job")
    for wrong in ("nats.replicas=4", "imserver.replica=3", "origins={http://www.example.com}",
                  "nats.maxFileStore=70", "imserver.env.SECRET=x", "partitions=0", "partitions=many", "service.proxyProtocol={0.0.0.0/0}", "certManager.enabled=true"):
        why = helm("template", "im", CHART, "--set", wrong, fails=True)
        assert "schema" in why, why
    print(f"helm renders {len(plain)} to {len(full)} objects that fit Kubernetes {KUBERNETES} and each other")


HELM = sys.argv[1]
if __name__ == "__main__":
    main()
