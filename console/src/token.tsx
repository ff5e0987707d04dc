// Asks for the token of a server that wants one. It stays in this tab's session storage and nowhere else.

import { useEffect, useRef } from "preact/hooks";

import { token } from "./api.ts";

export function TokenDialog({ open, close }: { open: boolean; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (open && !dialog.current?.open) dialog.current?.showModal();
    if (!open) dialog.current?.close();
  }, [open]);
  const use = (value: string): void => {
    token.set(value.trim());
    if (field.current) field.current.value = "";
    close();
    location.reload(); // everything on the page was asked for with the former token
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="token-title">
      <article>
        <h2 id="token-title">Token</h2>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            use(field.current?.value ?? "");
          }}
        >
          <label for="token">
            This server wants a token, which <code>trtserve tokens add</code> makes.
          </label>
          <input id="token" ref={field} type="password" autocomplete="off" spellcheck={false} required aria-describedby="token-kept" />
          <small id="token-kept">This tab keeps it until it is closed.</small>
          <footer class="buttons">
            <button type="button" class="secondary" onClick={close}>
              Cancel
            </button>
            <button type="button" class="secondary" disabled={!token.get()} onClick={() => use("")}>
              Forget
            </button>
            <button type="submit">Use</button>
          </footer>
        </form>
      </article>
    </dialog>
  );
}
