// The id that ties together a request, the entry it leaves, and what the log of the function says of it.

const SHAPE = /^[A-Za-z0-9][A-Za-z0-9._:=+/-]{0,127}$/;

/** The id that the client chose, if it is one that can stand in headers and logs without harm; else a new one. */
export function requestIdOf(header: string | null | undefined): string {
  return header && SHAPE.test(header) ? header : crypto.randomUUID();
}
