// The few statistics that the bench needs. Pairs are compared round by round: two runs of one round are neighbours in
// time, so a machine that slows down for a while slows both.

export function median(values: number[]): number {
  return percentile([...values].sort((a, b) => a - b), 0.5);
}

/** Of values in ascending order, interpolated between neighbours; NaN of none. */
export function percentile(ascending: ArrayLike<number>, fraction: number): number {
  const position = (ascending.length - 1) * fraction;
  const below = ascending[Math.floor(position)] ?? NaN;
  const above = ascending[Math.ceil(position)] ?? NaN;
  return below + (above - below) * (position - Math.floor(position));
}

/** The median over the rounds of what `compare` makes of two runs of one round. */
export function pairedMedian(
  ours: number[],
  theirs: number[],
  compare: (ours: number, theirs: number) => number,
): number {
  if (ours.length !== theirs.length) throw new Error("paired runs need the same number of rounds");
  return median(ours.map((value, round) => compare(value, theirs[round]!)));
}

export function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export type Bar = { atLeast: number; aim: number; lessIsBetter?: boolean };
export type Verdict = "aim" | "at least" | "below";

/** What a measured value reaches. */
export function verdict(value: number, { atLeast, aim, lessIsBetter = false }: Bar): Verdict {
  const reaches = (bar: number) => lessIsBetter ? value <= bar : value >= bar;
  if (reaches(aim)) return "aim";
  return reaches(atLeast) ? "at least" : "below";
}

export function mean(values: number[]): number {
  return sum(values) / values.length;
}
