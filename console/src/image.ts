// An image file as a tensor: resized to the tensor's shape, and normalised.

import { countOf, encode } from "./tensors.ts";

/** How a byte of a channel becomes a number: (byte / 255 - mean) / deviation, or the byte itself. */
export const NORMALISATIONS = {
  "0 to 1": { mean: [0, 0, 0], deviation: [1, 1, 1] },
  "-1 to 1": { mean: [0.5, 0.5, 0.5], deviation: [0.5, 0.5, 0.5] },
  ImageNet: { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] },
  "0 to 255": { mean: [0, 0, 0], deviation: [1 / 255, 1 / 255, 1 / 255] },
} as const;

export type Normalisation = keyof typeof NORMALISATIONS;

export interface Layout {
  channelsFirst: boolean;
  channels: number;
  height: number;
  width: number;
}

/** Where a shape of an image has what; null if it is not that of one image. */
export function layoutOf(shape: number[]): Layout | null {
  const [a, b, c] = shape.slice(-3);
  if (shape.length < 3 || countOf(shape.slice(0, -3)) !== 1 || a === undefined || b === undefined || c === undefined) return null;
  if (a === 1 || a === 3) return { channelsFirst: true, channels: a, height: b, width: c };
  if (c === 1 || c === 3) return { channelsFirst: false, channels: c, height: a, width: b };
  return null;
}

/** Throws an Error if the file is no image, or the shape not that of one. */
export async function imageTensor(file: Blob, datatype: string, shape: number[], how: Normalisation): Promise<Uint8Array> {
  const layout = layoutOf(shape);
  if (!layout) throw new Error(`An image needs a shape such as 1, 3, 224, 224 or 1, 224, 224, 3; this is ${shape.join(", ")}.`);
  const { channelsFirst, channels, height, width } = layout;
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error("The file is not an image that this browser reads.");
  });
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser gives no canvas.");
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const pixels = context.getImageData(0, 0, width, height).data; // RGBA
  const { mean, deviation } = NORMALISATIONS[how];
  const of = (pixel: number, channel: number): number => {
    const at = 4 * pixel;
    const byte = channels === 3 ? (pixels[at + channel] ?? 0) : grey(pixels[at] ?? 0, pixels[at + 1] ?? 0, pixels[at + 2] ?? 0);
    return (byte / 255 - (mean[channel] ?? 0)) / (deviation[channel] ?? 1);
  };
  const area = height * width;
  return encode(datatype, area * channels, (i) => (channelsFirst ? of(i % area, Math.floor(i / area)) : of(Math.floor(i / channels), i % channels)));
}

/** ITU-R BT.601, as PIL's convert("L"). */
const grey = (red: number, green: number, blue: number): number => Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
