// The list of engines: what a person looks at first.

import { useState } from "preact/hooks";

import { get } from "./api.ts";
import { type Engine, bytesOf, refOf, shownBytes, shownNames, titleOf } from "./engine.ts";
import { Failure, State, Table } from "./parts.tsx";
import { linkTo } from "./place.ts";
import { usePolled } from "./polling.ts";

const PERIOD = 3000; // ms
const PAGE = 100; // engines

/** The first engines, at most `most`, and whether there are more. */
async function load(most: number): Promise<{ engines: Engine[]; more: boolean }> {
  const engines: Engine[] = [];
  let path: string | undefined = `engines?limit=${PAGE}`;
  while (path !== undefined && engines.length < most) {
    const page: { engines: Engine[]; next?: string } = await get(path);
    engines.push(...page.engines);
    path = page.next?.replace(/^\//, "");
  }
  return { engines, more: path !== undefined };
}

function matches(engine: Engine, wanted: string): boolean {
  const text = [engine.id, engine.state, engine.backend, engine.format, engine.device, ...engine.names.map(({ name }) => name)];
  return text.join(" ").toLowerCase().includes(wanted.toLowerCase());
}

export function EnginesView() {
  const [most, setMost] = useState(PAGE);
  const [wanted, setWanted] = useState("");
  const { value, error } = usePolled(() => load(most), PERIOD, `engines ${most}`);
  const engines = value?.engines.filter((engine) => matches(engine, wanted));
  return (
    <section>
      <h1>Engines</h1>
      <Failure error={error} />
      {value !== undefined && value.engines.length === 0 && (
        <p>
          There are no engines yet. <a href={linkTo("upload")}>Upload a model.</a>
        </p>
      )}
      {engines !== undefined && value !== undefined && value.engines.length > 0 && (
        <>
          <label>
            Filter
            <input type="search" value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
          </label>
          <Table label="Engines" head={["Engine", "State", "Names", "Runs on", "Batches", "Instances", "Memory"]}>
            {engines.map((engine) => (
              <Row engine={engine} key={engine.id} />
            ))}
          </Table>
          {value.more && (
            <button type="button" class="secondary" onClick={() => setMost(most + PAGE)}>
              Show more
            </button>
          )}
        </>
      )}
    </section>
  );
}

function batches({ max_batch_size: most }: Engine): string {
  if (most === 1) return "single requests";
  return typeof most === "number" ? `up to ${most}` : "known once loaded";
}

function Row({ engine }: { engine: Engine }) {
  const dead = engine.replicas.filter((replica) => !replica.alive);
  return (
    <tr>
      <th scope="row">
        <a href={linkTo("engines", refOf(engine))}>{titleOf(engine)}</a>
      </th>
      <td>
        <State state={engine.state} />
        {engine.build?.percent != null && engine.state === "BUILDING" && ` ${engine.build.percent.toFixed(0)} %`}
        {engine.reason && <p class="reason">{engine.reason}</p>}
        {dead.map(({ device, reason }) => (
          <p class="reason" key={device}>
            {device}: {reason}
          </p>
        ))}
      </td>
      <td>{shownNames(engine) || "—"}</td>
      <td>
        {engine.backend}, {engine.device}
      </td>
      <td>{batches(engine)}</td>
      <td>{engine.replicas.length > 1 ? `${engine.replicas.length} × ${engine.instances}` : engine.instances}</td>
      <td>{bytesOf(engine) ? shownBytes(bytesOf(engine)) : "—"}</td>
    </tr>
  );
}
