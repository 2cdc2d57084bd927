/** Entries from `from` to before `to`. */
export type Range = { from: number; to: number };

/** Many ranges, asked about as often as there are entries. */
export class Ranges {
  readonly #ranges: Range[] = [];

  /** They are sorted, and do not overlap. */
  constructor(ranges: Range[]) {
    for (const { from, to } of ranges) {
      const last = this.#ranges.at(-1);
      if (last?.to === from) last.to = to;
      else this.#ranges.push({ from, to });
    }
  }

  has(index: number): boolean {
    return this.meets({ from: index, to: index + 1 });
  }

  /** Whether any of them has any entry of another. */
  meets({ from, to }: Range): boolean {
    let [low, high] = [0, this.#ranges.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#ranges[middle]!.to <= from) low = middle + 1;
      else high = middle;
    }
    const found = this.#ranges[low];
    return found !== undefined && found.from < to;
  }
}

export function isIn({ from, to }: Range, index: number): boolean {
  return from <= index && index < to;
}
