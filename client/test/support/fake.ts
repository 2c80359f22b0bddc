// A server that does exactly what a test tells it, in place of the network.

import assert from "node:assert/strict";
import { afterEach } from "node:test";
import { Client } from "../../src/client.js";
import type { ClientEvents, ClientOptions } from "../../src/types.js";
import { settled, TestClock } from "./clock.js";

export interface Frame {
  fromId: number;
  toId: number;
  type: number;
  content: string;
  timestamp: string;
  Describe: string;
}

/** A token as a client reads it: who, and until when. Nobody here checks a signature. */
export function token(sub: number, seconds = 3600, jti = "a"): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + seconds;
  return `${part({ alg: "none" })}.${part({ sub: String(sub), exp, jti })}.signature`;
}

export class FakeSocket {
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  /** Everything the client has sent. */
  sent: Frame[] = [];

  constructor(
    readonly url: string,
    readonly protocols: string[],
    private readonly me: number,
  ) {}

  send(text: string): void {
    assert.equal(this.readyState, 1, "sent on a socket that is not open");
    this.sent.push(JSON.parse(text) as Frame);
  }

  close(): void {
    this.readyState = 3;
  }

  /** What it was sent of one type. */
  of(type: number): Frame[] {
    return this.sent.filter((frame) => frame.type === type);
  }

  /** Messages by their content, `!` behind resends. */
  get messages(): string[] {
    return this.of(0).map(({ content, Describe }) =>
      content + (JSON.parse(Describe).resend ? "!" : ""));
  }

  async open(): Promise<void> {
    this.readyState = 1;
    this.onopen?.();
    await settled();
  }

  /** Opens it and tells that nothing is missing. */
  async ready(head = "0", complete = true): Promise<void> {
    await this.open();
    await this.upToDate(head, complete);
  }

  async upToDate(head = "0", complete = true): Promise<void> {
    await this.say({ fromId: 0, type: 6, content: head, Describe: JSON.stringify({ complete }) });
  }

  async say(frame: Partial<Frame>): Promise<void> {
    const all = { fromId: 0, toId: this.me, content: "", timestamp: "", Describe: "", ...frame };
    this.onmessage?.({ data: JSON.stringify(all) });
    await settled();
  }

  async message(messageId: number | string, fromId = 2, more: object = {}, toId = this.me) {
    const about = { userName: "", headURL: "", messageId: String(messageId), ...more };
    const Describe = JSON.stringify(about);
    await this.say({ fromId, toId, type: 2, content: `nr ${messageId}`, timestamp: "5", Describe });
  }

  async succeed(frame: Frame | undefined, messageId = 1): Promise<void> {
    assert(frame);
    const { clientMsgId } = JSON.parse(frame.Describe || "{}");
    const Describe = JSON.stringify({ messageId: String(messageId), clientMsgId });
    await this.say({ type: 0, timestamp: frame.timestamp, Describe });
  }

  async fail(frame: Frame | undefined, code: string): Promise<void> {
    assert(frame);
    const { clientMsgId } = JSON.parse(frame.Describe || "{}");
    const Describe = JSON.stringify({ code, message: `because of ${code}`, clientMsgId });
    await this.say({ type: 1, timestamp: frame.timestamp, Describe });
  }

  async end(code: number, reason = ""): Promise<void> {
    this.readyState = 3;
    this.onclose?.({ code, reason });
    await settled();
  }
}

export interface Call {
  method: string;
  path: string;
  token: string;
  body: unknown;
}

type Answer = [status: number, body?: unknown, headers?: Record<string, string>];

export class FakeServer {
  sockets: FakeSocket[] = [];
  calls: Call[] = [];
  /**
   * Answers that come before the usual ones; undefined: the usual one. `down`: none at all,
   * `half`: one that begins and does not go on.
   */
  answer: (call: Call) => Answer | "down" | "silent" | "half" | undefined = () => undefined;
  conversations: { peerId: number; unread: number; last?: string }[] = [];

  constructor(readonly user = 1) {}

  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    assert(socket, "nobody has connected");
    return socket;
  }

  /** Calls of one path. */
  of(path: string): Call[] {
    return this.calls.filter((call) => call.path.split("?")[0] === path);
  }

  get WebSocket(): typeof WebSocket {
    const { sockets, user } = this;
    return function (url: string, protocols: string[]) {
      const socket = new FakeSocket(url, protocols, user);
      sockets.push(socket);
      return socket;
    } as unknown as typeof WebSocket;
  }

  fetch = async (url: unknown, init?: RequestInit): Promise<Response> => {
    const headers = init?.headers as Record<string, string>;
    const call: Call = {
      method: init?.method ?? "GET",
      path: String(url).replace(/^.*\/teaching\/api\//, ""),
      token: String(headers.Authorization).replace("Bearer ", ""),
      body: init?.body ? JSON.parse(String(init.body)) : undefined,
    };
    this.calls.push(call);
    const answer = this.answer(call) ?? this.#usual(call);
    if (answer === "down") throw new TypeError("fetch failed");
    if (answer === "silent") {
      return new Promise((_, reject) => {
        init?.signal?.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
      });
    }
    if (answer === "half") {
      const body = new ReadableStream({
        start(stream) {
          stream.enqueue(new TextEncoder().encode('{"ticket":'));
          init?.signal?.addEventListener("abort", () => stream.error(new DOMException("", "AbortError")));
        },
      });
      return new Response(body);
    }
    const [status, body, more] = answer;
    return new Response(body === undefined ? null : JSON.stringify(body), {
      status,
      ...(more && { headers: more }),
    });
  };

  #usual({ path }: Call): Answer {
    if (path === "tickets") return [200, { ticket: `ticket-${this.calls.length}`, expiresIn: 30 }];
    if (path === "read") return [204];
    if (path.startsWith("conversations")) {
      const unreadTotal = this.conversations.reduce((sum, { unread }) => sum + unread, 0);
      const conversations = this.conversations.map(({ peerId, unread, last = "0" }) => {
        return { peerId, unread, lastMessage: { messageId: last, fromId: peerId, toId: this.user } };
      });
      return [200, { conversations, unreadTotal, next: null }];
    }
    return [200, {}];
  }
}

/** A client of a fake server, with everything it tells. */
export interface Seat {
  client: Client;
  server: FakeServer;
  clock: TestClock;
  told: { [K in keyof ClientEvents]: ClientEvents[K][] };
}

const clients: Client[] = [];
// Channels between tabs keep a program running.
afterEach(() => clients.splice(0).forEach((client) => client.close()));

export function seat(
  options: Partial<ClientOptions> = {},
  server = new FakeServer(),
  clock = new TestClock(),
): Seat {
  const client = new Client(
    {
      url: "https://im.test",
      getToken: () => token(server.user),
      WebSocket: server.WebSocket,
      fetch: server.fetch as typeof fetch,
      ...options,
    },
    clock,
  );
  clients.push(client);
  const names = [
    "state", "message", "stored", "outbox", "read", "typing", "unread", "reload",
  ] as const;
  const told = {} as Seat["told"];
  for (const name of names) {
    const list: unknown[] = [];
    (told as Record<string, unknown[]>)[name] = list;
    client.on(name, (detail) => void list.push(detail));
  }
  return { client, server, clock, told };
}

/** One that is connected and up to date. */
export async function online(...given: Parameters<typeof seat>): Promise<Seat> {
  const made = seat(...given);
  made.client.connect();
  await settled();
  await made.server.socket.ready();
  return made;
}
