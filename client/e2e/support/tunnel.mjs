// A cable between browser and server that a test can cut: the browser's own "offline"
// leaves open sockets alone.

import { once } from "node:events";
import net from "node:net";
import { Server } from "./server.mjs";

class Tunnel {
  #sockets = new Set();
  #cut = false;

  /** Listens on a port of its own and passes everything to `port`. */
  static async open(test, port) {
    const tunnel = new Tunnel();
    const listener = net.createServer((near) => tunnel.#join(near, port)).listen(0, "127.0.0.1");
    await once(listener, "listening");
    tunnel.port = listener.address().port;
    test.after(() => {
      tunnel.cut();
      listener.close();
    });
    return tunnel;
  }

  #join(near, port) {
    if (this.#cut) return void near.destroy();
    const far = net.connect(port, "127.0.0.1");
    for (const [socket, other] of [[near, far], [far, near]]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  }

  cut() {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() {
    this.#cut = false;
  }
}

/** A server as pages see it through a tunnel: that is where they come from. */
export async function startBehindTunnel(t, settings) {
  const server = await Server.start(t, settings);
  const tunnel = await Tunnel.open(t, server.port);
  const through = { ...server, origin: `https://127.0.0.1:${tunnel.port}` };
  await server.kill();
  server.env.IMSERVER_SERVER__ORIGINS = through.origin;
  await server.up();
  return { server, tunnel, through };
}
