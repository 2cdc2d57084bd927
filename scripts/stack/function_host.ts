// Runs in Deno: starts one function as the hosted runtime would, on the port that the gateway chose.
// A function says `Deno.serve(handler)` and knows no port, so the port is put in here.
type Handler = (request: Request, info: unknown) => Response | Promise<Response>;
type Serve = (options: object, handler?: Handler) => unknown;
const { Deno } = globalThis as unknown as { Deno: { args: string[]; serve: Serve } };

const [entrypoint, port] = Deno.args;
const serve = Deno.serve;
Deno.serve = (first: object | Handler, second?: Handler) => {
  const options = typeof first === "function" ? {} : first;
  const handler = typeof first === "function" ? first as Handler : second;
  const place = { ...options, hostname: "127.0.0.1", port: Number(port) };
  return handler === undefined ? serve(place) : serve(place, handler);
};
await import(`file://${entrypoint}`);
