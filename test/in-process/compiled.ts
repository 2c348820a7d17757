// Loaded before the tests (node --import), lets the compiled requests carry out what they can: guests' memory then lies in the window.

import { type Memory, newMemory, OUTSIDE } from "../../src/base/bytes.ts";
import { newWindow } from "../../src/base/window.ts";
import { workshop } from "../../src/domain/in-process.ts";
import { loadPlainProgram } from "../../src/domain/plain-program.ts";
import { CompiledRequests } from "../../src/transport/plain/compiled-requests.ts";

const window = newWindow();
const program = loadPlainProgram();
if (window === undefined || program === undefined)
  throw new Error("the tests of compiled requests need a window and the program");

const newCompiled = (): CompiledRequests => new CompiledRequests(window, program);
workshop.newCompiled = newCompiled;

/** Calls `make`, whose domains carry out everything in TypeScript. */
export function withoutProgram<T>(make: () => T): T {
  workshop.newCompiled = () => undefined;
  try {
    return make();
  } finally {
    workshop.newCompiled = newCompiled;
  }
}

/** What lies before and behind a guest's memory in the window: whoever writes there has left the guest. */
const GUARD_BYTES = 4096;
const GUARD = 0xa5;
const guards: Memory[] = [];

workshop.newGuestMemory = (byteLength) => {
  const at = window.take(byteLength + 2 * GUARD_BYTES);
  if (at === OUTSIDE) return newMemory(byteLength);
  for (const guard of [at, at + GUARD_BYTES + byteLength]) {
    const memory = window.memoryAt(guard, GUARD_BYTES);
    memory.bytes.fill(GUARD);
    guards.push(memory);
  }
  return window.memoryAt(at + GUARD_BYTES, byteLength);
};

process.on("exit", () => {
  const broken = guards.filter(({ bytes }) => bytes.some((byte) => byte !== GUARD));
  if (broken.length === 0) return;
  console.error(`${broken.length} of ${guards.length} guards beside guests' memory have been written to`);
  process.exitCode = 1;
});
