// Fonts as code. None here, where they lie in node_modules; `npm run pack` writes this file anew with those of Latin, Greek
// and Cyrillic, because functions that Supabase bundles itself (`--use-api`) come without static files.

/** Files by their path inside the @fontsource scope, in base64. */
export const FONTS: Readonly<Record<string, string>> = {};

/** Where all others are, from this file. */
export const FONTS_FOLDER = "../../../node_modules/@fontsource/";
