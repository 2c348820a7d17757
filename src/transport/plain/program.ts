// The compiled part of the transport: requests of one segment, sources in assembly/ (CONTRIBUTING.md, The compiled part). It sees nothing but
// the memory it is given: addresses are byte offsets there, and all access is bounds-checked by WebAssembly.

import "../../base/webassembly.ts";

/** What the program can do; one function per export of assembly/index.ts, which says what. Addresses are byte offsets in its memory. */
export interface PlainProgram {
  run(qp: number, limit: number): number;
  spin(list: number, count: number, looks: number, limit: number): number;
}

/** What it calls: assembly/imports.ts. All numbers are int32. */
export type PlainImports = {
  translate(table: number, key: number, pd: number, access: number, hi: number, lo: number, length: number): boolean;
  describeRegion(table: number, key: number): boolean;
  findIcm(table: number, page: number): number;
};

/**
 * Sets up the program on a memory, whose beginning it overwrites (`STATIC_BYTES`, base/window.ts).
 * @throws WebAssembly's CompileError or LinkError, if the bytes are no program or want other imports
 */
export function instantiate(memory: WebAssembly.Memory, bytes: Uint8Array, imports: PlainImports): PlainProgram {
  const module = new WebAssembly.Module(bytes);
  const { exports } = new WebAssembly.Instance(module, { env: { memory }, imports });
  return exports as unknown as PlainProgram;
}
