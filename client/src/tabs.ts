// The tabs of one browser: one of them leads and has the socket, all hear the same.

/** What tabs tell each other. */
export interface Channel<T> {
  post(message: T): void;
  close(): void;
}

/** Whether this browser can share one socket between its tabs. */
export const canShare = (): boolean =>
  typeof navigator === "object" && !!navigator.locks && typeof BroadcastChannel === "function";

/**
 * Waits to lead: `lead` is called once this tab holds the lock, which the browser hands on
 * when a tab is closed or crashes. Gives the way to step down, or to stop waiting.
 */
export function waitToLead(name: string, lead: () => void): () => void {
  const waiting = new AbortController();
  let stepDown = () => {};
  const led = new Promise<void>((resolve) => (stepDown = resolve));
  navigator.locks
    .request(name, { signal: waiting.signal }, () => {
      lead();
      return led;
    })
    .catch(() => {
      // Pages without an origin of their own may hold no lock: they lead themselves.
      if (!waiting.signal.aborted) lead();
    });
  return () => {
    waiting.abort();
    stepDown();
  };
}

/** Opens the channel of that name; it does not hear itself. */
export function openChannel<T>(name: string, hear: (message: T) => void): Channel<T> {
  if (typeof BroadcastChannel !== "function") return noChannel;
  const channel = new BroadcastChannel(name);
  channel.onmessage = ({ data }) => hear(data);
  return { post: (message) => channel.postMessage(message), close: () => channel.close() };
}

export const noChannel = { post() {}, close() {} };
