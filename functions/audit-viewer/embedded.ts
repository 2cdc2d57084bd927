// The built page as code. Nothing here, where it lies in dist/; `npm run pack` writes this file anew with all of it, because
// functions that Supabase bundles itself (`--use-api`) come without static files.

/** Built files by their path, in base64. */
export const FILES: Readonly<Record<string, string>> = {};
