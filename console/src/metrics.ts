// Reads the text that GET /metrics gives to Prometheus, and works out what happened between two such texts.

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Where to ask for some metrics only; `id`: of the engines' series only those of this one. */
export function metricsPath(names: string[], id?: string): string {
  const asked = names.map((name) => ["name[]", name]);
  return `metrics?${new URLSearchParams(id === undefined ? asked : [...asked, ["id[]", id]])}`;
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES: Record<string, string> = { n: "\n" };

/** The samples whose names begin with `prefix`. */
export function parse(text: string, prefix = ""): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("#") || !line.startsWith(prefix)) continue;
    const [, name, labels, value] = LINE.exec(line) ?? [];
    if (name !== undefined && value !== undefined) samples.push({ name, labels: read(labels ?? ""), value: number(value) });
  }
  return samples;
}

function read(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, name, value] of text.matchAll(LABEL)) {
    if (name !== undefined && value !== undefined) labels[name] = value.replace(/\\(.)/g, (_, c: string) => ESCAPES[c] ?? c);
  }
  return labels;
}

function number(text: string): number {
  return text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text);
}

/** Counts up to each bound, all counted from zero; the last bound is infinite. */
export interface Buckets {
  bounds: number[];
  counts: number[];
}

/** The metrics that a Look is read from. */
export const LOOKED_AT = ["trtserve_requests", "trtserve_request_total_seconds", "trtserve_batch_items", "trtserve_queue_depth"];

/** What is known of one engine at one moment. */
export interface Look {
  at: number; // seconds
  requests: Record<string, number>; // by outcome
  total: Buckets; // seconds from arrival to completion
  items: number;
  executions: number;
  queue: number;
}

/** What one engine's samples say, under all its names together. `at`: seconds, from any clock that only goes forward. */
export function lookAt(samples: Sample[], id: string, at: number): Look {
  const look: Look = { at, requests: {}, total: { bounds: [], counts: [] }, items: 0, executions: 0, queue: 0 };
  for (const { name, labels, value } of samples) {
    if (labels.id !== id) continue;
    if (name === "trtserve_requests_total") {
      const outcome = labels.outcome ?? "";
      look.requests[outcome] = (look.requests[outcome] ?? 0) + value;
    } else if (name === "trtserve_request_total_seconds_bucket") {
      const bound = number(labels.le ?? "");
      const known = look.total.bounds.indexOf(bound);
      const i = known < 0 ? look.total.bounds.push(bound) - 1 : known;
      look.total.counts[i] = (look.total.counts[i] ?? 0) + value;
    } else if (name === "trtserve_batch_items_sum") look.items += value;
    else if (name === "trtserve_batch_items_count") look.executions += value;
    else if (name === "trtserve_queue_depth") look.queue += value;
  }
  return look;
}

/** A point of the charts; null: nothing to say, as no request ended. */
export interface Point {
  at: number;
  throughput: number; // successful requests a second
  failures: number; // others a second
  p50: number | null; // seconds
  p99: number | null;
  queue: number;
  batch: number | null; // items of an execution, on average
}

/** What happened between two looks at one engine. A counter that went down began anew. */
export function between(before: Look, after: Look): Point {
  const seconds = after.at - before.at;
  const grew = (now: number, then: number): number => (now >= then ? now - then : now);
  let throughput = 0;
  let failures = 0;
  for (const [outcome, count] of Object.entries(after.requests)) {
    const rate = grew(count, before.requests[outcome] ?? 0) / seconds;
    if (outcome === "Success") throughput += rate;
    else failures += rate;
  }
  const counts = after.total.counts.map((count, i) => grew(count, before.total.counts[i] ?? 0));
  const executions = grew(after.executions, before.executions);
  return {
    at: after.at,
    throughput,
    failures,
    p50: quantile({ bounds: after.total.bounds, counts }, 0.5),
    p99: quantile({ bounds: after.total.bounds, counts }, 0.99),
    queue: after.queue,
    batch: executions > 0 ? grew(after.items, before.items) / executions : null,
  };
}

/** Interpolated within its bucket, as Prometheus's histogram_quantile does; null if nothing was counted. */
export function quantile({ bounds, counts }: Buckets, share: number): number | null {
  const all = counts.at(-1) ?? 0;
  if (all <= 0) return null;
  const rank = share * all;
  const i = counts.findIndex((count) => count >= rank);
  const low = i > 0 ? (bounds[i - 1] ?? 0) : 0;
  const high = bounds[i] ?? Infinity;
  if (high === Infinity) return low; // all that is known is that it is above
  const below = i > 0 ? (counts[i - 1] ?? 0) : 0;
  const inside = (counts[i] ?? 0) - below;
  return inside > 0 ? low + (high - low) * ((rank - below) / inside) : high;
}
