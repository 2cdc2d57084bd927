// Serves the viewer: the built files, its configuration, and the headers that keep everything else out of the page.

/** What the page must know of the project; everybody may. The same object is `config.json` on a static host. */
export type Config = {
  supabase_url: string;
  publishable_key: string;
  /** Public keys of the log, to verify receipts by. */
  log_keys: string[];
};

export type Deps = {
  config: Config;
  /** The bytes of a built file; fails where there is none. */
  readFile(path: string): Promise<Uint8Array>;
};

const TYPES: Record<string, string> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};
/** Built files have a digest in their names, the page itself has not. */
const FOR_EVER = "public, max-age=31536000, immutable";

export function createApp({ config, readFile }: Deps): (request: Request) => Promise<Response> {
  const headers = {
    "content-security-policy": policy(config.supabase_url),
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
  };

  return async (request) => {
    const { pathname } = new URL(request.url);
    const path = /^\/audit-viewer\/(.*)$/.exec(pathname)?.[1];
    if (request.method !== "GET" && request.method !== "HEAD") {
      return refuse(405, "The address does not take this method.");
    }
    if (path === undefined) {
      // The page's own addresses are relative to its folder.
      return new Response(null, { status: 308, headers: { ...headers, location: "audit-viewer/" } });
    }
    if (path === "config.json") {
      return Response.json(config, { headers: { ...headers, "cache-control": "no-store" } });
    }
    const name = path === "" ? "index.html" : path;
    const type = TYPES[/\.([a-z]+)$/.exec(name)?.[1] ?? ""];
    if (type === undefined || !/^(assets\/)?[\w.-]+$/.test(name)) return refuse(404, "There is no such address.");
    try {
      const bytes = await readFile(name);
      return new Response(request.method === "HEAD" ? null : bytes as BodyInit, {
        headers: {
          ...headers,
          "content-type": type,
          "cache-control": name.startsWith("assets/") ? FOR_EVER : "no-cache",
        },
      });
    } catch {
      return refuse(404, "There is no such address.");
    }
  };
}

/** Scripts and styles of the page itself, requests to the project, and nothing else. */
function policy(projectUrl: string): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    `connect-src 'self' ${new URL(projectUrl).origin}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join("; ");
}

function refuse(status: number, title: string): Response {
  return Response.json({ type: "about:blank", title, status }, {
    status,
    headers: { "content-type": "application/problem+json", "x-content-type-options": "nosniff" },
  });
}
