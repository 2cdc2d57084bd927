// A query as text, with completion.
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Facets } from "./api.ts";
import { type Completion, completionsAt } from "./completion.ts";
import { text } from "./text.ts";

type Props = {
  id: string;
  query: string;
  facets?: Facets | undefined;
  change: (query: string) => void;
  placeholder?: string;
  /** The id of what explains it, or says what is wrong. */
  describedBy?: string | undefined;
  invalid?: boolean;
  disabled?: boolean;
};

export function QueryInput({ id, query, facets, change, placeholder, describedBy, invalid, disabled }: Props) {
  const [completion, setCompletion] = useState<Completion>();
  const [active, setActive] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  /** Where the caret goes with what was taken; the next key is meant for there. */
  const caret = useRef<number>(undefined);
  const list = useId();
  useLayoutEffect(() => {
    if (caret.current === undefined) return;
    input.current?.focus();
    input.current?.setSelectionRange(caret.current, caret.current);
    caret.current = undefined;
  });

  const options = completion?.options ?? [];
  const close = () => {
    setCompletion(undefined);
    setActive(-1);
  };
  const look = (value: string, caret: number) => {
    setActive(-1);
    setCompletion(completionsAt(value, caret, facets));
  };
  const take = (option: string) => {
    if (completion === undefined) return;
    const isWhole = !/[:.]$/.test(option);
    const start = query.slice(0, completion.from) + option + (isWhole ? " " : "");
    const value = start + query.slice(completion.to).replace(/^ /, isWhole ? "" : " ");
    caret.current = start.length;
    change(value);
    if (isWhole) close();
    else look(value, start.length);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && active < 0) close();
    if (options.length === 0 || event.isComposing) return;
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move !== undefined) {
      setActive((active + move + options.length + (active < 0 && move < 0 ? 1 : 0)) % options.length);
    } else if (event.key === "Escape") close();
    // Tab takes what is meant by what was typed; right after a colon nothing is meant yet, and Tab goes on.
    else if (event.key === "Tab" && !event.shiftKey && (active >= 0 || !/[:\s]$/.test(query))) {
      take(options[Math.max(active, 0)]!);
    } else if (event.key === "Enter" && active >= 0) take(options[active]!);
    else return;
    event.preventDefault();
  };

  return (
    <span class="box">
      <input
        id={id}
        ref={input}
        value={query}
        role="combobox"
        aria-expanded={options.length > 0}
        aria-controls={list}
        aria-autocomplete="list"
        aria-activedescendant={active >= 0 ? `${list}-${active}` : undefined}
        aria-describedby={describedBy}
        aria-invalid={invalid}
        placeholder={placeholder}
        disabled={disabled}
        spellcheck={false}
        autocomplete="off"
        autocapitalize="none"
        onInput={({ currentTarget }) => {
          change(currentTarget.value);
          look(currentTarget.value, currentTarget.selectionStart ?? currentTarget.value.length);
        }}
        onKeyDown={onKeyDown}
        onBlur={close}
      />
      <ul id={list} role="listbox" aria-label={text.search.suggestions} hidden={options.length === 0}>
        {options.map((option, n) => (
          <li
            key={option}
            id={`${list}-${n}`}
            role="option"
            aria-selected={n === active}
            onMouseDown={(event) => {
              event.preventDefault();
              take(option);
            }}
          >
            {option}
          </li>
        ))}
      </ul>
    </span>
  );
}
