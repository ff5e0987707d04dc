import assert from "node:assert/strict";
import { test } from "node:test";

import { between, LOOKED_AT, lookAt, metricsPath, parse, quantile } from "../src/metrics.ts";

const page = (requests: number, slow: number, items: number): string => `
# HELP trtserve_requests_total Requests.
trtserve_requests_total{engine="net",id="1",outcome="Success"} ${requests}.0
trtserve_requests_total{engine="net",id="1",outcome="ExecutionFailed"} 0.0
trtserve_requests_total{engine="other",id="2",outcome="Success"} 999.0
trtserve_request_total_seconds_bucket{engine="net",id="1",le="0.001"} ${requests - slow}.0
trtserve_request_total_seconds_bucket{engine="net",id="1",le="0.01"} ${requests}.0
trtserve_request_total_seconds_bucket{engine="net",id="1",le="+Inf"} ${requests}.0
trtserve_batch_items_sum{engine="net",id="1"} ${items}.0
trtserve_batch_items_count{engine="net",id="1"} ${items / 4}.0
trtserve_queue_depth{engine="net",id="1"} 3.0
process_cpu_seconds_total 1.5
`;

test("only samples with the prefix are read, with their labels", () => {
  const samples = parse(page(10, 0, 40), "trtserve_queue");
  assert.deepEqual(samples, [{ name: "trtserve_queue_depth", labels: { engine: "net", id: "1" }, value: 3 }]);
});

test("escaped labels are what they were", () => {
  const [sample] = parse('a{b="say \\"x\\", \\\\ and\\nmore",c="}"} 1');
  assert.deepEqual(sample?.labels, { b: 'say "x", \\ and\nmore', c: "}" });
});

test("rates and quantiles are those between two looks, of one engine", () => {
  const before = lookAt(parse(page(100, 10, 400)), "1", 10);
  const after = lookAt(parse(page(200, 60, 800)), "1", 12);
  const point = between(before, after);
  assert.equal(point.throughput, 50);
  assert.equal(point.failures, 0);
  assert.equal(point.p50, 0.001); // 50 of 100 were quick
  assert.ok(Math.abs((point.p99 ?? 0) - 0.00982) < 1e-9);
  assert.equal(point.queue, 3);
  assert.equal(point.batch, 4);
});

test("an engine that names share is the sum over them", () => {
  const other = page(30, 3, 120).replaceAll('engine="net"', 'engine="alias"').replace(/.*queue_depth.*\n/, "");
  const look = lookAt(parse(page(100, 10, 400) + other), "1", 0);
  assert.deepEqual(look.requests, { Success: 130, ExecutionFailed: 0 });
  assert.deepEqual(look.total, { bounds: [0.001, 0.01, Infinity], counts: [117, 130, 130] });
  assert.deepEqual([look.items, look.executions, look.queue], [520, 130, 3]);
});

test("a counter that began anew counts from zero", () => {
  const point = between(lookAt(parse(page(500, 0, 400)), "1", 0), lookAt(parse(page(10, 0, 40)), "1", 1));
  assert.equal(point.throughput, 10);
});

test("without requests there is no quantile and no batch", () => {
  const look = lookAt(parse(page(100, 10, 400)), "1", 0);
  const point = between(look, { ...look, at: 1 });
  assert.deepEqual([point.throughput, point.p50, point.p99, point.batch], [0, null, null, null]);
});

test("a quantile above the last bound is that bound", () => {
  assert.equal(quantile({ bounds: [1, Infinity], counts: [0, 5] }, 0.5), 1);
});

test("only the metrics that are shown are asked for, of one engine", () => {
  assert.equal(metricsPath(["a", "b"]), "metrics?name%5B%5D=a&name%5B%5D=b");
  const asked = new URLSearchParams(metricsPath(LOOKED_AT, "17").split("?")[1]);
  assert.deepEqual(asked.getAll("id[]"), ["17"]);
  const names = page(1, 0, 4).matchAll(/^(trtserve_\w+?)(?:_total|_bucket|_sum|_count)?\{/gm);
  assert.deepEqual(new Set(asked.getAll("name[]")), new Set([...names].map(([, name]) => name)));
});
