import assert from "node:assert/strict";
import { test } from "node:test";

import { layoutOf } from "../src/image.ts";
import { readNpy } from "../src/npy.ts";
import { curl, httpx, isText, jsonOf, type Sent, tritonclient } from "../src/snippets.ts";
import { decode, decodeStrings, encode, encodeStrings, fromHalf, SIZES, textsOf, toHalf } from "../src/tensors.ts";

test("every datatype is read as it was written", () => {
  for (const datatype of Object.keys(SIZES)) {
    const values = datatype === "BOOL" ? [1, 0, 1] : datatype.startsWith("U") ? [0, 1, 200] : [-2, 0, 100];
    const data = encode(datatype, 3, (i) => values[i] ?? 0);
    const read = decode({ name: "x", datatype, shape: [3], data });
    assert.deepEqual(read.map(Number), values, datatype);
  }
});

test("strings are read as they were written, each behind its length", () => {
  const strings = ["a", "", "hören"].map((text) => new TextEncoder().encode(text));
  const data = encodeStrings(strings);
  assert.deepEqual([...data.subarray(0, 9)], [1, 0, 0, 0, 97, 0, 0, 0, 0]);
  const tensor = { name: "x", datatype: "BYTES", shape: [3], data };
  assert.deepEqual(decodeStrings(tensor).map((text) => [...text]), strings.map((text) => [...text]));
  assert.equal(decodeStrings(tensor, 2).length, 2);
  assert.deepEqual(textsOf(tensor), ["a", "", "hören"]);
});

test("strings that are no text are in no JSON", () => {
  const inputs = [{ name: "x", datatype: "BYTES", shape: [1], data: encodeStrings([Uint8Array.of(0xff, 0xd8)]) }];
  const sent: Sent = { origin: "http://h", model: "m", engine: "1", token: false, inputs, sources: [{ kind: "file", file: "photo.jpg" }] };
  assert.equal(isText(sent), false);
  assert.match(tritonclient(sent), /x0 = np.array\(\[open\("photo.jpg", "rb"\).read\(\)\], object\).reshape\(\[1\]\)/);
});

test("halves are rounded to the nearest, with ties to even, and keep what is not finite", () => {
  for (const [value, bits] of [[1, 0x3c00], [-2, 0xc000], [65504, 0x7bff], [65520, 0x7c00], [5.960464477539063e-8, 1], [1 + 2 ** -11, 0x3c00], [1 + 3 * 2 ** -11, 0x3c02], [Infinity, 0x7c00], [0.1, 0x2e66]] as const) {
    assert.equal(toHalf(value), bits, String(value));
  }
  assert.ok(Number.isNaN(fromHalf(toHalf(NaN))));
  for (let bits = 0; bits < 0x7c00; bits++) assert.equal(toHalf(fromHalf(bits)), bits);
});

test("64-bit integers are exact", () => {
  const data = new Uint8Array(8);
  new DataView(data.buffer).setBigInt64(0, 2n ** 62n + 1n, true);
  assert.deepEqual(decode({ name: "x", datatype: "INT64", shape: [1], data }), [2n ** 62n + 1n]);
});

function npy(head: string, data: number[]): Uint8Array {
  const text = new TextEncoder().encode(head);
  return new Uint8Array([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, text.length, 0, ...text, ...data]);
}

test("an .npy file gives datatype, shape and bytes", () => {
  const read = readNpy(npy("{'descr': '<i2', 'fortran_order': False, 'shape': (1, 2), }", [1, 0, 2, 0]));
  assert.deepEqual([read.datatype, read.shape, [...read.data]], ["INT16", [1, 2], [1, 0, 2, 0]]);
});

test("an .npy file that cannot be used says why", () => {
  assert.throws(() => readNpy(new Uint8Array([1, 2, 3])), /not an .npy/);
  assert.throws(() => readNpy(npy("{'descr': '<i2', 'fortran_order': True, 'shape': (2,), }", [])), /Fortran/);
  assert.throws(() => readNpy(npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", [])), /\|O/);
});

test("shapes of images are told apart", () => {
  assert.deepEqual(layoutOf([1, 3, 8, 9]), { channelsFirst: true, channels: 3, height: 8, width: 9 });
  assert.deepEqual(layoutOf([1, 8, 9, 1]), { channelsFirst: false, channels: 1, height: 8, width: 9 });
  assert.equal(layoutOf([2, 3, 8, 9]), null);
  assert.equal(layoutOf([1, 10]), null);
});

const sent: Sent = {
  origin: "http://127.0.0.1:8000",
  model: "net",
  engine: "5",
  token: true,
  inputs: [{ name: "it's", datatype: "FP32", shape: [1, 2], data: encode("FP32", 2, (i) => i + 0.5) }],
  sources: [{ kind: "random", low: 0, high: 1 }],
};

test("a snippet has the numbers that were sent, quoted for its language, and never the token", () => {
  assert.equal(jsonOf(sent), `{"inputs":[{"name":"it's","datatype":"FP32","shape":[1,2],"data":[0.5,1.5]}]}`);
  assert.ok(curl(sent).includes(`"it'\\''s"`));
  for (const text of [curl(sent), tritonclient(sent), httpx(sent)]) assert.ok(text.includes("TRTSERVE_TOKEN"));
  assert.ok(tritonclient(sent).includes("np.array([0.5, 1.5])"));
});
