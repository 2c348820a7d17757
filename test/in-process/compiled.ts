// Loaded before the tests (node --import), lets the compiled requests carry out what they can: guests' memory then lies in the window.

import { newMemory, OUTSIDE } from "../../src/base/bytes.ts";
import { newWindow } from "../../src/base/window.ts";
import { workshop } from "../../src/domain/in-process.ts";
import { loadPlainProgram } from "../../src/domain/plain-program.ts";
import { CompiledRequests } from "../../src/transport/plain/compiled-requests.ts";

const window = newWindow();
const program = loadPlainProgram();
if (window === undefined || program === undefined)
  throw new Error("the tests of compiled requests need a window and the program");

workshop.newCompiled = () => new CompiledRequests(window, program);
workshop.newGuestMemory = (byteLength) => {
  const at = window.take(byteLength);
  return at === OUTSIDE ? newMemory(byteLength) : window.memoryAt(at, byteLength);
};
