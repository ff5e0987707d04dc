// The options of an upload, as the server's own description of its API lists them.

import { get } from "./api.ts";

interface Schema {
  type?: string;
  enum?: string[];
  const?: string;
  anyOf?: Schema[];
  description?: string;
  examples?: unknown[];
  default?: unknown;
}

export interface Option {
  name: string;
  description: string;
  choices: string[]; // empty: any text
  repeated: boolean; // one line each
  example: string;
  fallback: string; // what the server takes if nothing is said; empty: nothing
}

/** Options that only a plan has that is built here, and those that say what is uploaded. */
const OF_UPLOADS = ["name", "format", "backend", "profile", "workspace_bytes", "timing_cache", "tensors"];

export async function loadOptions(): Promise<Option[]> {
  const [api, fallbacks] = await Promise.all([
    get<{ paths: Record<string, { post: { parameters: { in: string; name: string; description?: string; schema: Schema }[] } }> }>("openapi.json"),
    get<Record<string, unknown>>("options"),
  ]);
  const parameters = api.paths["/engines"]?.post.parameters ?? [];
  return parameters
    .filter((parameter) => parameter.in === "query" && parameter.name !== "name")
    .map(({ name, description, schema }) => ({
      name,
      description: (description ?? schema.description ?? "").replaceAll("`", ""),
      choices: choicesOf(schema),
      repeated: [schema, ...(schema.anyOf ?? [])].some(({ type }) => type === "array"),
      example: schema.examples?.length ? String(schema.examples[0]) : "",
      fallback: String(fallbacks[name] ?? schema.default ?? ""),
    }));
}

/** The options that a load can change. */
export const ofLoads = (options: Option[]): Option[] => options.filter(({ name }) => !OF_UPLOADS.includes(name));

/** The words among which to choose; empty where numbers or free text are possible too. */
function choicesOf(schema: Schema): string[] {
  if (schema.type === "boolean") return ["true", "false"];
  if (schema.enum) return schema.enum.map(String);
  const parts = schema.anyOf?.filter(({ type }) => type !== "null") ?? [];
  const words = parts.map((part) => part.enum ?? (part.const === undefined ? [] : [part.const]));
  return parts.length && words.every((found) => found.length) ? words.flat().map(String) : [];
}

export type Asked = Record<string, string>;

/** What was asked for, as a query; what is empty is left to the server. */
export function queryOf(asked: Asked, options: Option[]): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) {
    const repeated = options.find((option) => option.name === name)?.repeated;
    for (const part of repeated ? value.split("\n") : [value]) if (part.trim()) query.append(name, part.trim());
  }
  return query;
}
