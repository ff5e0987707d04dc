// Upload a model: drop a file, say what it is called, and see how far it is.

import { useEffect, useRef, useState } from "preact/hooks";

import { get } from "./api.ts";
import { type Engine, refOf, shownBytes, titleOf } from "./engine.ts";
import { type Asked, loadOptions, type Option, queryOf } from "./options.ts";
import { OptionsForm } from "./options_form.tsx";
import { Failure, State } from "./parts.tsx";
import { linkTo } from "./place.ts";
import { type Sending, sendPlan } from "./sending.ts";

const PERIOD = 1000; // ms between looks at a build

type Step =
  | { at: "choosing" }
  | { at: "sending"; sent: number }
  | { at: "loading"; engine?: Engine }
  | { at: "done"; engine: Engine };

/** A name that the server accepts, from a file's. */
const nameFor = (file: File): string => file.name.replace(/\.[^.]*$/, "").replace(/[^\w.-]/g, "_").replace(/^[^A-Za-z_]/, "_$&").slice(0, 128);

export function UploadView() {
  const [file, setFile] = useState<File>();
  const [name, setName] = useState("");
  const [options, setOptions] = useState<Option[]>([]);
  const [asked, setAsked] = useState<Asked>({});
  const [step, setStep] = useState<Step>({ at: "choosing" });
  const [error, setError] = useState<Error>();
  const sending = useRef<Sending>(null);
  useEffect(() => {
    loadOptions().then(setOptions, setError);
    return () => sending.current?.abort();
  }, []);

  const choose = (chosen: File | undefined): void => {
    if (!chosen) return;
    setFile(chosen);
    setName(nameFor(chosen));
    setStep({ at: "choosing" });
    setError(undefined);
  };

  const upload = async (): Promise<void> => {
    if (!file) return;
    setError(undefined);
    setStep({ at: "sending", sent: 0 });
    try {
      sending.current = sendPlan(file, queryOf({ ...asked, name }, options), (sent) =>
        setStep(sent < file.size ? { at: "sending", sent } : { at: "loading" }),
      );
      let engine = await sending.current.answer;
      while (engine.state === "BUILDING" || engine.state === "LOADING") {
        setStep({ at: "loading", engine });
        await new Promise((resolve) => window.setTimeout(resolve, PERIOD));
        engine = await get<Engine>(`engines/${refOf(engine)}`);
      }
      setStep({ at: "done", engine });
    } catch (failure) {
      setStep({ at: "choosing" });
      setError(failure as Error);
    }
  };

  const busy = step.at === "sending" || step.at === "loading";
  return (
    <section>
      <h1>Upload</h1>
      <p>An ONNX model, a TensorRT plan, an OpenVINO blob or a TorchScript module.</p>
      <DropZone file={file} choose={choose} />
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void upload();
        }}
      >
        <label for="upload-name">Name</label>
        <input id="upload-name" value={name} onInput={(event) => setName(event.currentTarget.value)} spellcheck={false} autocomplete="off" aria-describedby="upload-name-help" />
        <small id="upload-name-help">A new model under a name that exists becomes its next version. Without a name it has its ID only.</small>
        <details>
          <summary>Options</summary>
          <OptionsForm prefix="upload" options={options} asked={asked} ask={setAsked} />
        </details>
        <div class="buttons">
          <button type="submit" disabled={!file || busy}>
            Upload
          </button>
          {step.at === "sending" && (
            <button type="button" class="secondary" onClick={() => sending.current?.abort()}>
              Cancel
            </button>
          )}
        </div>
      </form>
      <Progress step={step} size={file?.size ?? 0} />
      <Failure error={error} />
    </section>
  );
}

function DropZone({ file, choose }: { file: File | undefined; choose: (file: File | undefined) => void }) {
  const [over, setOver] = useState(false);
  return (
    <div
      class={over ? "drop over" : "drop"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        choose(event.dataTransfer?.files[0]);
      }}
    >
      <label for="upload-file">Drop a file here, or choose one</label>
      <input id="upload-file" type="file" onChange={(event) => choose(event.currentTarget.files?.[0])} />
      {file && (
        <p>
          {file.name}, {shownBytes(file.size)}
        </p>
      )}
    </div>
  );
}

function Progress({ step, size }: { step: Step; size: number }) {
  const sent = step.at === "sending" ? step.sent : size;
  const build = step.at === "loading" ? step.engine?.build : undefined;
  return (
    <div aria-live="polite">
      {step.at === "sending" && (
        <>
          <p>
            Sending: {shownBytes(sent)} of {shownBytes(size)}
          </p>
          <progress aria-label="Sent" max={size} value={sent} />
        </>
      )}
      {step.at === "loading" && (
        <>
          <p>
            {step.engine ? <State state={step.engine.state} /> : "All of it has arrived; it is checked and loaded."}{" "}
            {[build?.phase, build?.percent == null ? "" : `${build.percent.toFixed(0)} %`, build?.log].filter(Boolean).join(", ")}
          </p>
          <progress aria-label="Loading" {...(build?.percent == null ? {} : { max: 100, value: build.percent })} />
        </>
      )}
      {step.at === "done" && (
        <p>
          <State state={step.engine.state} /> <a href={linkTo("engines", refOf(step.engine))}>{titleOf(step.engine)}</a>{" "}
          {step.engine.state === "READY" && <a href={linkTo("engines", refOf(step.engine), "try")}>Try it</a>} {step.engine.reason}
        </p>
      )}
    </div>
  );
}
