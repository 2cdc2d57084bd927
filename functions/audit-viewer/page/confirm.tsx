// A button for what is not taken back easily: it says first what will happen.
import type { ComponentChildren } from "preact";
import { useId, useRef } from "preact/hooks";
import { text } from "./text.ts";

type Props = {
  /** On the button that asks, and on the one that answers yes. */
  label: string;
  /** What the label is about, for who does not see where the button stands. */
  about?: string;
  title: string;
  disabled?: boolean;
  children: ComponentChildren;
  confirm: () => unknown;
};

export function ConfirmButton({ label, about, title, disabled, children, confirm }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const answer = () => {
    dialog.current?.close();
    confirm();
  };
  return (
    <>
      <button
        type="button"
        disabled={disabled}
        aria-label={about === undefined ? undefined : `${label}: ${about}`}
        onClick={() => dialog.current?.showModal()}
      >
        {label}
      </button>
      <dialog ref={dialog} aria-labelledby={id}>
        <h2 id={id} dir="auto">{title}</h2>
        {children}
        <div class="buttons">
          <button type="button" class="first" onClick={answer}>{label}</button>
          <button type="button" onClick={() => dialog.current?.close()}>{text.export.cancel}</button>
        </div>
      </dialog>
    </>
  );
}
