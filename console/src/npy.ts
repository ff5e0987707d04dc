// Reads .npy files. Source: numpy.lib.format, "Format Version 1.0" to "3.0".

import { NUMPY } from "./tensors.ts";

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/** The tensor in the file. Throws an Error that says what is wrong with it. */
export function readNpy(bytes: Uint8Array): { datatype: string; shape: number[]; data: Uint8Array } {
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) throw new Error("The file is not an .npy file.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const begin = bytes[6] === 1 ? 10 : 12;
  const length = bytes[6] === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  const head = new TextDecoder().decode(bytes.subarray(begin, begin + length));
  const code = /'descr':\s*'([^']+)'/.exec(head)?.[1];
  const dimensions = /'shape':\s*\(([^)]*)\)/.exec(head)?.[1];
  if (code === undefined || dimensions === undefined) throw new Error("The .npy file has a head that cannot be read.");
  if (/'fortran_order':\s*True/.test(head)) throw new Error("The .npy file is in Fortran order: save numpy.ascontiguousarray(x).");
  const datatype = Object.keys(NUMPY).find((name) => NUMPY[name]?.code === code);
  if (datatype === undefined) throw new Error(`The .npy file holds ${code}; the console reads little-endian numbers and bool.`);
  const shape = dimensions.split(",").filter((part) => part.trim()).map(Number);
  return { datatype, shape, data: bytes.subarray(begin + length) };
}
