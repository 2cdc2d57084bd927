// Of several requests for one place on the page the last one counts, whichever is answered last.
import { useCallback, useRef } from "preact/hooks";

/** Called before asking; what it returns tells, once there is an answer, whether nothing else was asked for meanwhile. */
export function useLast(): () => () => boolean {
  const count = useRef(0);
  return useCallback(() => {
    const nth = ++count.current;
    return () => nth === count.current;
  }, []);
}
