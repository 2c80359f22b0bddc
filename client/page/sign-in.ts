// The token: where it comes from, and where it stays.
//
// It lies in sessionStorage alone: a reload keeps it, another tab has its own (so that two
// people can be signed in in one browser), and it ends with the tab.

const KEPT = "imserver.token";

/**
 * Takes the token of a link such as `/#token=…` out of the address bar, and keeps it; null
 * without such a link, "" where it holds none, as one that was cut. With `&to=2` the
 * conversation with user 2 is opened.
 */
export function takeFromAddress(): string | null {
  const given = new URLSearchParams(location.hash.slice(1));
  const held = given.get("token");
  if (held === null) return null;
  const to = given.get("to");
  history.replaceState(null, "", to ? `#/${encodeURIComponent(to)}` : location.pathname);
  const token = find(held);
  if (token === null || claims(token) === null) return "";
  keep(token);
  return token;
}

export function keep(token: string): void {
  sessionStorage.setItem(KEPT, token);
}

export function kept(): string | null {
  return sessionStorage.getItem(KEPT);
}

export function forget(): void {
  sessionStorage.removeItem(KEPT);
}

/** Finds the token in what somebody pasted: the token alone, or a link that holds it. */
export function find(text: string): string | null {
  return /[\w-]+\.[\w-]+\.[\w-]+/.exec(text.replace(/^.*(#token=|imserver\/)/s, ""))?.[0] ?? null;
}

/**
 * What a token says of itself, for the page's own use: the server decides what is true.
 */
export function claims(token: string): { userId: number; endsAt: number } | null {
  try {
    const part = token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/");
    const { sub, exp } = JSON.parse(atob(part)) as { sub?: string; exp?: number };
    const userId = Number(sub);
    if (!Number.isSafeInteger(userId) || userId < 1) return null;
    return { userId, endsAt: (exp ?? 0) * 1000 };
  } catch {
    return null;
  }
}
