// Taking back, and what is taken back.

import type { Calls } from "./calls";

export interface Revocation {
  kind: "token" | "subject" | "user";
  jti?: string;
  sub?: number;
  issuedUpTo?: string;
  until?: string;
}

export type Target = { token: string } | { jti: string } | { sub: number };

/** Takes back; what there is to know about it beside. */
export async function revoke(calls: Calls, target: Target): Promise<{ revoked: Revocation | null; remark: string | null }> {
  return calls.json("POST", "revocations", target);
}

export async function revocations(calls: Calls): Promise<Revocation[]> {
  const all: Revocation[] = [];
  await calls.lines<Revocation>("GET", "revocations", undefined, (one) => all.push(one));
  return all;
}

/** A question to ask of each line of the ledger: is it taken back? */
export async function revoked(calls: Calls): Promise<(entry: { jti: string; sub: number; issued: string }) => boolean> {
  const tokens = new Set<string>();
  const users = new Map<number, number>();
  for (const { kind, jti, sub, issuedUpTo } of await revocations(calls)) {
    if (kind === "token") tokens.add(jti!);
    else users.set(sub!, Math.max(users.get(sub!) ?? 0, kind === "user" ? Infinity : Date.parse(issuedUpTo!)));
  }
  return ({ jti, sub, issued }) => tokens.has(jti) || Date.parse(issued) <= (users.get(sub) ?? -1);
}
