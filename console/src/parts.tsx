// Small pieces that several views show.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { Problem } from "./api.ts";

export function Failure({ error }: { error: Error | string | undefined }) {
  if (!error) return null;
  const code = error instanceof Problem && error.status ? ` (${error.status} ${error.code})` : "";
  return (
    <p class="failure" role="alert">
      {typeof error === "string" ? error : error.message}
      {code}
    </p>
  );
}

/** A state in words; the colour only repeats it. */
export function State({ state }: { state: string }) {
  return <span class={`state state-${state.toLowerCase()}`}>{state}</span>;
}

/** A table that scrolls in itself where the window is narrow, also by keyboard. */
export function Table({ label, head, children }: { label: string; head: string[]; children: ComponentChildren }) {
  return (
    <div class="overflow-auto" role="region" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {head.map((column) => (
              <th scope="col" key={column}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export function Facts({ facts }: { facts: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

/** Text to copy. Without TLS a browser has no clipboard for pages of other machines: then it is selected. */
export function Snippet({ title, text }: { title: string; text: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async (event: MouseEvent): Promise<void> => {
    const code = (event.currentTarget as HTMLElement).parentElement?.querySelector("pre");
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
    } else if (code) {
      getSelection()?.selectAllChildren(code);
      document.execCommand("copy");
    }
    setCopied(true);
  };
  return (
    <details class="snippet">
      <summary>{title}</summary>
      <button type="button" class="secondary" onClick={copy}>
        {copied ? "Copied" : `Copy ${title}`}
      </button>
      <pre tabIndex={0} aria-label={title}>
        <code>{text}</code>
      </pre>
    </details>
  );
}
