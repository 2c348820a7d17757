// Standard output as a pipe has it: whoever reads may be slow, and may leave. A pipe holds 64 KiB; the rest is written when there is room, so
// that the process must not end before, and a reader that has left (`| head`) ends the command as quietly as a signal would.

const EXIT_BASE = 128;
const SIGPIPE = 13;
/** For output that a full disk, say, does not take: ExitCode.LAB. */
const FAILED_STATUS = 3;
/** Exit status of a program whose reader has left. */
export const PIPE_STATUS = EXIT_BASE + SIGPIPE;

let whenReaderLeaves: (() => void) | undefined;

/**
 * Once the reader of standard output has left, `clean` is called instead of ending the process at once; for a command that has to clean
 * up. Undefined takes it back.
 */
export function onReaderLeft(clean: (() => void) | undefined): void {
  whenReaderLeaves = clean;
}

/** From now on a write for which there is no reader any more is no error. */
export function watchStandardOutput(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    const hasLeft = error.code === "EPIPE";
    if (!hasLeft) process.stderr.write(`vhca: standard output cannot be written: ${error.message}\n`);
    if (whenReaderLeaves === undefined) process.exit(hasLeft ? PIPE_STATUS : FAILED_STATUS);
    whenReaderLeaves();
  });
  // There is nobody to be told.
  process.stderr.on("error", () => {});
}

/** Resolves when all that was printed is with its readers, or they have left. */
export async function flushOutput(): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map(flush));
}

const flush = (stream: NodeJS.WriteStream): Promise<void> => new Promise((resolve) => stream.write("", () => resolve()));

/** Writes bytes to standard output and waits until the reader has room for more. @throws EPIPE, or ERR_STREAM_DESTROYED, if it has left */
export const writeToOutput = (bytes: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => process.stdout.write(bytes, (error) => (error ? reject(error) : resolve())));
