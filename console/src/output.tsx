// One output, as numbers, as its greatest values, or as a picture.

import { useEffect, useRef, useState } from "preact/hooks";

import { shownShape } from "./engine.ts";
import { type Layout, layoutOf } from "./image.ts";
import { Table } from "./parts.tsx";
import { countOf, decode, decodeStrings, STRINGS, type TensorValue } from "./tensors.ts";

const SHOWN = 100; // numbers, or strings
const SHOWN_BYTES = 1000; // of a string
const BEST = 5;
const MOST_PIXELS = 4096 * 4096;

type View = "numbers" | "best" | "picture";

export function Output({ tensor, labels }: { tensor: TensorValue; labels: string[] }) {
  const [view, setView] = useState<View>("numbers");
  const strings = tensor.datatype === STRINGS;
  const layout = strings ? null : pictureOf(tensor.shape);
  const classes = strings ? 0 : (tensor.shape.at(-1) ?? 0);
  return (
    <section aria-label={`Output ${tensor.name}`}>
      <h3>
        {tensor.name} <small>{`${tensor.datatype} ${shownShape(tensor.shape)}`}</small>
      </h3>
      <label>
        Show {tensor.name} as
        <select value={view} onChange={(event) => setView(event.currentTarget.value as View)}>
          <option value="numbers">{strings ? "strings" : "numbers"}</option>
          {classes > 1 && <option value="best">greatest values</option>}
          {layout && <option value="picture">a picture</option>}
        </select>
      </label>
      {view === "numbers" && (strings ? <Strings tensor={tensor} /> : <Numbers tensor={tensor} />)}
      {view === "best" && <Best tensor={tensor} labels={labels} />}
      {view === "picture" && layout && <Picture tensor={tensor} layout={layout} />}
    </section>
  );
}

function shownNumber(value: number | bigint): string {
  return typeof value === "bigint" || Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(7)));
}

function Numbers({ tensor }: { tensor: TensorValue }) {
  const count = countOf(tensor.shape);
  const rest = count > SHOWN ? `, … (${count - SHOWN} more)` : "";
  return (
    <pre tabIndex={0} aria-label={`Numbers of ${tensor.name}`}>
      {decode(tensor, SHOWN).map(shownNumber).join(", ") + rest}
    </pre>
  );
}

function Strings({ tensor }: { tensor: TensorValue }) {
  const rest = countOf(tensor.shape) - SHOWN;
  const decoder = new TextDecoder();
  const texts = decodeStrings(tensor, SHOWN).map((text) => decoder.decode(text.subarray(0, SHOWN_BYTES)) + (text.length > SHOWN_BYTES ? "…" : ""));
  return (
    <pre tabIndex={0} aria-label={`Strings of ${tensor.name}`}>
      {texts.join("\n") + (rest > 0 ? `\n… (${rest} more)` : "")}
    </pre>
  );
}

/** Of the first item: the last dimension is that of the classes. */
function Best({ tensor, labels }: { tensor: TensorValue; labels: string[] }) {
  const values = decode(tensor, tensor.shape.at(-1)).map(Number);
  const best = values.map((value, i) => ({ value, i })).sort((a, b) => b.value - a.value).slice(0, BEST);
  return (
    <Table label={`Greatest values of ${tensor.name}`} head={["Class", "Value"]}>
      {best.map(({ value, i }) => (
        <tr key={i}>
          <th scope="row">{labels[i] ? `${i}: ${labels[i]}` : i}</th>
          <td>{shownNumber(value)}</td>
        </tr>
      ))}
    </Table>
  );
}

/** How a tensor's first picture lies in it; the last two dimensions alone are one in grey. */
function pictureOf(shape: number[]): Layout | null {
  const layout = layoutOf([1, ...shape.slice(-3)]);
  const [height, width] = shape.slice(-2);
  const found = layout ?? (height !== undefined && width !== undefined ? { channelsFirst: true, channels: 1, height, width } : null);
  return found && found.height > 1 && found.width > 1 && found.height * found.width <= MOST_PIXELS ? found : null;
}

/** Its least value is black and its greatest white. */
function Picture({ tensor, layout }: { tensor: TensorValue; layout: Layout }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const { channels, channelsFirst, height, width } = layout;
    const area = height * width;
    const values = decode(tensor, area * channels).map(Number);
    const finite = values.filter(Number.isFinite);
    const low = finite.reduce((least, value) => Math.min(least, value), Infinity);
    const range = finite.reduce((most, value) => Math.max(most, value), -Infinity) - low || 1;
    const image = context.createImageData(width, height);
    for (let pixel = 0; pixel < area; pixel++) {
      for (let channel = 0; channel < 3; channel++) {
        const from = channels === 1 ? 0 : channel;
        const value = values[channelsFirst ? from * area + pixel : pixel * channels + from] ?? 0;
        image.data[4 * pixel + channel] = ((value - low) / range) * 255;
      }
      image.data[4 * pixel + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }, [tensor, layout.height, layout.width]);
  return <canvas ref={canvas} class="picture" width={layout.width} height={layout.height} role="img" aria-label={`${tensor.name} as a picture`} />;
}
