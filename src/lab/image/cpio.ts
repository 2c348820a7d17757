// Writes a cpio archive of the "newc" kind, which the kernel unpacks as its first root file system
// (Linux, Documentation/driver-api/early-userspace/buffer-format.rst). Several archives may follow each other in one file.

const MAGIC = "070701";
const HEADER_LENGTH = 110;

const FileKind = { FOLDER: 0o040000, FILE: 0o100000, LINK: 0o120000, CHARACTER_DEVICE: 0o020000 } as const;

/** Collects entries; folders must come before what is in them. */
export class CpioWriter {
  readonly #parts: Buffer[] = [];
  #inode = 1;

  folder(path: string, mode = 0o755): this {
    return this.#entry(path, FileKind.FOLDER | mode, Buffer.alloc(0));
  }

  file(path: string, data: Uint8Array | string, mode = 0o644): this {
    return this.#entry(path, FileKind.FILE | mode, typeof data === "string" ? Buffer.from(data) : data);
  }

  link(path: string, target: string): this {
    return this.#entry(path, FileKind.LINK | 0o777, Buffer.from(target));
  }

  characterDevice(path: string, mode: number, major: number, minor: number): this {
    return this.#entry(path, FileKind.CHARACTER_DEVICE | mode, Buffer.alloc(0), major, minor);
  }

  /** The archive with its trailer, padded so that another may follow. */
  finish(): Buffer {
    this.#entry("TRAILER!!!", 0, Buffer.alloc(0));
    return Buffer.concat(this.#parts);
  }

  #entry(path: string, mode: number, data: Uint8Array, major = 0, minor = 0): this {
    if (path.startsWith("/")) throw new Error(`cpio: ${path} must be relative`);
    const name = Buffer.from(`${path}\0`);
    // inode, mode, uid, gid, links, mtime, size, device (2), rdevice (2), name size, checksum
    const fields = [this.#inode++, mode, 0, 0, 1, 0, data.length, 0, 0, major, minor, name.length, 0];
    const header = MAGIC + fields.map((value) => value.toString(16).padStart(8, "0")).join("");
    this.#parts.push(Buffer.from(header), name, padding(HEADER_LENGTH + name.length), Buffer.from(data), padding(data.length));
    return this;
  }
}

/** Names and data start at multiples of four bytes. */
function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
