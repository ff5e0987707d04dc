// The request that was sent, for a shell and for Python.

import type { Normalisation } from "./image.ts";
import { layoutOf, NORMALISATIONS } from "./image.ts";
import { countOf, decode, NUMPY, STRINGS, textsOf, type TensorValue } from "./tensors.ts";

const MOST_INLINE = 64; // numbers, or strings, of all inputs together
const MOST_INLINE_BYTES = 4096; // of a tensor of strings

/** Where an input's values came from. */
export type Source =
  | { kind: "random"; low: number; high: number }
  | { kind: "zeros" }
  | { kind: "npy"; file: string }
  | { kind: "text" }
  | { kind: "file"; file: string } // the only string
  | { kind: "image"; file: string; how: Normalisation };

export interface Sent {
  origin: string; // of the server
  model: string; // a name, or an ID in digits
  engine: string;
  token: boolean; // whether the server wants one; it is not shown
  inputs: TensorValue[];
  sources: Source[];
}

export const isSmall = ({ inputs }: Sent): boolean =>
  inputs.reduce((sum, { shape }) => sum + countOf(shape), 0) <= MOST_INLINE &&
  inputs.every(({ datatype, data }) => datatype !== STRINGS || data.byteLength <= MOST_INLINE_BYTES);

export const hasStrings = ({ inputs }: Sent): boolean => inputs.some(({ datatype }) => datatype === STRINGS);

/** Whether JSON can have the inputs: all but strings that are no text. */
export const isText = ({ inputs }: Sent): boolean => inputs.every((input) => input.datatype !== STRINGS || textsOf(input) !== null);

