// The few types of the WebAssembly JavaScript interface that are used here: TypeScript has them only together with a browser's.

declare global {
  namespace WebAssembly {
    interface Memory {
      readonly buffer: ArrayBuffer;
    }
    interface Module {}
    interface Instance {
      readonly exports: Record<string, unknown>;
    }
    type Imports = Record<string, Record<string, unknown>>;
    /** Sizes are in pages of 64 KiB. */
    const Memory: new (size: { initial: number; maximum?: number }) => Memory;
    const Module: {
      new (bytes: Uint8Array): Module;
      imports(module: Module): { module: string; name: string }[];
    };
    const Instance: new (module: Module, imports?: Imports) => Instance;
  }
}

export type {};
