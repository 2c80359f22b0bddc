// Frames as they stand on the wire: text in, meanings out, and back.

/** What the server says. */
export type Heard =
  | { kind: "success"; timestamp: string; messageId?: string; clientMsgId?: string }
  | { kind: "failure"; timestamp: string; code: string; message: string; clientMsgId?: string }
  | {
      kind: "message";
      fromId: number;
      toId: number;
      content: string;
      timestamp: string;
      userName: string;
      headURL: string;
      messageId: string;
      clientMsgId?: string;
    }
  | { kind: "read"; fromId: number; messageIds: string[] }
  | { kind: "typing"; fromId: number }
  | { kind: "upToDate"; head: string; complete: boolean };

/** What the client says, beside who it is. */
export type Said =
  | {
      kind: "send";
      toId: number;
      content: string;
      timestamp: string;
      clientMsgId?: string;
      resend?: boolean;
    }
  | { kind: "markRead"; messageIds: readonly string[]; timestamp: string }
  | { kind: "typing"; toId: number; timestamp: string }
  | { kind: "refresh"; token: string; timestamp: string };

/** Reads a frame; null where it is none that this client knows. */
export function read(text: string): Heard | null {
  try {
    const { fromId, toId, type, content, timestamp, Describe } = JSON.parse(text);
    const about = Describe ? JSON.parse(Describe) : {};
    switch (type) {
      case 0:
        return { ...about, kind: "success", timestamp };
      case 1:
        return { ...about, kind: "failure", timestamp };
      case 2:
        return { ...about, kind: "message", fromId, toId, content, timestamp };
      case 3:
        // Ids may be beyond what a JavaScript number holds one day: they stay digits.
        return { kind: "read", fromId, messageIds: content.match(/\d+/g) ?? [] };
      case 4:
        return { kind: "typing", fromId };
      case 6:
        return { ...about, kind: "upToDate", head: content };
    }
  } catch {
    // What cannot be read is not for us.
  }
  return null;
}

/** Writes a frame of `fromId`. */
export function write(fromId: number, said: Said): string {
  const frame = (toId: number, type: number, content: string, describe = "") =>
    JSON.stringify({ fromId, toId, type, content, timestamp: said.timestamp, Describe: describe });
  switch (said.kind) {
    case "send": {
      const { clientMsgId, resend } = said;
      const describe =
        clientMsgId === undefined
          ? ""
          : JSON.stringify(resend ? { clientMsgId, resend } : { clientMsgId });
      return frame(said.toId, 0, said.content, describe);
    }
    case "markRead":
      return frame(0, 1, `[${said.messageIds.join()}]`);
    case "typing":
      return frame(said.toId, 4, "");
    case "refresh":
      return frame(0, 5, said.token);
  }
}
