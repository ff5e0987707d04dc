// Live charts of one engine, from /metrics alone.

import "uplot/dist/uPlot.min.css";

import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";

import { call } from "./api.ts";
import { type Engine, shownSeconds } from "./engine.ts";
import { between, type Look, LOOKED_AT, lookAt, metricsPath, parse, type Point } from "./metrics.ts";
import { Facts, Failure } from "./parts.tsx";

const PERIOD = 2000; // ms
const KEPT = 300; // points
const HEIGHT = 180; // CSS pixels

interface Line {
  label: string;
  stroke: string;
  of: (point: Point) => number | null;
}

const CHARTS: { title: string; shown: (value: number) => string; lines: Line[] }[] = [
  {
    title: "Throughput",
    shown: (value) => `${value.toFixed(1)}/s`,
    lines: [
      { label: "requests", stroke: "#0172ad", of: ({ throughput }) => throughput },
      { label: "failed or refused", stroke: "#c52f21", of: ({ failures }) => failures },
    ],
  },
  {
    title: "Latency in the server",
    shown: shownSeconds,
    lines: [
      { label: "p50", stroke: "#0172ad", of: ({ p50 }) => p50 },
      { label: "p99", stroke: "#a65b00", of: ({ p99 }) => p99 },
    ],
  },
  { title: "Queue", shown: (value) => value.toFixed(0), lines: [{ label: "waiting requests", stroke: "#0172ad", of: ({ queue }) => queue }] },
  { title: "Batch size", shown: (value) => value.toFixed(1), lines: [{ label: "items of an execution", stroke: "#0172ad", of: ({ batch }) => batch }] },
];

export function Charts({ engine }: { engine: Engine }) {
  const { points, error } = usePoints(String(engine.id));
  const last = points.at(-1);
  return (
    <>
      <Failure error={error} />
      <p>The last {Math.round((PERIOD * KEPT) / 60_000)} minutes at most, since this view was opened. A quantile is that of two seconds.</p>
      <div class="charts">
        {CHARTS.map(({ title, lines, shown }) => (
          <figure key={title}>
            <figcaption>
              <h2>{title}</h2>
            </figcaption>
            <Chart title={title} lines={lines} shown={shown} points={points} />
            <Facts facts={lines.map(({ label, of }): [string, string] => [label, now(last && of(last), shown)])} />
          </figure>
        ))}
      </div>
    </>
  );
}

const now = (value: number | null | undefined, shown: (value: number) => string): string => (value == null ? "—" : shown(value));

function usePoints(id: string): { points: Point[]; error: Error | undefined } {
  const [points, setPoints] = useState<Point[]>([]);
  const [error, setError] = useState<Error>();
  useEffect(() => {
    let before: Look | undefined;
    let timer = 0;
    let ended = false;
    const look = async (): Promise<void> => {
      try {
        const text = await (await call(metricsPath(LOOKED_AT, id))).text();
        if (ended) return;
        const after = lookAt(parse(text, "trtserve_"), id, Date.now() / 1000);
        if (before && after.at > before.at) {
          const point = between(before, after);
          setPoints((known) => [...known.slice(1 - KEPT), point]);
        }
        before = after;
        setError(undefined);
      } catch (failure) {
        if (!ended) setError(failure as Error);
      }
      if (!ended) timer = window.setTimeout(look, PERIOD);
    };
    setPoints([]);
    void look();
    return () => {
      ended = true;
      window.clearTimeout(timer);
    };
  }, [id]);
  return { points, error };
}

/** The numbers below it say the same, for those who do not see it. */
function Chart({ title, lines, shown, points }: { title: string; lines: Line[]; shown: (value: number) => string; points: Point[] }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const colour = getComputedStyle(element).color;
    const axis = { stroke: colour, grid: { stroke: "#80808040" }, ticks: { stroke: "#80808040" } };
    const chart = new uPlot(
      {
        width: element.clientWidth || 400,
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        axes: [axis, { ...axis, size: 70, values: (_, ticks) => ticks.map(shown) }],
        scales: { y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] } },
        series: [{}, ...lines.map(({ label, stroke }) => ({ label, stroke, width: 2, spanGaps: false }))],
      },
      [[], ...lines.map(() => [])],
      element,
    );
    plot.current = chart;
    const watch = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HEIGHT }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      chart.destroy();
    };
  }, []);
  useEffect(() => {
    plot.current?.setData([points.map(({ at }) => at), ...lines.map(({ of }) => points.map(of))]);
  }, [points]);
  return <div ref={place} role="img" aria-label={`Chart: ${title}`} data-points={points.length} />;
}
