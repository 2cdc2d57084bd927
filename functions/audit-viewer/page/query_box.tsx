// The query: as text with completion, and below it as terms that can be taken away. Both are one string.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Facets } from "./api.ts";
import { type Completion, completionsAt } from "./completion.ts";
import { termsOf, withoutTerm } from "./query_terms.ts";
import { text } from "./text.ts";

type Props = { query: string; facets: Facets | undefined; search: (query: string) => void };

export function QueryBox({ query, facets, search }: Props) {
  const [typed, setTyped] = useState(query);
  const [completion, setCompletion] = useState<Completion>();
  const [active, setActive] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  const list = useId();
  // The address has changed: a chip, a facet, the browser's back.
  useEffect(() => setTyped(query), [query]);

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
    const start = typed.slice(0, completion.from) + option + (isWhole ? " " : "");
    const value = start + typed.slice(completion.to).replace(/^ /, isWhole ? "" : " ");
    setTyped(value);
    if (isWhole) close();
    else look(value, start.length);
    requestAnimationFrame(() => {
      input.current?.focus();
      input.current?.setSelectionRange(start.length, start.length);
    });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (options.length === 0 || event.isComposing) return;
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move !== undefined) {
      setActive((active + move + options.length + (active < 0 && move < 0 ? 1 : 0)) % options.length);
    } else if (event.key === "Escape") close();
    // Tab takes what is meant by what was typed; right after a colon nothing is meant yet, and Tab goes on.
    else if (event.key === "Tab" && !event.shiftKey && (active >= 0 || !/[:\s]$/.test(typed))) {
      take(options[Math.max(active, 0)]!);
    } else if (event.key === "Enter" && active >= 0) take(options[active]!);
    else return;
    event.preventDefault();
  };

  return (
    <>
      <form
        class="search"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          close();
          search(typed.trim());
        }}
      >
        <label class="unseen" for="q">{text.search.label}</label>
        <span class="box">
          <input
            id="q"
            ref={input}
            value={typed}
            role="combobox"
            aria-expanded={options.length > 0}
            aria-controls={list}
            aria-autocomplete="list"
            aria-activedescendant={active >= 0 ? `${list}-${active}` : undefined}
            aria-describedby="q-help"
            placeholder={text.search.placeholder}
            spellcheck={false}
            autocomplete="off"
            autocapitalize="none"
            onInput={({ currentTarget }) => {
              setTyped(currentTarget.value);
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
        <button type="submit">{text.search.submit}</button>
        <span class="unseen" id="q-help">{text.search.help}</span>
      </form>
      {query !== "" && (
        <ul class="chips" aria-label={text.search.terms}>
          {termsOf(query).map((term, n) => (
            <li key={`${n} ${term}`}>
              <button
                type="button"
                title={term}
                aria-label={text.search.remove(term)}
                onClick={() => search(withoutTerm(query, n))}
              >
                <bdi>{term}</bdi> <span aria-hidden="true">×</span>
              </button>
            </li>
          ))}
          <li>
            <button type="button" class="plain" onClick={() => search("")}>{text.search.clear}</button>
          </li>
        </ul>
      )}
    </>
  );
}
