// State that comes from the server, again and again while the page is seen.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";

export interface Polled<T> {
  value: T | undefined;
  error: Error | undefined;
  again: () => void;
}

/** What `load` returns, asked for every `period` ms; a new `key` starts anew. The last value stays on an error. */
export function usePolled<T>(load: () => Promise<T>, period: number, key: string): Polled<T> {
  const [state, setState] = useState<{ key: string; value?: T; error?: Error }>({ key });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    let timer = 0;
    let ended = false;
    const look = async (): Promise<void> => {
      if (!document.hidden) {
        try {
          const value = await latest.current();
          if (!ended) setState({ key, value });
        } catch (error) {
          if (!ended) setState((before) => ({ key, value: before.key === key ? before.value : undefined, error: error as Error }));
        }
      }
      if (!ended) timer = window.setTimeout(look, period);
    };
    void look();
    return () => {
      ended = true;
      window.clearTimeout(timer);
    };
  }, [key, period, turn]);
  const again = useCallback(() => setTurn((before) => before + 1), []);
  const current = state.key === key ? state : undefined;
  return { value: current?.value, error: current?.error, again };
}
