// Entries as a list that may be very long: only what is near the window is in the document.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Entry } from "./api.ts";
import type { Pages } from "./pages.ts";
import { actorOf, formatTime } from "./format.ts";
import { formatRoute } from "./route.ts";
import { text } from "./text.ts";

const BEYOND = 12;

type Props = {
  pages: Pages;
  organization: string;
};

export function EntryList({ pages: { count, entryAt, isLoading, isWhole, look }, organization }: Props) {
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
    const see = () => {
      measure();
      const top = frame.current?.getBoundingClientRect().top ?? 0;
      const from = Math.max(0, Math.min(count, Math.floor(-top / rowHeight)) - BEYOND);
      const to = Math.min(count, Math.max(0, Math.ceil((innerHeight - top) / rowHeight)) + BEYOND);
      setRange((before) => before.from === from && before.to === to ? before : { from, to });
      look(from, to);
    };
    see();
    addEventListener("scroll", see, { passive: true });
    addEventListener("resize", see);
    return () => {
      removeEventListener("scroll", see);
      removeEventListener("resize", see);
    };
  }, [count, rowHeight, look]);

  const shown = Array.from({ length: Math.max(0, Math.min(range.to, count) - range.from) }, (_, n) => range.from + n);
  return (
    <>
      <div role="table" aria-label={text.list.label} aria-rowcount={isWhole ? count + 1 : -1}>
        <div role="row" class="row head">
          {[text.list.when, text.list.who, text.list.what, text.list.resource, text.list.outcome].map((label) => (
            <span role="columnheader" key={label}>{label}</span>
          ))}
        </div>
        <div role="rowgroup" class="rows" ref={frame} style={{ height: `${count * rowHeight}px` }}>
          {shown.map((index) => (
            <Row key={index} entry={entryAt(index)} index={index} top={index * rowHeight} organization={organization} />
          ))}
        </div>
      </div>
      <p class="after" aria-live="polite">
        {isLoading ? text.list.loading : !isWhole ? null : count === 0 ? text.list.none : text.list.end}
      </p>
    </>
  );
}

type RowProps = { entry: Entry | undefined; index: number; top: number; organization: string };

function Row({ entry, index, top, organization }: RowProps) {
  const place = { role: "row" as const, "aria-rowindex": index + 2, style: { top: `${top}px` } };
  if (entry === undefined) {
    // Read again when somebody comes back to it.
    return (
      <div {...place} class="row">
        <span role="cell" class="quiet">{text.list.loading}</span>
      </div>
    );
  }
  return (
    <div {...place} class={`row ${entry.outcome}`}>
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
