import cliProgress from "cli-progress";

export interface Progress {
  advance(amount: number): void;
  stop(): void;
}

/** A bar on a terminal; elsewhere a line at every tenth of the way. */
export function startProgress(label: string, total: number, done: number): Progress {
  if (!process.stdout.isTTY) return startLines(label, total, done);
  const bar = new cliProgress.SingleBar({
    format: `  ${label} [{bar}] {value} of {total}, {duration_formatted}`,
    hideCursor: true,
    stream: process.stdout,
  }, cliProgress.Presets.legacy);
  bar.start(total, done);
  return { advance: (amount) => bar.increment(amount), stop: () => bar.stop() };
}

function startLines(label: string, total: number, done: number): Progress {
  return {
    advance(amount) {
      const before = Math.floor(done * 10 / total);
      done += amount;
      if (Math.floor(done * 10 / total) > before) console.log(`  ${label} ${done} of ${total}`);
    },
    stop() {},
  };
}
