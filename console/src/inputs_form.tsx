// What a person says of each input of a request, and the tensor that it makes.

import { layoutOf, imageTensor, NORMALISATIONS, type Normalisation } from "./image.ts";
import { shownShape, type Tensor } from "./engine.ts";
import { readNpy } from "./npy.ts";
import type { Source } from "./snippets.ts";
import { countOf, encode, encodeStrings, isFloat, STRINGS, type TensorValue } from "./tensors.ts";

export const MOST_BYTES = 256 * 1024 ** 2; // of all that a tab keeps of a request

export type Kind = "random" | "zeros" | "npy" | "image" | "text" | "file";

export interface Filling {
  kind: Kind;
  shape: string;
  low: string;
  high: string;
  text: string; // of strings: each on its line, or all of it as the only one
  file: File | undefined;
  how: Normalisation;
}

/** How a form begins: random values in the shape that the engine is best at, or a small one. */
export function beginning(tensor: Tensor): Filling {
  const best = tensor.profiles?.[0]?.opt;
  const strings = tensor.datatype === STRINGS;
  const shape = (best ?? tensor.shape ?? [1]).map((size, i) => (size > 0 ? size : strings ? 1 : usual(tensor, i)));
  const high = isFloat(tensor.datatype) ? "1" : "2";
  return { kind: strings ? "text" : "random", shape: shape.join(", "), low: "0", high, text: "", file: undefined, how: "0 to 1" };
}

/** A size for a dimension that each request decides: images have height and width. */
function usual(tensor: Tensor, dimension: number): number {
  const shape = tensor.shape ?? [];
  const channels = shape.length === 4 && (shape[1] === 1 || shape[1] === 3) ? [2, 3] : shape[3] === 1 || shape[3] === 3 ? [1, 2] : [];
  return channels.includes(dimension) ? 224 : dimension === 0 ? 1 : 16;
}

/** The tensor of an input. Throws an Error that says what is wrong. */
export async function tensorOf(tensor: Tensor, filling: Filling): Promise<{ value: TensorValue; source: Source }> {
  const { name, datatype } = tensor;
  if (filling.kind === "npy") {
    if (!filling.file) throw new Error(`Choose an .npy file for ${name}.`);
    const read = readNpy(new Uint8Array(await filling.file.arrayBuffer()));
    return { value: { name, ...read }, source: { kind: "npy", file: filling.file.name } };
  }
  const shape = shapeOf(name, filling.shape);
  if (filling.kind === "image") {
    if (!filling.file) throw new Error(`Choose an image for ${name}.`);
    const data = await imageTensor(filling.file, datatype, shape, filling.how);
    return { value: { name, datatype, shape, data }, source: { kind: "image", file: filling.file.name, how: filling.how } };
  }
  if (datatype === STRINGS) return stringsOf(name, shape, filling);
  const [low, high] = [Number(filling.low), Number(filling.high)];
  const whole = !isFloat(datatype);
  const random = (): number => {
    const value = low + Math.random() * (high - low);
    return whole ? Math.floor(value) : value;
  };
  const zeros = filling.kind === "zeros";
  const data = encode(datatype, countOf(shape), zeros ? () => 0 : random);
  return { value: { name, datatype, shape, data }, source: zeros ? { kind: "zeros" } : { kind: "random", low, high } };
}

async function stringsOf(name: string, shape: number[], { kind, text, file }: Filling): Promise<{ value: TensorValue; source: Source }> {
  if (kind === "file" && !file) throw new Error(`Choose a file for ${name}.`);
  const content = kind === "file" && file ? new Uint8Array(await file.arrayBuffer()) : null;
  const texts = countOf(shape) === 1 ? [text] : text.split("\n");
  const strings = content ? [content] : texts.map((line) => new TextEncoder().encode(line));
  if (strings.length !== countOf(shape)) {
    throw new Error(`The shape of ${name} has ${countOf(shape)} strings, and there are ${strings.length}: ${content ? "a file is one" : "each is on a line"}.`);
  }
  const source: Source = content && file ? { kind: "file", file: file.name } : { kind: "text" };
  return { value: { name, datatype: STRINGS, shape, data: encodeStrings(strings) }, source };
}

function shapeOf(name: string, text: string): number[] {
  const shape = text.split(/[\s,x×]+/).filter(Boolean).map(Number);
  if (!shape.every((size) => Number.isInteger(size) && size >= 0)) {
    throw new Error(`The shape of ${name} is ${text}; it is whole numbers with commas between them, such as 1, 3, 224, 224.`);
  }
  if (countOf(shape) * 8 > MOST_BYTES) throw new Error(`The shape of ${name} is too large for a browser: use a client in Python.`);
  return shape;
}

interface Props {
  tensor: Tensor;
  filling: Filling;
  fill: (filling: Filling) => void;
}

export function InputForm({ tensor, filling, fill }: Props) {
  const id = `input-${tensor.name}`;
  const set = (changed: Partial<Filling>): void => fill({ ...filling, ...changed });
  const numbers: [Kind, string][] = [["random", "Random values"], ["zeros", "Zeros"], ["npy", "An .npy file"], ["image", "An image"]];
  const strings: [Kind, string][] = [["text", "Text"], ["file", "A file, as one string"]];
  const hasFile = filling.kind === "npy" || filling.kind === "image" || filling.kind === "file";
  const accepted: Partial<Record<Kind, string>> = { npy: ".npy", image: "image/*" };
  const possible = (tensor.datatype === STRINGS ? strings : numbers).filter(([kind]) => kind !== "image" || (tensor.shape?.length ?? 0) >= 3);
  return (
    <fieldset>
      <legend>
        <strong>{tensor.name}</strong> {tensor.datatype} {shownShape(tensor.shape)}
      </legend>
      <div class="options">
        <label>
          Values
          <select value={filling.kind} onChange={(event) => set({ kind: event.currentTarget.value as Kind, file: undefined })}>
            {possible.map(([kind, title]) => (
              <option key={kind} value={kind}>
                {title}
              </option>
            ))}
          </select>
        </label>
        {filling.kind !== "npy" && (
          <label>
            Shape
            <input value={filling.shape} onInput={(event) => set({ shape: event.currentTarget.value })} spellcheck={false} autocomplete="off" />
          </label>
        )}
        {filling.kind === "random" && (
          <>
            <label>
              From
              <input type="number" step="any" value={filling.low} onInput={(event) => set({ low: event.currentTarget.value })} />
            </label>
            <label>
              Below
              <input type="number" step="any" value={filling.high} onInput={(event) => set({ high: event.currentTarget.value })} />
            </label>
          </>
        )}
        {filling.kind === "text" && (
          <label>
            Strings, one on each line
            <textarea rows={2} value={filling.text} onInput={(event) => set({ text: event.currentTarget.value })} />
          </label>
        )}
        {hasFile && (
          <div>
            <label for={id}>File</label>
            <input id={id} key={filling.kind} type="file" accept={accepted[filling.kind]} onChange={(event) => set({ file: event.currentTarget.files?.[0] })} />
          </div>
        )}
        {filling.kind === "image" && (
          <label>
            Channels as
            <select value={filling.how} onChange={(event) => set({ how: event.currentTarget.value as Normalisation })}>
              {Object.keys(NORMALISATIONS).map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
      </div>
      {filling.kind === "image" && layoutOf(filling.shape.split(",").map(Number)) && <small>The image is resized to the shape, without keeping its proportions.</small>}
    </fieldset>
  );
}
