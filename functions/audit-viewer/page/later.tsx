// A view in a file of its own, fetched when it is first shown, so that the list does not wait for it.
import { useCallback, useEffect, useState } from "preact/hooks";
import type { Problem } from "./api.ts";
import type { View, ViewProps } from "./app.tsx";
import { ProblemNote } from "./problem_note.tsx";
import { text } from "./text.ts";

const OFFLINE: Problem = { problem: true, status: 0, code: "offline", title: "offline" };

export function later(fetchView: () => Promise<View>): View {
  return function Later(props: ViewProps) {
    const [loaded, setLoaded] = useState<{ View: View } | Problem>();
    const load = useCallback(() => fetchView().then((View) => setLoaded({ View }), () => setLoaded(OFFLINE)), []);
    useEffect(() => void load(), [load]);
    if (loaded === undefined) return <p aria-live="polite">{text.list.loading}</p>;
    return "View" in loaded ? <loaded.View {...props} /> : <ProblemNote problem={loaded} retry={load} />;
  };
}
