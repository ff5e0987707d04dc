// Sends a file as the body of a POST and tells how far it is, which fetch cannot.

import { authorization, Problem, problemOf } from "./api.ts";
import type { Engine } from "./engine.ts";

export interface Sending {
  answer: Promise<Engine>;
  abort: () => void;
}

/** Upload a plan. A build of one goes on after the answer. `progress` has the bytes that were sent. */
export function sendPlan(file: File, query: URLSearchParams, progress: (sent: number) => void): Sending {
  const request = new XMLHttpRequest();
  const answer = new Promise<Engine>((resolve, reject) => {
    request.upload.onprogress = (event) => progress(event.loaded);
    request.upload.onload = () => progress(file.size);
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText) as Engine);
      else reject(problemOf(request.status, request.responseText));
    };
    request.onerror = () => reject(new Problem(0, "", "The connection ended before the upload did."));
    request.onabort = () => reject(new DOMException("The upload was ended.", "AbortError"));
    request.open("POST", `engines?${query}`);
    request.setRequestHeader("Prefer", "respond-async");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.send(file);
  });
  return { answer, abort: () => request.abort() };
}
