/**
 * Node's functions that give bytes, said to give bytes: their types say Buffer, which the type checker of Deno 2.1 does not
 * take for the Uint8Array that it is.
 */
import { readFile as readFileOfNode } from "node:fs/promises";
import { deflateSync, inflateSync } from "node:zlib";

/** zlib's inflate, RFC 1950. */
export const inflate = inflateSync as unknown as (bytes: Uint8Array) => Uint8Array;

/** zlib's deflate, RFC 1950: PDF's FlateDecode. */
export const deflate = deflateSync as unknown as (bytes: Uint8Array) => Uint8Array;

/** A file, whole. */
export const readFile = readFileOfNode as unknown as (path: string) => Promise<Uint8Array>;
