// The built server in a folder of its own, with real TLS, as a test starts, kills and asks it.

import { execFile, spawn } from "node:child_process";
import { X509Certificate, createHash, createPrivateKey, randomBytes, sign } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import https from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { WebSocket } from "ws";

const run = promisify(execFile);
const BIN = process.env.IMSERVER_BIN ??
  join(process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../../target", import.meta.url)), "debug/imserver");

async function freePort() {
  const listener = net.createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

export class Server {
  /** What tells how things were, where a test fails. */
  witnesses = [];
  #process = null;
  #err = "";

  /** Makes a folder, keys and a certificate, and starts serving; ended with the test. */
  static async start(test, settings = {}) {
    const server = new Server();
    server.folder = await mkdtemp(join(tmpdir(), "imserver-e2e-"));
    test.after(async () => {
      if (!test.passed) for (const tell of server.witnesses) console.error(await tell());
      await server.kill();
      if (!test.passed) console.error(`--- the server's log of ${test.name} ---\n${server.#err}`);
      await rm(server.folder, { recursive: true, force: true });
    });
    server.port = await freePort();
    server.adminPort = await freePort();
    server.origin = `https://127.0.0.1:${server.port}`;
    server.adminOrigin = `https://127.0.0.1:${server.adminPort}`;
    server.env = {
      ...process.env,
      IMSERVER_SERVER__LISTEN: `127.0.0.1:${server.port}`,
      IMSERVER_SERVER__ADMIN_LISTEN: `127.0.0.1:${server.adminPort}`,
      IMSERVER_SERVER__ORIGINS: server.origin,
      IMSERVER_LIMITS__CONNECTIONS: "500",
      // Streams of its own, where messages lie in some (tests/nats/beside.py).
      ...(process.env.IMSERVER_STORE__BACKEND === "jetstream" && {
        IMSERVER_STORE__JETSTREAM__PREFIX: `t${randomBytes(8).toString("hex")}`,
      }),
      ...settings,
    };
    await server.#command("init");
    await server.#command("cert", "dev");
    server.cert = await readFile(join(server.folder, "certs/server.pem"));
    const key = new X509Certificate(server.cert).publicKey.export({ type: "spki", format: "der" });
    server.fingerprint = createHash("sha256").update(key).digest("base64");
    await server.up();
    return server;
  }

  async #command(...args) {
    const { stdout } = await run(BIN, args, { cwd: this.folder, env: this.env });
    return stdout.trim();
  }

  /** Starts serving in this folder, and waits until it says so. */
  async up() {
    this.#process = spawn(BIN, ["serve"], { cwd: this.folder, env: this.env, stdio: ["ignore", "ignore", "pipe"] });
    this.#err = "";
    const lines = createInterface({ input: this.#process.stderr });
    await new Promise((resolve, reject) => {
      lines.on("line", (line) => {
        this.#err += `${line}\n`;
        if (line.includes("serving")) resolve();
      });
      this.#process.once("exit", (code) => reject(new Error(`imserver ended with ${code}:\n${this.#err}`)));
    });
  }

  /** Kills it without a warning. */
  async kill() {
    if (!this.#process || this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const gone = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await gone;
  }

  token(userId, name = "", ttl = "1h") {
    const named = name ? ["--name", name] : [];
    return this.#command("token", "issue", "--sub", String(userId), ...named, "--ttl", ttl);
  }

  /** A token that opens the administrators' page. */
  adminToken(userId = 9, ttl = "1h") {
    return this.#command("token", "issue", "--sub", String(userId), "--ttl", ttl, "--admin");
  }

  /** Whether a WebSocket opened with `token` is let in: the status of the answer. */
  async knock(token) {
    const headers = {
      connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    };
    const request = https.request({
      host: "127.0.0.1", port: this.port, path: `/teaching/imserver/${token}`, ca: this.cert, headers, agent: false,
    });
    request.end();
    const [answer] = await Promise.race([once(request, "response"), once(request, "upgrade")]);
    answer.socket.destroy();
    return answer.statusCode;
  }

  /** A WebSocket of the 2020 document's, its messages as they come in, and its close. */
  async socket(token) {
    const ws = new WebSocket(`wss://127.0.0.1:${this.port}/teaching/imserver/${token}`, { ca: this.cert });
    const messages = [];
    ws.on("message", (data) => {
      messages.push(JSON.parse(data));
      ws.emit("heard");
    });
    const closed = once(ws, "close").then(([code, reason]) => ({ code, reason: reason.toString() }));
    await once(ws, "open");
    const heard = async (what) => {
      for (;;) {
        const found = messages.find(what);
        if (found) return found;
        await once(ws, "heard");
      }
    };
    return { heard, closed, send: (text) => ws.send(text), end: () => ws.terminate() };
  }

  /** A token of user `userId` with claims of the test's own, signed with the server's key. */
  async forge(userId, claims) {
    const { keys } = JSON.parse(await readFile(join(this.folder, "certs/keys.json"), "utf8"));
    const jwk = keys.findLast((key) => key.d !== undefined);
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const now = Math.floor(Date.now() / 1000);
    const text = `${part({ alg: jwk.alg, kid: jwk.kid })}.${part({
      iss: "imserver", aud: "imserver", sub: String(userId), iat: now, exp: now + 3600, ...claims,
    })}`;
    const key = createPrivateKey({ key: jwk, format: "jwk" });
    return `${text}.${sign(null, Buffer.from(text), key).toString("base64url")}`;
  }

  /** Asks the HTTPS API. */
  api(token, method, path, body) {
    return this.#call(this.port, token, method, `/teaching/api/${path}`, body);
  }

  /** Asks the administrators' listener. */
  administer(token, method, path, body) {
    return this.#call(this.adminPort, token, method, `/admin/${path}`, body);
  }

  async #call(port, token, method, path, body) {
    const { status, text } = await this.#request(port, path, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { "content-type": "application/json" }) },
    }, body === undefined ? undefined : JSON.stringify(body));
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** The number of open connections, as the server counts them. */
  async connections() {
    const { text } = await this.#request(this.adminPort, "/metrics", { method: "GET" });
    return Number(/^imserver_connections (\d+)$/m.exec(text)[1]);
  }

  async #request(port, path, options, body) {
    const request = https.request({ host: "127.0.0.1", port, path, ca: this.cert, ...options });
    request.end(body);
    const [response] = await once(request, "response");
    let text = "";
    for await (const part of response) text += part;
    return { status: response.statusCode, text };
  }
}
