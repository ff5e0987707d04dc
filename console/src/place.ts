// Where in the console the person is: kept in the address behind #, so links and the back button work.

import { useEffect, useState } from "preact/hooks";

export type Place = readonly string[];

const read = (): Place => location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);

export const linkTo = (...place: string[]): string => `#/${place.map(encodeURIComponent).join("/")}`;

export function go(...place: string[]): void {
  location.hash = linkTo(...place);
}

export function usePlace(): Place {
  const [place, setPlace] = useState(read);
  useEffect(() => {
    const moved = (): void => setPlace(read());
    window.addEventListener("hashchange", moved);
    return () => window.removeEventListener("hashchange", moved);
  }, []);
  return place;
}
