// Where the lab keeps things: one cache folder that survives, one run folder per lab that does not.
//
//   CACHE/                        $VHCA_CACHE, else $XDG_CACHE_HOME/vhca, else ~/.cache/vhca; deleting it is safe
//     apt/                        our private apt root, and debs/, the packages it fetched
//     trees/HASH/                 host tools, QEMU: unpacked packages
//     kernels/RELEASE/            vmlinux, boot.cpio, modules.erofs
//     images/HASH/                root.erofs, image.json
//     snapshots/IMAGE-HASH/       state, memory, known_host: guests that have booted
//     code/                       what Node compiled (bin/vhca.js)
//     state.json                  which of them stand for "6.12", "newest", an image's name …
//   RUN/ID/                       $XDG_RUNTIME_DIR/vhca, else /tmp/vhca-UID; mode 0700

import { lstatSync, mkdirSync, statSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { LabError } from "./lab-error.ts";

/** `struct sockaddr_un` holds 108 bytes with the terminating NUL (unix(7)). */
export const SOCKET_PATH_LIMIT = 107;

/** The longest name inside a run folder: ssh first binds its control socket under a temporary name of 17 characters more. */
const LONGEST_NAME_IN_RUN_FOLDER = "/abcdef/n999.ctl".length + 17;

type Environment = Readonly<Record<string, string | undefined>>;

/** The cache folder. Everything in it can be built again. */
export function cacheFolder(env: Environment = process.env): string {
  if (env.VHCA_CACHE) return env.VHCA_CACHE;
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, "vhca");
  return join(env.HOME || homedir(), ".cache", "vhca");
}

/** The folder that holds one folder per running lab of this user; not created here. */
export function runRoot(env: Environment = process.env, uid = process.getuid?.() ?? 0): string {
  const wanted = env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, "vhca") : undefined;
  if (
    wanted !== undefined &&
    wanted.length + LONGEST_NAME_IN_RUN_FOLDER <= SOCKET_PATH_LIMIT &&
    existsFolder(env.XDG_RUNTIME_DIR)
  )
    return wanted;
  const fallback = join(tmpdir(), `vhca-${uid}`);
  return fallback.length + LONGEST_NAME_IN_RUN_FOLDER <= SOCKET_PATH_LIMIT ? fallback : `/tmp/vhca-${uid}`;
}

function existsFolder(path: string | undefined): boolean {
  return path !== undefined && lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** Creates a folder only its owner may enter, and refuses one that somebody else put there. */
export function makePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const stat = lstatSync(path);
  const isOurs = stat.isDirectory() && stat.uid === process.getuid?.() && (stat.mode & 0o077) === 0;
  if (!isOurs)
    throw new LabError("no-rights", `${path} is not a folder of ours with mode 0700`, {
      mend: "remove it or set XDG_RUNTIME_DIR",
    });
}

/** What tells a file from one that replaces it. */
export function identifyFile(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return `${path} ${stat?.size} ${stat?.mtimeMs}`;
}
