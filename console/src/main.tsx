// The frame around all views.

import "@picocss/pico/css/pico.min.css";
import "./console.css";

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { get, onRefused } from "./api.ts";
import { EngineView } from "./engine_view.tsx";
import { EnginesView } from "./engines_view.tsx";
import { LogView } from "./log_view.tsx";
import { linkTo, type Place, usePlace } from "./place.ts";
import { after, apply, currentTheme } from "./theme.ts";
import { TokenDialog } from "./token.tsx";
import { UploadView } from "./upload_view.tsx";

const PAGES = [
  ["", "Engines"],
  ["upload", "Upload"],
  ["log", "Log"],
] as const;

function Console() {
  const place = usePlace();
  const main = useRef<HTMLElement>(null);
  const begun = useRef(false);
  const [asking, setAsking] = useState(false);
  useEffect(() => onRefused(() => setAsking(true)), []);
  useEffect(() => {
    if (begun.current) main.current?.focus(); // a screen reader goes on where the page changed
    begun.current = true;
  }, [place]);
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to the content
      </a>
      <Header place={place} askToken={() => setAsking(true)} />
      <main id="main" class="container" ref={main} tabIndex={-1}>
        <View place={place} />
      </main>
      <TokenDialog open={asking} close={() => setAsking(false)} />
    </>
  );
}

function Header({ place, askToken }: { place: Place; askToken: () => void }) {
  const [theme, setTheme] = useState(currentTheme);
  const [version, setVersion] = useState("");
  useEffect(() => {
    get<{ trtserve: string }>("version").then(
      (known) => setVersion(known.trtserve),
      () => undefined, // whoever may not ask sees the rest all the same
    );
  }, []);
  return (
    <header class="container">
      <nav aria-label="Console">
        <ul>
          <li>
            <strong>trtserve</strong> <small>{version}</small>
          </li>
        </ul>
        <ul>
          {PAGES.map(([path, title]) => (
            <li key={path}>
              <a href={path ? linkTo(path) : "#/"} aria-current={(place[0] ?? "") === path ? "page" : undefined}>
                {title}
              </a>
            </li>
          ))}
          <li>
            <a href="docs">API</a>
          </li>
          <li>
            <button type="button" class="outline secondary" onClick={askToken}>
              Token
            </button>
          </li>
          <li>
            <button
              type="button"
              class="outline secondary"
              onClick={() => {
                apply(after(theme));
                setTheme(after(theme));
              }}
            >
              Theme: {theme}
            </button>
          </li>
        </ul>
      </nav>
    </header>
  );
}

function View({ place }: { place: Place }) {
  const [page, reference, tab] = place;
  if (page === undefined) return <EnginesView />;
  if (page === "upload") return <UploadView />;
  if (page === "log") return <LogView />;
  if (page === "engines" && reference !== undefined) {
    return <EngineView reference={reference} tab={tab ?? ""} key={reference} />;
  }
  return (
    <p>
      There is nothing here. <a href="#/">All engines</a>
    </p>
  );
}

apply(currentTheme());
const root = document.getElementById("console");
if (root) render(<Console />, root);