/** The request as JSON: what curl sends. */
export function jsonOf({ inputs }: Sent): string {
  const tensors = inputs.map((input) => {
    const data =
      input.datatype === STRINGS
        ? (textsOf(input) ?? []).map((text) => JSON.stringify(text))
        : decode(input).map((value) => (input.datatype === "BOOL" ? String(value === 1) : String(value)));
    const head = JSON.stringify({ name: input.name, datatype: input.datatype, shape: input.shape });
    return `${head.slice(0, -1)},"data":[${data.join(",")}]}`;
  });
  return `{"inputs":[${tensors.join(",")}]}`;
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

export function curl(sent: Sent): string {
  const header = sent.token ? ' \\\n  -H "Authorization: Bearer $TRTSERVE_TOKEN"' : "";
  const body = isSmall(sent) ? quoted(jsonOf(sent)) : "@request.json";
  return `curl ${quoted(`${sent.origin}/engines/${sent.engine}/infer`)} \\
  -H 'Content-Type: application/json'${header} \\
  --data-binary ${body}
`;
}

export function tritonclient(sent: Sent): string {
  const headers = sent.token ? ', headers={"Authorization": f"Bearer {os.environ[\'TRTSERVE_TOKEN\']}"}' : "";
  const tls = sent.origin.startsWith("https:") ? ", ssl=True" : "";
  const inputs = sent.inputs.map(({ name, datatype, shape }, i) => {
    const text = JSON.stringify(name);
    return `input_${i} = httpclient.InferInput(${text}, [${shape.join(", ")}], "${datatype}")\ninput_${i}.set_data_from_numpy(x${i})`;
  });
  const listed = sent.inputs.map((_, i) => `input_${i}`).join(", ");
  return `# pip install 'tritonclient[http]'${imports(sent, ["import tritonclient.http as httpclient"])}
${arrays(sent)}
client = httpclient.InferenceServerClient("${sent.origin.replace(/^\w+:\/\//, "")}"${tls})
${inputs.join("\n")}
result = client.infer(${JSON.stringify(sent.model)}, [${listed}]${headers})
for output in result.get_response()["outputs"]:
    print(output["name"], result.as_numpy(output["name"]))
`;
}

export function httpx(sent: Sent): string {
  const token = sent.token ? `\n    "Authorization": f"Bearer {os.environ['TRTSERVE_TOKEN']}",` : "";
  const inputs = sent.inputs.map(({ name }, i) => `${JSON.stringify(name)}: x${i}`).join(", ");
  return `# pip install httpx safetensors numpy${imports(sent, ["import httpx", "from safetensors.numpy import load, save"])}
${arrays(sent)}
headers = {
    "Content-Type": "application/x-safetensors",${token}
}
body = save({${inputs}})
response = httpx.post("${sent.origin}/engines/${sent.engine}/infer", content=body, headers=headers)
response.raise_for_status()
for name, value in load(response.content).items():
    print(name, value)
`;
}

/** For inputs with strings, which safetensors do not have. */
export function trtserve(sent: Sent): string {
  const inputs = sent.inputs.map(({ name }, i) => `${JSON.stringify(name)}: x${i}`).join(", ");
  const token = sent.token ? `, token=os.environ["TRTSERVE_TOKEN"]` : "";
  return `# pip install trtserve${imports(sent, ["from trtserve.client import Client"])}
${arrays(sent)}
with Client("${sent.origin}"${token}) as client:
    for name, value in client.infer("${sent.engine}", {${inputs}}).items():
        print(name, value)
`;
}

function imports(sent: Sent, more: string[]): string {
  const image = sent.sources.some(({ kind }) => kind === "image");
  const lines = [...(sent.token ? ["import os"] : []), ...more, "import numpy as np", ...(image ? ["from PIL import Image"] : [])];
  return `\n${lines.join("\n")}\n`;
}

function arrays(sent: Sent): string {
  return sent.inputs.map((input, i) => `x${i} = ${array(`x${i}`, input, sent.sources[i], isSmall(sent))}\n`).join("");
}

function array(variable: string, input: TensorValue, source: Source | undefined, small: boolean): string {
  const shape = `[${input.shape.join(", ")}]`;
  const dtype = `np.${NUMPY[input.datatype]?.name ?? "float32"}`;
  if (input.datatype === STRINGS) {
    const strings = source?.kind === "file" ? `open(${JSON.stringify(source.file)}, "rb").read()` : (textsOf(input) ?? []).map((text) => JSON.stringify(text)).join(", ");
    return `np.array([${strings}], object).reshape(${shape})`;
  }
  if (source?.kind === "npy") return `np.load(${JSON.stringify(source.file)})`;
  if (source?.kind === "image") return picture(variable, input, source, dtype, shape);
  if (source?.kind === "zeros") return `np.zeros(${shape}, ${dtype})`;
  if (small) return `np.array([${decode(input).map(number).join(", ")}]).astype(${dtype}).reshape(${shape})`;
  if (source?.kind !== "random") return `np.zeros(${shape}, ${dtype})`;
  return `np.random.default_rng().uniform(${source.low}, ${source.high}, ${shape}).astype(${dtype})`;
}

function number(value: number | bigint): string {
  if (typeof value === "bigint" || Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? "np.nan" : value > 0 ? "np.inf" : "-np.inf";
}

function picture(variable: string, input: TensorValue, source: Extract<Source, { kind: "image" }>, dtype: string, shape: string): string {
  const layout = layoutOf(input.shape);
  if (!layout) return `np.zeros(${shape}, ${dtype})`;
  const { mean, deviation } = NORMALISATIONS[source.how];
  const mode = layout.channels === 3 ? "RGB" : "L";
  const of = (values: readonly number[]): string => (layout.channels === 3 ? `np.array([${values.join(", ")}])` : String(values[0]));
  const turned = layout.channelsFirst && layout.channels === 3 ? ".transpose(2, 0, 1)" : "";
  return `Image.open(${JSON.stringify(source.file)}).convert("${mode}").resize((${layout.width}, ${layout.height}))
${variable} = ((np.asarray(${variable}) / 255 - ${of(mean)}) / ${of(deviation)})${turned}
${variable} = np.ascontiguousarray(${variable}, ${dtype}).reshape(${shape})  # safetensors writes memory as it lies`;
}
