// What is shown stands in the address, after the #, so that it can be shared and any static host will do.
import { useLayoutEffect, useState } from "preact/hooks";

export type Route = { view: string; name: string; parameters: URLSearchParams };

/** `#/activity?q=…` or `#/entry/3-17?organization=…`. What somebody edited into nonsense is the first page. */
export function readRoute(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view = "", name = ""] = path.split("/").map(decoded);
  return { view: view || "activity", name, parameters: new URLSearchParams(search) };
}

export function formatRoute(view: string, name = "", parameters: Record<string, string | undefined> = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) if (value) search.set(key, value);
  const path = name === "" ? view : `${view}/${encodeURIComponent(name)}`;
  return search.size === 0 ? `#/${path}` : `#/${path}?${search}`;
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => readRoute(location.hash));
  // At once, since the address may change before the page has been painted.
  useLayoutEffect(() => {
    const read = () => setRoute(readRoute(location.hash));
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, []);
  return route;
}

export function go(address: string, { replace = false } = {}): void {
  if (address === location.hash) return;
  if (replace) location.replace(address);
  else location.assign(address);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}
