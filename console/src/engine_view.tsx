// One engine, in tabs.

import { get } from "./api.ts";
import { Charts } from "./charts.tsx";
import { type Engine, titleOf } from "./engine.ts";
import { Manage } from "./manage.tsx";
import { Overview } from "./overview.tsx";
import { Failure, State } from "./parts.tsx";
import { linkTo } from "./place.ts";
import { usePolled } from "./polling.ts";
import { Try } from "./try.tsx";

const PERIOD = 2000; // ms
const TABS = [
  ["", "Overview"],
  ["try", "Try"],
  ["charts", "Charts"],
  ["manage", "Versions and memory"],
] as const;

export function EngineView({ reference, tab }: { reference: string; tab: string }) {
  const { value: engine, error, again } = usePolled(
    () => get<Engine>(`engines/${encodeURIComponent(reference)}`),
    PERIOD,
    reference,
  );
  if (engine === undefined) return error ? <Failure error={error} /> : <p aria-busy="true">Loading…</p>;
  return (
    <section>
      <h1>
        {titleOf(engine)} <State state={engine.state} />
      </h1>
      <Failure error={error ?? engine.reason ?? undefined} />
      <nav aria-label="Of this engine">
        <ul class="tabs">
          {TABS.map(([path, title]) => (
            <li key={path}>
              <a
                href={path ? linkTo("engines", reference, path) : linkTo("engines", reference)}
                aria-current={path === tab ? "page" : undefined}
              >
                {title}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      {tab === "" && <Overview engine={engine} />}
      {tab === "try" && <Try engine={engine} />}
      {tab === "charts" && <Charts engine={engine} key={engine.id} />}
      {tab === "manage" && <Manage engine={engine} changed={again} />}
    </section>
  );
}
