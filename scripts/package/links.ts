// Links of documents that are packed: what they lead to may lie in the repository alone.
import { posix } from "node:path";

/**
 * A document of the repository whose links lead on where it stands among the packed ones: `packed` has their paths in the
 * repository and in the package. Other files are at the repository's address; without one, only the link's text stays.
 */
export function packedLinks(text: string, path: string, packed: Map<string, string>, repository?: string): string {
  return text.replaceAll(/\[([^\]]+)\]\(([^()\s]+)\)/g, (link, label: string, target: string) => {
    if (/^([a-z]+:|#)/.test(target)) return link;
    const [, file, part] = /^([^#]*)(.*)$/.exec(target)!;
    const source = posix.join(posix.dirname(path), file!);
    const place = packed.get(source) ?? (repository === undefined ? undefined : `${repository}/blob/HEAD/${source}`);
    return place === undefined ? label : `[${label}](${place}${part})`;
  });
}
