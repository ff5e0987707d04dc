// Tensors of a request and of its answer: their values, and their bytes in the protocol's binary form.

/** The values of a tensor; of 64-bit integers as bigint, so that none is rounded. */
export type Values = ArrayLike<number> | ArrayLike<bigint>;

export interface TensorValue {
  name: string;
  datatype: string;
  shape: number[];
  data: Uint8Array; // little-endian, row-major
}

export const SIZES: Record<string, number> = {
  BOOL: 1, UINT8: 1, INT8: 1, UINT16: 2, INT16: 2, FP16: 2, BF16: 2, UINT32: 4, INT32: 4, FP32: 4, UINT64: 8, INT64: 8, FP64: 8,
};

/** numpy's names, and those in the head of an .npy file. BF16 has none. */
export const NUMPY: Record<string, { name: string; code: string }> = {
  BOOL: { name: "bool", code: "|b1" }, UINT8: { name: "uint8", code: "|u1" }, INT8: { name: "int8", code: "|i1" },
  UINT16: { name: "uint16", code: "<u2" }, INT16: { name: "int16", code: "<i2" }, UINT32: { name: "uint32", code: "<u4" },
  INT32: { name: "int32", code: "<i4" }, UINT64: { name: "uint64", code: "<u8" }, INT64: { name: "int64", code: "<i8" },
  FP16: { name: "float16", code: "<f2" }, FP32: { name: "float32", code: "<f4" }, FP64: { name: "float64", code: "<f8" },
};

export const isFloat = (datatype: string): boolean => datatype.startsWith("FP") || datatype === "BF16";

/** The datatype whose elements are strings, each behind its length in four bytes. */
export const STRINGS = "BYTES";

const LENGTH_BYTES = 4;

export function encodeStrings(strings: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(strings.reduce((sum, text) => sum + LENGTH_BYTES + text.byteLength, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const text of strings) {
    view.setUint32(at, text.byteLength, true);
    bytes.set(text, at + LENGTH_BYTES);
    at += LENGTH_BYTES + text.byteLength;
  }
  return bytes;
}

/** The strings of a tensor, at most `most` of them. */
export function decodeStrings({ data }: TensorValue, most = Infinity): Uint8Array[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const strings: Uint8Array[] = [];
  for (let at = 0; at < data.byteLength && strings.length < most; ) {
    const begin = at + LENGTH_BYTES;
    at = begin + view.getUint32(at, true);
    strings.push(data.subarray(begin, at));
  }
  return strings;
}

/** The strings as text; null if one is no UTF-8. */
export function textsOf(tensor: TensorValue): string[] | null {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  try {
    return decodeStrings(tensor).map((text) => decoder.decode(text));
  } catch {
    return null;
  }
}

export const countOf = (shape: number[]): number => shape.reduce((product, size) => product * size, 1);

/** Bytes of a tensor whose i-th element is `valueOf(i)`. */
export function encode(datatype: string, count: number, valueOf: (i: number) => number): Uint8Array {
  const size = SIZES[datatype];
  if (size === undefined) throw new Error(`The console cannot write ${datatype}.`);
  const bytes = new Uint8Array(count * size);
  const view = new DataView(bytes.buffer);
  const write = writer(datatype, view);
  for (let i = 0; i < count; i++) write(i * size, valueOf(i));
  return bytes;
}

function writer(datatype: string, view: DataView): (at: number, value: number) => void {
  switch (datatype) {
    case "FP64": return (at, value) => view.setFloat64(at, value, true);
    case "FP32": return (at, value) => view.setFloat32(at, value, true);
    case "FP16": return (at, value) => view.setUint16(at, toHalf(value), true);
    case "BF16": return (at, value) => view.setUint16(at, toBfloat(value), true);
    case "INT64": return (at, value) => view.setBigInt64(at, BigInt(Math.trunc(value)), true);
    case "UINT64": return (at, value) => view.setBigUint64(at, BigInt(Math.trunc(value)), true);
    case "INT32": return (at, value) => view.setInt32(at, value, true);
    case "UINT32": return (at, value) => view.setUint32(at, value, true);
    case "INT16": return (at, value) => view.setInt16(at, value, true);
    case "UINT16": return (at, value) => view.setUint16(at, value, true);
    case "BOOL": return (at, value) => view.setUint8(at, value ? 1 : 0);
    default: return (at, value) => view.setUint8(at, value);
  }
}

/** The values of a tensor, at most `most` of them. */
export function decode({ datatype, shape, data }: TensorValue, most = Infinity): (number | bigint)[] {
  const size = SIZES[datatype] ?? 1;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const read = reader(datatype, view);
  return Array.from({ length: Math.min(countOf(shape), most) }, (_, i) => read(i * size));
}

function reader(datatype: string, view: DataView): (at: number) => number | bigint {
  switch (datatype) {
    case "FP64": return (at) => view.getFloat64(at, true);
    case "FP32": return (at) => view.getFloat32(at, true);
    case "FP16": return (at) => fromHalf(view.getUint16(at, true));
    case "BF16": return (at) => fromBfloat(view.getUint16(at, true));
    case "INT64": return (at) => view.getBigInt64(at, true);
    case "UINT64": return (at) => view.getBigUint64(at, true);
    case "INT32": return (at) => view.getInt32(at, true);
    case "UINT32": return (at) => view.getUint32(at, true);
    case "INT16": return (at) => view.getInt16(at, true);
    case "UINT16": return (at) => view.getUint16(at, true);
    case "INT8": return (at) => view.getInt8(at);
    default: return (at) => view.getUint8(at);
  }
}

const single = new DataView(new ArrayBuffer(4));

function bitsOf(value: number): number {
  single.setFloat32(0, value);
  return single.getUint32(0);
}

/** The bits of a half, rounded to the nearest, ties to even. */
export function toHalf(value: number): number {
  const bits = bitsOf(value);
  const sign = (bits >>> 16) & 0x8000;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | even(size * 2 ** 24); // subnormal: units of 2^-24
  const exponent = Math.floor(Math.log2(size));
  return sign | (((exponent + 15) << 10) + even((size / 2 ** exponent - 1) * 1024));
}

function even(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24);
}

function toBfloat(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  const bits = bitsOf(value);
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

function fromBfloat(bits: number): number {
  single.setUint32(0, (bits << 16) >>> 0);
  return single.getFloat32(0);
}
