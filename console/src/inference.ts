// One request in the protocol's binary form, and its answer.

import { call } from "./api.ts";
import { countOf, SIZES, type TensorValue } from "./tensors.ts";

const LENGTH = "Inference-Header-Content-Length";

export interface Answer {
  version: string;
  outputs: TensorValue[];
  seconds: number; // as the browser saw it
}

export async function infer(reference: string, inputs: TensorValue[]): Promise<Answer> {
  const described = inputs.map(({ name, datatype, shape, data }) => ({
    name,
    datatype,
    shape,
    parameters: { binary_data_size: data.byteLength },
  }));
  const head = new TextEncoder().encode(JSON.stringify({ inputs: described, parameters: { binary_data_output: true } }));
  const body = new Blob([head, ...inputs.map(({ data }) => data as Uint8Array<ArrayBuffer>)]);
  const began = performance.now();
  const response = await call(`engines/${encodeURIComponent(reference)}/infer`, {
    method: "POST",
    body,
    headers: { "Content-Type": "application/octet-stream", [LENGTH]: String(head.byteLength) },
  });
  const bytes = new Uint8Array(await response.arrayBuffer());
  const seconds = (performance.now() - began) / 1000;
  return { ...read(bytes, Number(response.headers.get(LENGTH) ?? bytes.byteLength)), seconds };
}

function read(bytes: Uint8Array, length: number): { version: string; outputs: TensorValue[] } {
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(0, length))) as {
    model_version: string;
    outputs: { name: string; datatype: string; shape: number[]; parameters?: { binary_data_size?: number } }[];
  };
  let at = length;
  const outputs = head.outputs.map(({ name, datatype, shape, parameters }) => {
    const size = parameters?.binary_data_size ?? countOf(shape) * (SIZES[datatype] ?? 1);
    const data = bytes.slice(at, at + size);
    at += size;
    return { name, datatype, shape, data };
  });
  return { version: head.model_version, outputs };
}
