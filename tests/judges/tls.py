"""Lets others judge the TLS of the built server: sslyze against Mozilla's intermediate
configuration, and testssl.sh where it is installed.

    tls.py IMSERVER [--thorough]

Makes a certificate authority and a certificate of it, starts the given binary with it on
loopback, and exits with 1 where a judge finds fault. --thorough asks testssl.sh too, which
takes minutes. `scripts/judge-tls` brings what this needs.
"""

import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# What testssl.sh finds that is not the server's to mend, and why.
NOT_OURS = {
    "engine_problem": "this machine's openssl cannot try GOST ciphers",
    "cert_revocation": "the judges' authority publishes no lists of revoked certificates",
    "HSTS": "there is no plain listener to be lured to, and on localhost the header would bind "
    "every other service there too; a proxy in front may send it",
}


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def certificate(name, key, issuer, issuer_key, extensions):
    def named(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=80))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def chain(folder):
    """An authority in ca.pem, and a certificate of it for localhost where the server has its own."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    known = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    usage = dict.fromkeys(
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only".split(),
        False,
    )
    root = certificate("judges' authority", authority, "judges' authority", authority, [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(**usage | {"key_cert_sign": True, "crl_sign": True}), True),
        (known, False),
    ])
    leaf = certificate("localhost", key, "judges' authority", authority, [
        (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.KeyUsage(**usage | {"digital_signature": True}), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known), False),
    ])
    (folder / "ca.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    (folder / "certs" / "server.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    private = folder / "certs" / "server.key"
    private.touch(mode=0o600)
    private.write_bytes(pem(key))


def start(binary, folder):
    environment = os.environ | {
        "IMSERVER_SERVER__LISTEN": "127.0.0.1:0",
        "IMSERVER_SERVER__ADMIN_LISTEN": "127.0.0.1:0",
        "IMSERVER_LIMITS__CONNECTIONS_PER_ADDRESS": "0",
        "IMSERVER_LOG__FORMAT": "json",
    }
    subprocess.run([binary, "init"], cwd=folder, env=environment, check=True, capture_output=True)
    chain(folder)
    server = subprocess.Popen([binary, "serve"], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    log = []
    for line in server.stderr:
        log.append(line)
        if line.startswith("{") and (event := json.loads(line)).get("message") == "serving":
            threading.Thread(target=log.extend, args=(server.stderr,), daemon=True).start()
            return server, event["address"].rsplit(":", 1)[1]
    sys.exit("the server did not start:\n" + "".join(log))


def sslyze(folder, port, level):
    """Whether it finds the server compliant, and what it said."""
    command = [Path(sys.executable).with_name("sslyze"), "--mozilla_config", level]
    command += ["--certinfo_ca_file", folder / "ca.pem", f"localhost:{port}"]
    done = subprocess.run(command, capture_output=True, text=True)
    good = done.returncode == 0 and f"localhost:{port}: OK - Compliant" in done.stdout
    return good, done.stdout[done.stdout.rfind("COMPLIANCE"):] + done.stderr


def testssl(folder, port):
    found = folder / "testssl.json"
    command = ["testssl", "--quiet", "--warnings", "off", "--color", "0", "--ip", "127.0.0.1", "--nodns", "none"]
    command += ["--add-ca", folder / "ca.pem", "--jsonfile", found, f"https://localhost:{port}/"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    findings = json.loads(found.read_text())
    bad = [f for f in findings if f["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL")]
    for finding in bad:
        reason = NOT_OURS.get(finding["id"])
        print(f"testssl.sh: {finding['severity']} {finding['id']}: {finding['finding']}", f"({reason})" if reason else "")
    faults = [finding for finding in bad if finding["id"] not in NOT_OURS]
    print(f"testssl.sh: {len(findings)} findings, {len(faults)} of them faults")
    # Fewer would mean that it gave up.
    return len(findings) > 100 and not faults


def main():
    binary = Path(sys.argv[1]).resolve()
    thorough = "--thorough" in sys.argv
    if thorough and not shutil.which("testssl"):
        sys.exit("testssl.sh is not installed (Debian: testssl.sh)")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        server, port = start(binary, folder)
        try:
            good, said = sslyze(folder, port, "intermediate")
            print("sslyze: compliant with Mozilla's intermediate configuration" if good else said)
            # TLS 1.2 is not modern: a judge that says so of nothing is none.
            if sslyze(folder, port, "modern")[0]:
                sys.exit("sslyze calls everything compliant")
            if thorough:
                good = testssl(folder, port) and good
        finally:
            server.terminate()
            server.wait()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
