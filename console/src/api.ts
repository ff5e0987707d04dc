// Calls the server that the page came from. Addresses are relative, for a prefix that a proxy may add.

const KEPT_AS = "trtserve-token";

/** An answer with an error: a sentence for people and a code for programs. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, sentence: string) {
    super(sentence);
    this.status = status;
    this.code = code;
  }
}

type Listener = () => void;
const refused = new Set<Listener>();

/** Call `listener` whenever the server wants a token that it knows; returns what ends that. */
export function onRefused(listener: Listener): Listener {
  refused.add(listener);
  return () => refused.delete(listener);
}

/** The token of this tab: the browser forgets it with the tab. */
export const token = {
  get: (): string => sessionStorage.getItem(KEPT_AS) ?? "",
  set: (value: string): void => {
    if (value) sessionStorage.setItem(KEPT_AS, value);
    else sessionStorage.removeItem(KEPT_AS);
  },
};

export function authorization(): Record<string, string> {
  return token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
}

/** The error in an answer's body; not every proxy answers as the server does. */
export function problemOf(status: number, body: string): Problem {
  if (status === 401) refused.forEach((listener) => listener());
  try {
    const { error, code } = JSON.parse(body) as { error: string; code: string };
    return new Problem(status, code, error);
  } catch {
    return new Problem(status, "", body.slice(0, 500) || `The server answered with the status ${status}.`);
  }
}

export async function call(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { ...authorization(), ...(init.headers as Record<string, string> | undefined) };
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers, cache: "no-store" });
  } catch (failure) {
    if (failure instanceof DOMException) throw failure;
    throw new Problem(0, "", "The server cannot be reached.");
  }
  if (!response.ok) throw problemOf(response.status, await response.text());
  return response;
}

export async function get<T>(path: string): Promise<T> {
  return (await (await call(path)).json()) as T;
}

export async function send<T>(method: string, path: string, body?: unknown): Promise<T | undefined> {
  const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const text = await (await call(path, { method, ...json })).text();
  return text ? (JSON.parse(text) as T) : undefined;
}
