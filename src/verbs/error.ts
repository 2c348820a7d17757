// What can go wrong with a verb.

import { DriverError } from "../driver/access.ts";

/** Codes of `VerbsError`: the errno that libibverbs would return, or `COMPLETION` for a work request that failed. */
export type VerbsErrorCode =
  | "EINVAL"
  | "ENOMEM"
  | "EBUSY"
  | "ENODEV"
  | "ENOSYS"
  | "ETIMEDOUT"
  | "EHOSTUNREACH"
  | "ECONNREFUSED"
  | "ECONNRESET"
  | "ECANCELED"
  | "EIO"
  | "COMPLETION";

/** A verb that was refused; `message` says which object, what was wrong and what would be right. */
export class VerbsError extends Error {
  readonly code: VerbsErrorCode;

  constructor(code: VerbsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "VerbsError";
    this.code = code;
  }
}

/** Statuses of the device's commands, as errno. */
const codes: Readonly<Record<string, VerbsErrorCode>> = {
  BAD_PARAM: "EINVAL",
  BAD_INDEX: "EINVAL",
  BAD_SIZE: "EINVAL",
  BAD_QP_STATE: "EINVAL",
  BAD_OP: "ENOSYS",
  EXCEED_LIM: "ENOMEM",
  RESOURCE_BUSY: "EBUSY",
  BAD_RES_STATE: "EBUSY",
  REG_BOUND: "EBUSY",
  EINVAL: "EINVAL",
  ENOMEM: "ENOMEM",
  ENODEV: "ENODEV",
  ENOSYS: "ENOSYS",
  ETIMEDOUT: "ETIMEDOUT",
};

/** Runs a step of the driver; what it throws becomes a `VerbsError`. */
export function asVerb<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof DriverError)) throw error;
    throw new VerbsError(codes[error.code] ?? "EIO", error.message, { cause: error });
  }
}
