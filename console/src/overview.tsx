// All that is known of one engine.

import { type Engine, type Tensor, shownBytes, shownNames, shownSeconds, shownShape } from "./engine.ts";
import { Facts, Table } from "./parts.tsx";
import { linkTo } from "./place.ts";

export function Overview({ engine }: { engine: Engine }) {
  return (
    <>
      <Facts facts={identity(engine)} />
      <h2>Inputs and outputs</h2>
      <Tensors label="Inputs" tensors={engine.inputs} />
      <Tensors label="Outputs" tensors={engine.outputs} />
      <h2>Batches</h2>
      <Facts facts={batching(engine)} />
      <h2>Replicas and memory</h2>
      <Replicas engine={engine} />
      <Facts facts={memory(engine)} />
      {Object.keys(engine.properties).length > 0 && <h2>From the backend</h2>}
      <Facts facts={Object.entries(engine.properties)} />
    </>
  );
}

const identity = (engine: Engine): [string, preact.ComponentChildren][] => [
  ["Names", shownNames(engine) || "none"],
  ["ID", engine.id],
  ["Digest", <code>{engine.digest}</code>],
  ["Format", engine.format],
  ["Backend", engine.backend],
  ["Device", engine.device],
  ["Plan", shownBytes(engine.plan_bytes)],
  ["Created", new Date(engine.created).toLocaleString()],
  ["Load", engine.load_seconds === null ? null : shownSeconds(engine.load_seconds)],
  ["Last cold start", engine.cold_start_seconds === null ? null : shownSeconds(engine.cold_start_seconds)],
  ["Residency", engine.residency],
  ["Build", engine.build && [engine.build.phase, engine.build.log].filter(Boolean).join(": ")],
  ["Uses", engines(engine.uses)],
  ["Used by", engines(engine.used_by)],
];

const batching = (engine: Engine): [string, preact.ComponentChildren][] => [
  ["Most items", engine.max_batch_size],
  ["Joined now", engine.joins_requests === null ? null : engine.joins_requests ? "yes" : "no"],
  ["Why not joined", engine.why_not_joined],
  ["Delay", typeof engine.max_queue_delay_us === "number" ? `${engine.max_queue_delay_us} µs` : engine.max_queue_delay_us],
  ["Latency target", `${engine.latency_target_us} µs`],
  ["Preferred sizes", engine.preferred_batch_sizes.join(", ")],
  ["Batch dimensions", Object.entries(engine.batch_dims).map(([name, dim]) => `${name}: ${dim}`).join(", ")],
  ["Queue", `${engine.max_queue_size} requests`],
  ["CUDA graphs", engine.cuda_graphs],
];

function memory(engine: Engine): [string, preact.ComponentChildren][] {
  return Object.entries(engine.memory).flatMap(([device, kinds]) =>
    Object.entries(kinds).map(([kind, size]): [string, string] => [`${device} ${kind}`, shownBytes(size)]),
  );
}

function engines(ids: number[]) {
  return ids.length ? ids.map((id) => <a key={id} href={linkTo("engines", String(id))}>{`${id} `}</a>) : null;
}

function Tensors({ label, tensors }: { label: string; tensors: Tensor[] }) {
  if (!tensors.length) return <p>{label}: known once it is loaded.</p>;
  return (
    <Table label={label} head={[label, "Datatype", "Shape", "Profiles"]}>
      {tensors.map((tensor) => (
        <tr key={tensor.name}>
          <th scope="row">{tensor.name}</th>
          <td>
            {tensor.datatype}
            {tensor.computed_as && ` (computed as ${tensor.computed_as})`}
          </td>
          <td>{shownShape(tensor.shape)}</td>
          <td>
            {tensor.profiles?.map(({ min, opt, max }) => `${shownShape(min)} to ${shownShape(max)}, best ${shownShape(opt)}`).join("; ") || "—"}
          </td>
        </tr>
      ))}
    </Table>
  );
}

function Replicas({ engine }: { engine: Engine }) {
  if (!engine.replicas.length) return <p>It is not loaded.</p>;
  return (
    <Table label="Replicas" head={["Device", "Instances", "Alive", "Reason"]}>
      {engine.replicas.map((replica) => (
        <tr key={replica.device}>
          <th scope="row">{replica.device}</th>
          <td>{replica.instances}</td>
          <td>{replica.alive ? "yes" : "no"}</td>
          <td>{replica.reason ?? "—"}</td>
        </tr>
      ))}
    </Table>
  );
}
