// The chart of days, by uPlot. Loaded when it is needed.
import uPlot from "uplot";
import type { Count } from "./api.ts";

const DAY = 86_400;

/** Draws bars, one a day (UTC, as days are counted); calls with the first and last day that were dragged over. */
export function drawDays(place: HTMLElement, days: Count[], pick: (from: string, to: string) => void): () => void {
  const counts = new Map(days.map(({ value, count }) => [secondsOf(value!), count]));
  const last = Math.max(...counts.keys());
  // A single bar as wide as the page would say nothing.
  const first = Math.min(...counts.keys(), last - 13 * DAY);
  const times: number[] = [];
  for (let time = first; time <= last; time += DAY) times.push(time);

  const color = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = () => ({ stroke: color("--quiet"), grid: { show: false }, ticks: { show: false } });
  const chart = new uPlot(
    {
      width: place.clientWidth,
      height: 110,
      tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "UTC"),
      legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false, setScale: false } },
      scales: {
        x: { range: () => [first - DAY / 2, last + DAY / 2] },
        y: { range: (_, __, most) => [0, most * 1.05] },
      },
      axes: [
        {
          ...axis(),
          incrs: [1, 7, 30, 90, 365, 3650].map((days) => days * DAY),
          values: (_, ticks) => ticks.map(dayOf),
          space: 90,
        },
        { ...axis(), size: 50, space: 25 },
      ],
      series: [{}, {
        fill: color("--accent"),
        width: 0,
        points: { show: false },
        paths: uPlot.paths.bars!({ size: [0.8, 40] }),
      }],
      hooks: {
        setSelect: [({ select, posToVal }) => {
          if (select.width < 3) return;
          const dayAt = (left: number) => dayOf(Math.min(last, Math.max(first, posToVal(left, "x") + DAY / 2)));
          pick(dayAt(select.left), dayAt(select.left + select.width));
        }],
      },
    },
    [times, times.map((time) => counts.get(time) ?? 0)],
    place,
  );
  const fit = new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: 110 }));
  fit.observe(place);
  return () => {
    fit.disconnect();
    chart.destroy();
  };
}

function secondsOf(day: string): number {
  return Date.parse(`${day}T00:00:00Z`) / 1000;
}

function dayOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}
