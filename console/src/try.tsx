// Try an engine: a form made from its inputs, its answer, and the same request for other clients.

import { useEffect, useState } from "preact/hooks";

import { token } from "./api.ts";
import { type Engine, refOf, shownSeconds } from "./engine.ts";
import { type Answer, infer } from "./inference.ts";
import { beginning, type Filling, InputForm, tensorOf } from "./inputs_form.tsx";
import { Output } from "./output.tsx";
import { Failure, Snippet } from "./parts.tsx";
import { curl, hasStrings, httpx, isSmall, isText, jsonOf, type Sent, tritonclient, trtserve } from "./snippets.ts";

export function Try({ engine }: { engine: Engine }) {
  const described = JSON.stringify(engine.inputs);
  const [fillings, setFillings] = useState<Filling[]>([]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Error>();
  const [result, setResult] = useState<{ answer: Answer; sent: Sent }>();
  useEffect(() => setFillings(engine.inputs.map(beginning)), [described]);

  const run = async (): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      const made = await Promise.all(engine.inputs.map((tensor, i) => tensorOf(tensor, fillings[i] ?? beginning(tensor))));
      const inputs = made.map(({ value }) => value);
      const answer = await infer(refOf(engine), inputs);
      const sources = made.map(({ source }) => source);
      const origin = new URL(".", location.href).href.replace(/\/$/, "");
      const current = engine.names.find((name) => name.current); // another version's name would reach the current one
      const model = current?.name ?? refOf(engine);
      setResult({ answer, sent: { origin, model, engine: refOf(engine), token: token.get() !== "", inputs, sources } });
    } catch (failure) {
      setResult(undefined);
      setError(failure as Error);
    } finally {
      setBusy(false);
    }
  };

  if (!engine.inputs.length) return <p>Its inputs are known once it is loaded.</p>;
  return (
    <>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void run();
        }}
      >
        {engine.inputs.map((tensor, i) => (
          <InputForm
            key={tensor.name}
            tensor={tensor}
            filling={fillings[i] ?? beginning(tensor)}
            fill={(filling) => setFillings(engine.inputs.map((other, j) => (j === i ? filling : (fillings[j] ?? beginning(other)))))}
          />
        ))}
        <button type="submit" aria-busy={busy} disabled={busy}>
          Run
        </button>
      </form>
      <Failure error={error} />
      <div aria-live="polite">{result && <p>{`Version ${result.answer.version} answered in ${shownSeconds(result.answer.seconds)}, as this browser saw it.`}</p>}</div>
      {result && <h2>Outputs</h2>}
      {result?.answer.outputs.map((tensor) => (
        <Output key={tensor.name} tensor={tensor} labels={labelsOf(engine)} />
      ))}
      {result && <SameRequest sent={result.sent} />}
    </>
  );
}

/** The names of classes that Ultralytics' exporter writes beside a plan. */
function labelsOf(engine: Engine): string[] {
  const names = engine.metadata?.names;
  return typeof names === "object" && names !== null ? Object.values(names).map(String) : [];
}

function SameRequest({ sent }: { sent: Sent }) {
  return (
    <>
      <h2>The same request</h2>
      {sent.token && (
        <p>
          The token is taken from the environment, <code>TRTSERVE_TOKEN</code>.
        </p>
      )}
      {isText(sent) && <Snippet title="curl" text={curl(sent)} />}
      {isText(sent) && !isSmall(sent) && <SaveBody sent={sent} />}
      <Snippet title="Python: tritonclient" text={tritonclient(sent)} />
      {hasStrings(sent) ? <Snippet title="Python: trtserve" text={trtserve(sent)} /> : <Snippet title="Python: httpx" text={httpx(sent)} />}
    </>
  );
}

/** The body for curl, where it is too long for a command line. */
function SaveBody({ sent }: { sent: Sent }) {
  const save = (): void => {
    const address = URL.createObjectURL(new Blob([jsonOf(sent)], { type: "application/json" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = "request.json";
    link.click();
    URL.revokeObjectURL(address);
  };
  return (
    <button type="button" class="secondary" onClick={save}>
      Save request.json for curl
    </button>
  );
}
