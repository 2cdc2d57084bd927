// The pages of a list that may be very long: read one after the other, and kept only near to what is looked at. A page
// that is gone is read again by its cursor when somebody comes back to it.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Api, type Entry, isProblem, type Page, type Problem } from "./api.ts";

export const PAGE_SIZE = 100;
/** So many pages before and behind the one that is looked at. */
const KEPT = 10;
/** So many entries before the end of what was read, the next page is asked for. */
const AHEAD = 50;

export type Pages = {
  /** The answer to the first page, with what was asked for beside its entries. */
  first: Page | undefined;
  /** How many times the list was begun. */
  asked: number;
  /** How many entries there are as far as was read. */
  count: number;
  entryAt(index: number): Entry | undefined;
  /** Whether anything is under way, is read to its end, or went wrong. */
  isLoading: boolean;
  isWhole: boolean;
  archivedBefore: string | null | undefined;
  problem: Problem | undefined;
  /** Tells which entries are looked at: what of them is missing is read, what is far from them let go. */
  look(from: number, to: number): void;
  retry(): void;
  /** Begins anew. */
  reload(): void;
};

type State = {
  first: Page | undefined;
  pages: (Entry[] | undefined)[];
  /** The cursor of each page, as far as known; the first has none. */
  cursors: (string | undefined)[];
  count: number;
  isWhole: boolean;
  archivedBefore: string | null | undefined;
};

const NOTHING: State = {
  first: undefined,
  pages: [],
  cursors: [undefined],
  count: 0,
  isWhole: false,
  archivedBefore: undefined,
};

export function usePages(api: Api, organization: string, q: string): Pages {
  const [state, setState] = useState(NOTHING);
  const [asked, setAsked] = useState(0);
  const [problem, setProblem] = useState<Problem>();
  const [isLoading, setLoading] = useState(false);
  // What read() goes by, which runs on while the page is drawn anew.
  const known = useRef(NOTHING);
  const seen = useRef<[from: number, to: number]>([0, 0]);
  const hasFailed = useRef(false);
  const asking = useRef<AbortController>(undefined);

  const put = useCallback((next: State) => setState(known.current = next), []);

  /** Reads what is missing, one page after the other, until nothing is. */
  const read = useCallback(async () => {
    if (asking.current !== undefined) return;
    const { signal } = asking.current = new AbortController();
    hasFailed.current = false;
    for (let n = missing(known.current, seen.current); n !== undefined; n = missing(known.current, seen.current)) {
      setLoading(true);
      const answer = await api.get<Page>("/logs", {
        organization_id: organization,
        q,
        cursor: known.current.cursors[n],
        limit: String(PAGE_SIZE),
        include: n === 0 ? "total,facets" : undefined,
      }, signal).catch(() => undefined);
      if (signal.aborted || answer === undefined) return;
      if (isProblem(answer)) {
        hasFailed.current = true;
        setProblem(answer);
        break;
      }
      put(kept(withPage(known.current, n, answer), seen.current));
    }
    // Also where what could not be read is no longer looked at.
    if (!hasFailed.current) setProblem(undefined);
    asking.current = undefined;
    setLoading(false);
  }, [api, organization, q, put]);

  const reload = useCallback(() => {
    asking.current?.abort();
    asking.current = undefined;
    seen.current = [0, 0];
    setProblem(undefined);
    put(NOTHING);
    setAsked((before) => before + 1);
    void read();
  }, [read, put]);
  useEffect(() => {
    reload();
    return () => asking.current?.abort();
  }, [reload]);

  const look = useCallback((from: number, to: number) => {
    seen.current = [from, to];
    if (known.current.first !== undefined && !hasFailed.current) void read();
  }, [read]);

  return {
    ...state,
    asked,
    entryAt: (index) => state.pages[Math.floor(index / PAGE_SIZE)]?.[index % PAGE_SIZE],
    isLoading,
    problem,
    look,
    retry: read,
    reload,
  };
}

/** The first page that is looked at, or soon will be, and is not there. */
function missing({ pages, cursors }: State, [from, to]: [number, number]): number | undefined {
  const last = Math.floor((to + AHEAD) / PAGE_SIZE);
  for (let n = Math.floor(from / PAGE_SIZE); n <= last; n++) {
    if (pages[n] === undefined && n < cursors.length) return n;
  }
  return undefined;
}

function withPage(state: State, n: number, page: Page): State {
  const isNew = n === state.cursors.length - 1;
  return {
    first: n === 0 ? page : state.first,
    pages: Object.assign([...state.pages], { [n]: page.entries }),
    cursors: isNew && page.next !== null ? [...state.cursors, page.next] : state.cursors,
    count: isNew ? n * PAGE_SIZE + page.entries.length : state.count,
    isWhole: isNew ? page.next === null : state.isWhole,
    archivedBefore: page.archived_before,
  };
}

/** Without the pages that are far from what is looked at. */
function kept(state: State, [from, to]: [number, number]): State {
  const [first, last] = [Math.floor(from / PAGE_SIZE) - KEPT, Math.floor(to / PAGE_SIZE) + KEPT];
  return { ...state, pages: state.pages.map((page, n) => n < first || n > last ? undefined : page) };
}
