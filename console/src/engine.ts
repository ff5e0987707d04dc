// Engines as GET /engines describes them, and how a person reads of them.

export interface Range {
  min: number[];
  opt: number[];
  max: number[];
}

export interface Tensor {
  name: string;
  datatype: string;
  shape: number[] | null;
  computed_as: string | null;
  profiles?: Range[];
}

export interface Engine {
  id: number;
  digest: string;
  name: string | null;
  version: number | null;
  names: { name: string; version: number; current: boolean }[];
  state: string;
  reason: string | null;
  backend: string;
  format: string;
  device: string;
  instances: number;
  max_queue_size: number;
  cuda_graphs: string;
  max_batch_size: number | string;
  why_not_joined: string | null;
  max_queue_delay_us: number | string;
  latency_target_us: number;
  preferred_batch_sizes: number[];
  batch_dims: Record<string, number>;
  joins_requests: boolean | null;
  executions_stuck: number;
  plan_bytes: number;
  created: string;
  load_seconds: number | null;
  residency: string;
  memory: Record<string, Record<string, number>>;
  cold_start_seconds: number | null;
  replicas: { device: string; instances: number; alive: boolean; reason: string | null }[];
  inputs: Tensor[];
  outputs: Tensor[];
  properties: Record<string, string>;
  build: { phase: string | null; percent: number | null; log: string | null; reason: string | null } | null;
  change: { state: string; reason: string | null } | null;
  uses: number[];
  used_by: number[];
  metadata: Record<string, unknown> | null;
}

export interface Name {
  name: string;
  current: number;
  versions: { version: number; id: number; state: string; reason: string | null }[];
}

/** What the engine is called in an address: by ID, which stays, whatever happens to its names. */
export const refOf = (engine: Engine): string => String(engine.id);

export const titleOf = (engine: Engine): string => engine.name ?? String(engine.id);

export function shownNames(engine: Engine): string {
  return engine.names.map(({ name, version, current }) => `${name} v${version}${current ? " (current)" : ""}`).join(", ");
}

export function shownShape(shape: number[] | null): string {
  return shape === null ? "any shape" : `[${shape.map((size) => (size < 0 ? "?" : size)).join(", ")}]`;
}

export function bytesOf(engine: Engine): number {
  return Object.values(engine.memory).flatMap(Object.values<number>).reduce((sum, size) => sum + size, 0);
}

export function shownBytes(size: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = size >= 1 ? Math.min(Math.floor(Math.log(size) / Math.log(1024)), units.length - 1) : 0;
  return `${(size / 1024 ** step).toFixed(Math.min(step, 1))} ${units[step]}`;
}

export function shownSeconds(seconds: number): string {
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  return seconds < 1 ? `${(seconds * 1e3).toFixed(seconds < 0.1 ? 2 : 0)} ms` : `${seconds.toFixed(2)} s`;
}
