// A guest's memory as a file: written once when a snapshot is taken, copied into the memfd of each guest that starts from it.

import { closeSync, fstatSync, ftruncateSync, openSync } from "node:fs";
import { copySparse } from "../../host/sparse.ts";

/** Writes the memory behind `descriptor` to a new file. The guest must be stopped. */
export function saveMemory(descriptor: number, file: string): void {
  const fd = openSync(file, "wx", 0o600);
  try {
    ftruncateSync(fd, fstatSync(descriptor).size);
    copySparse(descriptor, fd);
  } finally {
    closeSync(fd);
  }
}

/** Fills new memory from a file. @throws SystemError if the file is damaged or of another size */
export function loadMemory(file: string, descriptor: number): void {
  const fd = openSync(file, "r");
  try {
    copySparse(fd, descriptor);
  } finally {
    closeSync(fd);
  }
}
