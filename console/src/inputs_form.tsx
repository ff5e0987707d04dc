// What a person says of each input of a request, and the tensor that it makes.

import { layoutOf, imageTensor, NORMALISATIONS, type Normalisation } from "./image.ts";
import { shownShape, type Tensor } from "./engine.ts";
import { readNpy } from "./npy.ts";
import type { Source } from "./snippets.ts";
import { countOf, encode, isFloat, type TensorValue } from "./tensors.ts";

export const MOST_BYTES = 256 * 1024 ** 2; // of all that a tab keeps of a request

export type Kind = "random" | "zeros" | "npy" | "image";

export interface Filling {
  kind: Kind;
  shape: string;
  low: string;
  high: string;
  file: File | undefined;
  how: Normalisation;
}

/** How a form begins: random values in the shape that the engine is best at, or a small one. */
export function beginning(tensor: Tensor): Filling {
  const best = tensor.profiles?.[0]?.opt;
  const shape = (best ?? tensor.shape ?? [1]).map((size, i) => (size > 0 ? size : usual(tensor, i)));
  return { kind: "random", shape: shape.join(", "), low: "0", high: isFloat(tensor.datatype) ? "1" : "2", file: undefined, how: "0 to 1" };
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
  const kinds: [Kind, string][] = [["random", "Random values"], ["zeros", "Zeros"], ["npy", "An .npy file"], ["image", "An image"]];
  const possible = kinds.filter(([kind]) => kind !== "image" || (tensor.shape?.length ?? 0) >= 3);
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
        {(filling.kind === "npy" || filling.kind === "image") && (
          <div>
            <label for={id}>File</label>
            <input id={id} key={filling.kind} type="file" accept={filling.kind === "npy" ? ".npy" : "image/*"} onChange={(event) => set({ file: event.currentTarget.files?.[0] })} />
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
