/** An archive as its readers want it: uncompressed, and with its bundles decrypted. */
import { type Archive, maxObjectBytes } from "./archive.ts";
import { type ArchiveKeys, decryptBundle, encryptBundle } from "./bundle_encryption.ts";
import { decoded } from "./decoded.ts";
import { kindOf, parseArchivePath } from "./path.ts";

/**
 * Encrypts bundles that are put, where there are keys, and decrypts those that are read. Hash tiles and checkpoints stay
 * readable for all, and so does the anchor log, which holds nothing but checkpoints.
 */
export function encryptedBundles(archive: Archive, keys: ArchiveKeys | undefined): Archive {
  return {
    list: (folder) => archive.list(folder),
    remove: (paths) => archive.remove(paths),
    async put(path, bytes, kind) {
      const isSecret = keys !== undefined && kind === "bundle" && parseArchivePath(path).log !== "anchor";
      await archive.put(path, isSecret ? await encryptBundle(keys, path, bytes) : bytes, kind);
    },
    async get(path) {
      const stored = await archive.get(path);
      if (stored === null) return null;
      const kind = kindOf(path);
      const object = await decoded(stored, maxObjectBytes(kind));
      return kind === "bundle" ? await decryptBundle(keys, path, object) : object;
    },
  };
}
