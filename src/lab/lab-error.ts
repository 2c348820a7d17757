// What goes wrong in the lab is told to a person, in one line: what, where, how to mend it.

/** Stable codes, so that callers can tell the cases apart without reading the sentence. */
export type LabErrorCode =
  | "unsupported-machine"
  | "no-mirror"
  | "download"
  | "unknown-package"
  | "no-rights"
  | "build"
  | "no-qemu"
  | "no-accelerator"
  | "boot"
  | "restore"
  | "node-gone"
  | "usage";

/** Reasons for which VMs cannot be had here at all; the others are failures to be mended. */
const NO_VM_CODES: readonly LabErrorCode[] = [
  "unsupported-machine",
  "no-mirror",
  "no-rights",
  "no-qemu",
  "no-accelerator",
  "download",
];

/** One line for the terminal; `details` holds what a log or `--verbose` may show, such as the last lines of a serial log. */
export class LabError extends Error {
  readonly code: LabErrorCode;
  /** Further lines, not part of the message. */
  readonly details: string;

  /**
   * @param what  the failure, with its place and values
   * @param mend  what the user can do about it
   */
  constructor(code: LabErrorCode, what: string, options: { mend?: string; details?: string; cause?: unknown } = {}) {
    super(options.mend === undefined ? what : `${what}; ${options.mend}`, { cause: options.cause });
    this.name = "LabError";
    this.code = code;
    this.details = options.details ?? "";
  }

  /** What the user has asked for makes no sense; nothing is wrong with the machine. */
  get isUsers(): boolean {
    return this.code === "usage" || this.code === "unknown-package";
  }

  /** VMs cannot be had here at all. */
  get meansNoVms(): boolean {
    return NO_VM_CODES.includes(this.code);
  }
}

/** The last lines of a text, for `details`. */
export function lastLines(text: string, count = 20): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}
