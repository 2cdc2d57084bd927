// How many of something may go on at once in this process; the next is refused, not queued.

export type Limiter = {
  /** Takes a place, if there is one, and answers how to give it back, once or many times. */
  take(): (() => void) | undefined;
};

export function createLimiter(places: number): Limiter {
  let taken = 0;
  return {
    take() {
      if (taken === places) return undefined;
      taken++;
      let held = true;
      return () => {
        if (held) taken--;
        held = false;
      };
    },
  };
}
