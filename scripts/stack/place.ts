// Where the local stack lies.
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Where data, keys and logs are kept unless --dir names another folder. */
export const DIR = join(ROOT, ".local");

/** What a command needs behind it, as messages say it, to find the stack of `dir`. */
export function dirOption(dir: string): string {
  return dir === DIR ? "" : ` --dir '${dir}'`;
}
