// Versions of an engine's names, and what may be done with them.

import { useEffect, useState } from "preact/hooks";

import { get, send } from "./api.ts";
import { type Engine, type Name, refOf, titleOf } from "./engine.ts";
import { type Asked, loadOptions, ofLoads, type Option } from "./options.ts";
import { OptionsForm } from "./options_form.tsx";
import { Failure, State, Table } from "./parts.tsx";
import { go, linkTo } from "./place.ts";
import { usePolled } from "./polling.ts";

const PERIOD = 2000; // ms

export function Manage({ engine, changed }: { engine: Engine; changed: () => void }) {
  const names = [...new Set(engine.names.map(({ name }) => name))];
  const { busy, error, told, run } = useActions(changed);
  return (
    <>
      <div aria-live="polite">
        {busy && <p aria-busy="true">{busy}</p>}
        {told && !busy && <p>{told}</p>}
      </div>
      <Failure error={error} />
      {names.map((name) => (
        <Versions key={name} name={name} run={run} busy={!!busy} />
      ))}
      <h2>Options</h2>
      <Options engine={engine} run={run} busy={!!busy} />
      <h2>Memory</h2>
      <Loading engine={engine} name={names[0] ?? refOf(engine)} run={run} busy={!!busy} />
      <h2>Removal</h2>
      <Removal engine={engine} run={run} busy={!!busy} />
    </>
  );
}

type Run = (doing: string, done: string, action: () => Promise<unknown>) => Promise<boolean>;

function useActions(changed: () => void) {
  const [busy, setBusy] = useState("");
  const [told, setTold] = useState("");
  const [error, setError] = useState<Error>();
  const run: Run = async (doing, done, action) => {
    setBusy(doing);
    setError(undefined);
    try {
      await action();
      setTold(done);
      return true;
    } catch (failure) {
      setTold("");
      setError(failure as Error);
      return false;
    } finally {
      setBusy("");
      changed();
    }
  };
  return { busy, told, error, run };
}

function Versions({ name, run, busy }: { name: string; run: Run; busy: boolean }) {
  const { value, error, again } = usePolled(() => get<Name>(`names/${encodeURIComponent(name)}`), PERIOD, name);
  const point = async (version: number): Promise<void> => {
    await run(`Version ${version} becomes current…`, `Version ${version} of ${name} is current.`, () =>
      send("PUT", `names/${encodeURIComponent(name)}`, { current: version }),
    );
    again();
  };
  return (
    <>
      <h2>Versions of {name}</h2>
      <Failure error={error} />
      <Table label={`Versions of ${name}`} head={["Version", "Engine", "State", "Current"]}>
        {value?.versions.map(({ version, id, state, reason }) => (
          <tr key={version}>
            <th scope="row">{version}</th>
            <td>
              <a href={linkTo("engines", String(id), "manage")}>{id}</a>
            </td>
            <td>
              <State state={state} /> {reason && <p class="reason">{reason}</p>}
            </td>
            <td>
              {version === value.current ? (
                "current"
              ) : (
                <button type="button" class="secondary" disabled={busy} onClick={() => point(version)}>
                  Make version {version} current
                </button>
              )}
            </td>
          </tr>
        ))}
      </Table>
    </>
  );
}

/** A load and an unload are of a model: all versions of a name, or an engine without one. */
function Loading({ engine, name, run, busy }: { engine: Engine; name: string; run: Run; busy: boolean }) {
  const model = `v2/repository/models/${encodeURIComponent(name)}`;
  const whom = engine.names.length ? `all versions of ${name}` : `engine ${name}`;
  return (
    <>
      <p>These act on {whom}. Accepted requests finish first.</p>
      <div class="buttons">
        <button type="button" disabled={busy} onClick={() => run("It is loaded…", "It is loaded.", () => send("POST", `${model}/load`, {}))}>
          Load
        </button>
        <button type="button" class="secondary" disabled={busy} onClick={() => run("It is unloaded…", "It is unloaded.", () => send("POST", `${model}/unload`, {}))}>
          Unload
        </button>
      </div>
    </>
  );
}

/** Other options, for the engine alone: it serves while it is loaded with them. */
function Options({ engine, run, busy }: { engine: Engine; run: Run; busy: boolean }) {
  const [options, setOptions] = useState<Option[]>([]);
  const [asked, setAsked] = useState<Asked>({});
  const [failure, setFailure] = useState<Error>();
  useEffect(() => {
    loadOptions().then((all) => setOptions(ofLoads(all)), setFailure);
  }, []);
  const given = Object.entries(asked).filter(([, value]) => value.trim());
  const change = (): Promise<unknown> =>
    send("PATCH", `engines/${refOf(engine)}`, Object.fromEntries(given.map(([option, value]) => [option, value.trim()])));
  return (
    <>
      <Failure error={failure} />
      {engine.change?.state === "FAILED" && <p class="reason">The last change failed: {engine.change.reason}</p>}
      <details>
        <summary>Change options</summary>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void run("It serves on, and is loaded with these options beside that…", "It runs with these options.", change);
          }}
        >
          <p>What is left empty stays as it is. The engine serves meanwhile, which needs memory for two.</p>
          <OptionsForm prefix="change" options={options.map((option) => ({ ...option, fallback: current(engine, option) }))} asked={asked} ask={setAsked} />
          <button type="submit" disabled={busy || !given.length}>
            Run with these options
          </button>
        </form>
      </details>
    </>
  );
}

function current(engine: Engine, option: Option): string {
  const value = (engine as unknown as Record<string, unknown>)[option.name];
  return value === undefined || (typeof value === "object" && value !== null && !Object.keys(value).length) ? "" : String(value);
}

function Removal({ engine, run, busy }: { engine: Engine; run: Run; busy: boolean }) {
  const [asked, setAsked] = useState(false);
  const remove = async (): Promise<void> => {
    const done = await run("It is removed…", "It is removed.", () => send("DELETE", `engines/${refOf(engine)}`));
    if (done) go();
  };
  if (!asked) {
    return (
      <button type="button" class="secondary" disabled={busy} onClick={() => setAsked(true)}>
        Remove the engine…
      </button>
    );
  }
  return (
    <div role="group" aria-label="Confirm the removal" class="buttons">
      <p>
        {titleOf(engine)} goes, with its plan and {engine.names.length || "no"} versions that point to it.
      </p>
      <button type="button" disabled={busy} onClick={remove}>
        Remove it
      </button>
      <button type="button" class="secondary" onClick={() => setAsked(false)}>
        Keep it
      </button>
    </div>
  );
}
