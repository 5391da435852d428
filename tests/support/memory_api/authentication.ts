// Who sends a request: the client certificate's names, or a bearer token that this server gave out.
import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { asObject, asText, type Json } from "./json.ts";

/** A user as authorizers see it. */
export interface User {
  readonly name: string;
  readonly groups: readonly string[];
}

const ANONYMOUS: User = { name: "system:anonymous", groups: ["system:unauthenticated"] };
const AUTHENTICATED = "system:authenticated";
const TOKEN_PREFIX = "memory-api-user:";

/** Groups that a user's name implies: administrators, nodes and service accounts. */
export function groupsOf(name: string): readonly string[] {
  if (name === "admin") return ["system:masters"];
  if (name.startsWith("system:node:")) return ["system:nodes"];
  const account = /^system:serviceaccount:([^:]+):[^:]+$/.exec(name);
  return account === null ? [] : ["system:serviceaccounts", `system:serviceaccounts:${account[1] ?? ""}`];
}

/** Bearer token of a user. */
export function tokenOf(name: string): string {
  return `${TOKEN_PREFIX}${encodeURIComponent(name)}`;
}

function certificateUser(request: IncomingMessage): User | undefined {
  const socket = request.socket as Partial<TLSSocket>;
  if (socket.authorized !== true || socket.getPeerCertificate === undefined) return undefined;
  const subject = asObject(socket.getPeerCertificate()?.subject as unknown as Json | undefined);
  const name = asText(subject["CN"]);
  if (name === "") return undefined;
  const groups = [subject["O"] ?? []].flat().map((group) => asText(group));
  return { name, groups: [...groups, AUTHENTICATED] };
}

/** The user of a request; nothing if a token was sent that nobody has. */
export function authenticate(request: IncomingMessage, tokens: ReadonlyMap<string, User>): User | undefined {
  const header = request.headers.authorization ?? "";
  if (header.startsWith("Bearer ")) {
    const token = header.slice("Bearer ".length);
    const known = tokens.get(token);
    if (known !== undefined) return { name: known.name, groups: [...known.groups, AUTHENTICATED] };
    if (!token.startsWith(TOKEN_PREFIX)) return undefined;
    const name = decodeURIComponent(token.slice(TOKEN_PREFIX.length));
    return { name, groups: [...groupsOf(name), AUTHENTICATED] };
  }
  return certificateUser(request) ?? ANONYMOUS;
}
