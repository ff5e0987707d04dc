// What went wrong lately, and the log's last lines.

import { useState } from "preact/hooks";

import { call, get } from "./api.ts";
import { metricsPath, parse } from "./metrics.ts";
import { Failure, Table } from "./parts.tsx";
import { usePolled } from "./polling.ts";

const PERIOD = 3000; // ms
const LEVELS = ["debug", "info", "warning", "error"];

interface Line {
  time: string;
  level: string;
  logger: string;
  message: string;
  exception: string | null;
}

export function LogView() {
  const [level, setLevel] = useState("info");
  const { value, error } = usePolled(() => get<{ lines: Line[] }>(`logs?limit=200&level=${level}`), PERIOD, level);
  return (
    <section>
      <h1>Errors and log</h1>
      <ErrorAnswers />
      <h2>Last lines of the log</h2>
      <label for="log-level">Lowest level</label>
      <select id="log-level" value={level} onChange={(event) => setLevel(event.currentTarget.value)}>
        {LEVELS.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
      <Failure error={error} />
      {value && !value.lines.length && <p>Nothing has been logged at this level.</p>}
      {value && value.lines.length > 0 && (
        <Table label="Log" head={["Time", "Level", "From", "Message"]}>
          {value.lines.toReversed().map((line, i) => (
            <tr key={`${line.time} ${i}`}>
              <td>
                <time dateTime={line.time}>{new Date(line.time).toLocaleTimeString()}</time>
              </td>
              <td class={`level-${line.level}`}>{line.level}</td>
              <td>{line.logger.replace(/^trtserve\./, "")}</td>
              <td class="message">
                {line.message}
                {line.exception && <pre tabIndex={0}>{line.exception}</pre>}
              </td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}

/** Answers with an error since the start: refused requests are counted, not logged. */
function ErrorAnswers() {
  const { value, error } = usePolled(
    async () => parse(await (await call(metricsPath(["trtserve_errors"]))).text(), "trtserve_errors_total").filter(({ value }) => value > 0),
    PERIOD,
    "errors",
  );
  return (
    <>
      <h2>Error answers since the start</h2>
      <Failure error={error} />
      {value && !value.length && <p>None.</p>}
      {value && value.length > 0 && (
        <Table label="Error answers" head={["Code", "Answers"]}>
          {value.map(({ labels, value: count }) => (
            <tr key={labels.code}>
              <th scope="row">{labels.code}</th>
              <td>{count}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}
