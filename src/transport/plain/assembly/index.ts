// The plain requests as a WebAssembly program. AssemblyScript: TypeScript's syntax, WebAssembly's types (CONTRIBUTING.md, The compiled part).

/** The big-endian 32-bit word at an address of the window. */
export function probe(at: i32): i32 {
  return bswap<u32>(load<u32>(at));
}
