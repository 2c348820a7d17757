// How far the driver has brought the device up (docs "infinihost" 8.1).

export const SystemState = { RESET: 0, FIRMWARE_RUNS: 1, INITIALISED: 2 } as const;
