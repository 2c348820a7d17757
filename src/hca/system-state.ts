// How far the driver has brought the device up (docs "infinihost" 8.1). Each state allows what those below it do, except that a
// device that has failed does nothing until it is reset.

export const SystemState = { FAILED: -1, RESET: 0, FIRMWARE_RUNS: 1, INITIALISED: 2 } as const;
