// Entries as a list that may be very long: only what is near the window is in the document.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Entry } from "./api.ts";
import { actorOf, formatTime } from "./format.ts";
import { formatRoute } from "./route.ts";
import { text } from "./text.ts";

const BEYOND = 12;

type Props = {
  entries: Entry[];
  organization: string;
  loading: boolean;
  /** Asks for the next page; undefined on the last one. */
  more: (() => void) | undefined;
};

export function EntryList({ entries, organization, loading, more }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const [rowHeight, setRowHeight] = useState(44);
  const [range, setRange] = useState({ from: 0, to: 40 });

  // All rows are equally high; how high depends on the font and the width.
  const measure = () => {
    const row = frame.current?.querySelector<HTMLElement>("[role=row]");
    if (row != null && row.offsetHeight > 0) setRowHeight(row.offsetHeight);
  };
  useLayoutEffect(measure);

  useEffect(() => {
    const look = () => {
      measure();
      const top = frame.current?.getBoundingClientRect().top ?? 0;
      const from = Math.max(0, Math.floor(-top / rowHeight) - BEYOND);
      const to = Math.min(entries.length, Math.ceil((innerHeight - top) / rowHeight) + BEYOND);
      setRange((before) => before.from === from && before.to === to ? before : { from, to });
      if (to >= entries.length && !loading) more?.();
    };
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => {
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
    };
  }, [entries.length, rowHeight, loading, more]);

  return (
    <>
      <div role="table" aria-label={text.list.label} aria-rowcount={more === undefined ? entries.length + 1 : -1}>
        <div role="row" class="row head">
          {[text.list.when, text.list.who, text.list.what, text.list.resource, text.list.outcome].map((label) => (
            <span role="columnheader" key={label}>{label}</span>
          ))}
        </div>
        <div role="rowgroup" class="rows" ref={frame} style={{ height: `${entries.length * rowHeight}px` }}>
          {entries.slice(range.from, range.to).map((entry, n) => (
            <Row
              key={entry.name}
              entry={entry}
              index={range.from + n}
              top={(range.from + n) * rowHeight}
              organization={organization}
            />
          ))}
        </div>
      </div>
      <p class="after" aria-live="polite">
        {loading
          ? text.list.loading
          : more !== undefined
          ? null
          : entries.length === 0
          ? text.list.none
          : text.list.end}
      </p>
    </>
  );
}

function Row({ entry, index, top, organization }: { entry: Entry; index: number; top: number; organization: string }) {
  return (
    <div role="row" class={`row ${entry.outcome}`} aria-rowindex={index + 2} style={{ top: `${top}px` }}>
      <span role="cell">
        <a href={formatRoute("entry", entry.name, { organization })}>
          <time dateTime={entry.created_at}>{formatTime(entry.created_at)}</time>
        </a>
      </span>
      <span role="cell" class="who" dir="auto">{actorOf(entry)}</span>
      <span role="cell" class="what">{entry.action}</span>
      <span role="cell" class="resource" dir="auto">
        {[entry.resource_type, entry.resource_id].filter(Boolean).join(" ")}
      </span>
      <span role="cell" class="outcome">{text.outcome[entry.outcome]}</span>
    </div>
  );
}
