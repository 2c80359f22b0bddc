"""Puts an echo on the server's WebSockets through Autobahn's test suite.

    websocket.py WSTEST ECHO [CASE...]

Exits with 1 where a case fails, and leaves the suite's own reports in target/autobahn.
`scripts/judge-websocket` brings what this needs.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

REPORTS = Path(__file__).resolve().parent.parent.parent / "target" / "autobahn"

# Good to the letter; good, but not as early as could be; and nothing to be right or wrong in.
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port):
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("the echo does not listen")


def main():
    wstest, echo, *cases = sys.argv[1:]
    port = free_port()
    server = subprocess.Popen([echo, f"127.0.0.1:{port}"])
    try:
        wait_for(port)
        specification = {
            "outdir": str(REPORTS),
            "servers": [{"agent": "imserver", "url": f"ws://127.0.0.1:{port}/teaching/imserver"}],
            "cases": cases or ["*"],
            # Compression.
            "exclude-cases": ["12.*", "13.*"],
        }
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(specification, file)
            file.flush()
            # What the suite is built on warns that its Python is old.
            subprocess.run(
                [wstest, "-m", "fuzzingclient", "-s", file.name],
                check=True,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONWARNINGS": "ignore"},
            )
    finally:
        server.kill()
        server.wait()
    results = json.loads((REPORTS / "index.json").read_text())["imserver"]
    count = Counter(result["behavior"] for result in results.values())
    closes = Counter(result["behaviorClose"] for result in results.values())
    failed = {
        case: (result["behavior"], result["behaviorClose"])
        for case, result in results.items()
        if not PASSED >= {result["behavior"], result["behaviorClose"]}
    }
    print(f"{len(results)} cases:", ", ".join(f"{n} {what}" for what, n in count.most_common()))
    print("closing:", ", ".join(f"{n} {what}" for what, n in closes.most_common()))
    for case, result in results.items():
        if result["behavior"] != "OK":
            print(f"  {case}: {result['behavior']}")
    for case, behaviour in failed.items():
        print(f"FAILED {case}: {behaviour}")
    sys.exit(1 if failed or not results else 0)


if __name__ == "__main__":
    main()
