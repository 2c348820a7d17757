// Ctrl-C and friends, and a reader of the output that has left: the work is told to stop, cleans up, and the process then ends as if by
// the signal.

import { onReaderLeft, PIPE_STATUS } from "./standard-output.ts";

const EXIT_BASE = 128;
const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

export interface Interrupt {
  readonly signal: AbortSignal;
  /** Exit status for the signal that came, or undefined. */
  readonly status: number | undefined;
  dispose(): void;
}

/** Does work that signals interrupt; returns the exit status of the signal that came, else what `work` returns. @throws what it throws, unless interrupted */
export async function interruptible(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const interrupt = catchInterrupts();
  try {
    const status = await work(interrupt.signal);
    return interrupt.status ?? status;
  } catch (error) {
    if (interrupt.status === undefined) throw error;
    return interrupt.status;
  } finally {
    interrupt.dispose();
  }
}

/** Turns the first signal into an abort; a second one of the same kind ends the process at once. */
export function catchInterrupts(): Interrupt {
  const controller = new AbortController();
  let status: number | undefined;
  const handlers = Object.entries(SIGNALS).map(([name, number]) => {
    const handler = (): void => {
      if (status !== undefined) process.exit(EXIT_BASE + number);
      status = EXIT_BASE + number;
      controller.abort(new Error(`interrupted by ${name}`));
    };
    process.on(name, handler);
    return { name, handler };
  });
  onReaderLeft(() => {
    status ??= PIPE_STATUS;
    controller.abort(new Error("nobody reads the output any more"));
  });
  return {
    signal: controller.signal,
    get status() {
      return status;
    },
    dispose: () => {
      onReaderLeft(undefined);
      for (const { name, handler } of handlers) process.off(name, handler);
    },
  };
}
