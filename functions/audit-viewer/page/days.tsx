// Activity over time: a chart to drag a range on, and two dates for who does not drag.
import { useEffect, useRef } from "preact/hooks";
import type { Count } from "./api.ts";
import { text } from "./text.ts";

type Props = { days: Count[]; pick: (from: string, to: string) => void };

export function Days({ days, pick }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const picked = useRef(pick);
  picked.current = pick;
  useEffect(() => {
    let end: (() => void) | undefined;
    let isGone = false;
    void import("./days_chart.ts").then(({ drawDays }) => {
      if (!isGone && place.current !== null) {
        end = drawDays(place.current, days, (from, to) => picked.current(from, to));
      }
    });
    return () => {
      isGone = true;
      end?.();
    };
  }, [days]);

  const first = days[0]?.value ?? "";
  const last = days.at(-1)?.value ?? "";
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget as HTMLFormElement);
    const [from, to] = [String(fields.get("from")), String(fields.get("to"))].sort();
    pick(from!, to!);
  };
  return (
    <figure class="days">
      <div class="chart" ref={place} role="img" aria-label={text.days.chart(days.length, first, last)} />
      <form onSubmit={submit} key={`${first} ${last}`}>
        <label>
          {text.days.from} <input type="date" name="from" defaultValue={first} required />
        </label>
        <label>
          {text.days.to} <input type="date" name="to" defaultValue={last} required />
        </label>
        <button type="submit" class="quiet">{text.days.show}</button>
      </form>
    </figure>
  );
}
