// The compiled part of the transport: requests of one segment, sources in assembly/ (CONTRIBUTING.md, The compiled part). It sees nothing but
// the memory it is given: addresses are byte offsets there, and all access is bounds-checked by WebAssembly.

import "../../base/webassembly.ts";

/** What the program can do; one function per export of assembly/index.ts. Addresses are byte offsets in its memory. */
export interface PlainProgram {
  /** The big-endian 32-bit word at an address. Traps (WebAssembly.RuntimeError) outside the memory. */
  probe(at: number): number;
}

/** Functions the program calls, by name: its `declare function`s in assembly/index.ts. */
export type PlainImports = Record<string, (...args: number[]) => unknown>;

/**
 * Sets up the program on a memory, whose beginning it overwrites (`STATIC_BYTES`, base/window.ts).
 * @throws WebAssembly's CompileError or LinkError, if the bytes are no program or want other imports
 */
export function instantiate(memory: WebAssembly.Memory, bytes: Uint8Array, imports: PlainImports = {}): PlainProgram {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory }, index: imports });
  return exports as unknown as PlainProgram;
}
